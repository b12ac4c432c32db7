"""`fhirserver audit`: check the audit log, export it, report on it, purge it, change its keys."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TypeVar

from fhirserver.audit.disclosure.reports import KINDS
from fhirserver.audit.examine import Side, Source
from fhirserver.audit.findings import CANNOT_VERIFY, INTACT, TAMPERED
from fhirserver.audit.index_check import IndexCheck
from fhirserver.audit.keys import KeyFiles, KnownKey, parse_keys
from fhirserver.audit.notes import BadNote, Checkpoint, split_note
from fhirserver.audit.proofs import BadProof, check_proof
from fhirserver.audit.purge import WARN_YEARS, PurgeRefused
from fhirserver.audit.sources import BadExport, export, verify_export, verify_stored
from fhirserver.audit.tiles import DamagedLedger
from fhirserver.audit.verify import Verification
from fhirserver.audit.verify_report import anchor_of, report, summary
from fhirserver.cli.audit_database import make_indexes, print_or_create_roles
from fhirserver.cli.config import UsageError, load_settings
from fhirserver.cli.database import database
from fhirserver.cli.terminal import CommandFailed, Progress, complain, duration, note, say
from fhirserver.settings import Settings
from fhirserver.store.client import connect
from fhirserver.store.keyfile import BadKeyFile
from fhirserver.store.ledger import Ledger, Seal

T = TypeVar("T")
_MANY = 50_000  # events from which on further processes are worth their start


def run(options: argparse.Namespace) -> int:
    """Runs one of the actions."""
    return _ACTIONS[options.action](options)


def _verify(options: argparse.Namespace) -> int:
    settings = load_settings(options)
    progress = Progress("events", None)
    try:
        verification = _verification(options, settings)
        if options.export is not None:
            verify_export(options.export, verification, progress=progress.advance)
        else:
            _with_ledger(
                settings, lambda ledger, at: _verify_stored(options, ledger, at, verification, progress)
            )
    except (BadNote, BadKeyFile, BadExport, DamagedLedger, OSError, CommandFailed) as problem:
        complain(f"cannot verify: {problem}")
        return CANNOT_VERIFY
    findings = verification.finish()
    elapsed = progress.close()
    if options.json:
        sys.stdout.buffer.write(report(verification))
        sys.stdout.flush()
        return findings.exit_code
    for finding in findings.shown:
        where = " ".join(f"{name}={value}" for name, value in finding.where.items())
        say(f"{finding.kind}: {finding.text} ({where})")
    for kind, total in findings.totals.items():
        say(f"total {kind}: {total:,}")
    done = summary(verification)
    say(
        f"{done['result']}: {verification.events:,} events, {verification.seals:,} checkpoints in {duration(elapsed)}"
    )
    return findings.exit_code


async def _verify_stored(
    options: argparse.Namespace, ledger: Ledger, at: Settings, verification: Verification, progress: Progress
) -> None:
    """Verify in processes beside this one where that is worth their start. `at`: settings that name the database."""
    newest = await ledger.newest()
    count = options.processes or len(os.sched_getaffinity(0))
    if count < 2 or newest is None or newest.size - options.since < _MANY:
        await verify_stored(ledger, verification, since=options.since, progress=progress.advance)
        return
    uri, name = _log_of(at)
    source = Source(uri, name, at.tenant, at.fhir_base, verification.index_faults is not None)
    with Side(source, count) as examiner:
        await verify_stored(
            ledger, verification, since=options.since, progress=progress.advance, examiner=examiner
        )


def _verification(options: argparse.Namespace, settings: Settings) -> Verification:
    files = KeyFiles.of(settings)
    origin = options.origin or settings.audit.origin
    keys = _keys(options.keys or files.public)
    anchors = [anchor_of(file.read_text(), keys, origin) for file in options.anchor]
    ingest = None
    if options.export is None:
        ingest_file = options.ingest_key or files.ingest
        ingest = bytes.fromhex(ingest_file.read_text().strip()) if ingest_file.exists() else None
        if ingest is None:
            note("without the ingest key, forged events that are not sealed yet are not seen")
    return Verification(
        keys,
        origin,
        anchors,
        ingest,
        index_faults=_index_check(options, settings),
        now=time.time_ns() // 1000,
    )


def _index_check(options: argparse.Namespace, settings: Settings) -> IndexCheck | None:
    if options.export is not None or options.no_index:  # an export holds no search fields
        return None
    return IndexCheck.of(settings.tenant, settings.fhir_base)


def _keys(file: Path) -> list[KnownKey]:
    keys = parse_keys(file.read_text())
    if not keys:
        raise BadNote(f"{file} holds no key")
    return keys


def _verify_proof(options: argparse.Namespace) -> int:
    settings = load_settings(options)
    try:
        index = check_proof(
            options.body.read_bytes(),
            options.proof.read_text(),
            _keys(options.keys),
            options.origin or settings.audit.origin,
        )
    except BadProof as problem:
        say(f"not proven: {problem}")
        return TAMPERED
    except (OSError, ValueError) as problem:
        complain(f"cannot verify: {problem}")
        return CANNOT_VERIFY
    say(f"proven: event {index} of the log {options.origin or settings.audit.origin}")
    return INTACT


def _export(options: argparse.Namespace) -> int:
    settings = load_settings(options)
    keys = KeyFiles.of(settings)
    progress = Progress("events", None)

    async def write(ledger: Ledger, _: Settings) -> tuple[int, int, int]:
        start, end = await _sizes(ledger, options.start, options.end)
        if start == end:
            raise CommandFailed("nothing was sealed in that time")
        count = await export(
            ledger, options.out, origin=settings.audit.origin, keys=keys.known(), start=start, end=end,
            progress=progress.advance,
        )  # fmt: skip
        return count, start, end

    count, start, end = _with_ledger(settings, write)
    say(f"{count:,} events (after {start:,}, to {end:,}) under {options.out} in {duration(progress.close())}")
    return 0


async def _sizes(ledger: Ledger, start: date | None, end: date | None) -> tuple[int, int]:
    """The sizes of the checkpoints that bound what was sealed on the days [start, end), UTC."""
    low = high = 0
    async for seal in ledger.seals():
        day = sealed_at(seal).date()
        if start is not None and day < start:
            low = seal.size
        if end is None or day < end:
            high = seal.size
    return low, max(low, high)


def sealed_at(seal: Seal) -> datetime:
    """When a checkpoint was made, as its note says."""
    return datetime.fromisoformat(Checkpoint.parse(split_note(seal.note)[0]).sealed).astimezone(UTC)


def _report(options: argparse.Namespace) -> int:
    if options.kind not in KINDS:
        raise UsageError(f"there is no report {options.kind!r}; there are {', '.join(KINDS)}")
    given = {"kind": options.kind, "_format": options.format, "language": options.language}
    for name in ("start", "end", "patient", "agent", "value"):
        if (value := getattr(options, name)) is not None:
            given[name] = str(value)
    from fhirserver.app import audit_report

    with database(load_settings(options)) as reachable:
        body = asyncio.run(audit_report(reachable, given))
    if options.out is not None:
        options.out.write_bytes(body)
    else:
        sys.stdout.buffer.write(body)
        sys.stdout.flush()
    return 0


def _purge(options: argparse.Namespace) -> int:
    from fhirserver.app import audit_purge

    settings = load_settings(options)
    years = settings.audit.retention_years
    if years is not None and years < WARN_YEARS:
        note(f"a retention of {years} years is shorter than the {WARN_YEARS} that some rules ask for")
    try:
        with database(settings) as reachable:
            planned, removed = asyncio.run(audit_purge(reachable, options.before, options.approved_by))
    except PurgeRefused as problem:
        raise CommandFailed(f"refused: {problem}") from problem
    say(f"{removed:,} events removed, up to size {planned.size:,}; their hashes stay and verify as PURGED")
    return 0


def _rotate(options: argparse.Namespace) -> int:
    try:
        key = KeyFiles.of(load_settings(options)).rotate()
    except BadKeyFile as problem:
        raise CommandFailed(str(problem)) from problem
    say(f"new key {key.vkey()}")
    note("the next checkpoint is signed by both keys, later ones by the new key alone")
    return 0


def _revoke(options: argparse.Namespace) -> int:
    try:
        KeyFiles.of(load_settings(options)).revoke(options.key, options.after)
    except BadKeyFile as problem:
        raise UsageError(str(problem)) from problem
    say(f"signatures of {options.key} beyond size {options.after:,} count no longer")
    return 0


def _with_ledger(settings: Settings, work: Callable[[Ledger, Settings], Awaitable[T]]) -> T:
    """What `work` gives on the ledger of the configured database, and the settings that name that."""
    with database(settings) as reachable:
        uri, name = _log_of(reachable)

        async def call() -> T:
            client = connect(uri)
            try:
                return await work(Ledger(client[name]), reachable)
            finally:
                await client.close()

        try:
            return asyncio.run(call())
        except (DamagedLedger, BadKeyFile) as problem:
            raise CommandFailed(str(problem)) from problem


def _log_of(reachable: Settings) -> tuple[str, str]:
    """URI and database name of the audit log."""
    chosen = reachable.audit
    uri = chosen.mongo_uri or reachable.mongodb_uri
    assert uri is not None  # noqa: S101 that is what database() is for
    return uri.get_secret_value(), chosen.database or reachable.database


_ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {
    "verify": _verify,
    "verify-proof": _verify_proof,
    "export": _export,
    "report": _report,
    "purge": _purge,
    "roles": print_or_create_roles,
    "prepare": make_indexes,
    "rotate-key": _rotate,
    "revoke-key": _revoke,
}
