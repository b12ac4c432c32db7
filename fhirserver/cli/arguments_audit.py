"""The arguments of `fhirserver audit`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import date
from pathlib import Path

Database = Callable[[argparse.ArgumentParser], None]
_VERIFY = """\
Checks every checkpoint signature, every sealed event and the events that wait for their seal, in the database
or in an export folder. With --json each finding is a JSON line, at most 20 of a class, then a summary.

Exit code: 0 intact, 1 tampering found, 2 wrong command line, 3 cannot verify, 4 intact but sealing is overdue.

What cannot be seen without an --anchor (a checkpoint that was kept elsewhere): a log that was cut off at the end,
or made again with a stolen signing key."""
_REPORT = """\
Writes a report over the audit log of the database to stdout or a file: access, disclosures, user-activity, denied,
after-hours, vip, break-glass, export-volume, mass-access, dormant, searched-for, integrity."""
_PURGE = """\
Removes events that are older than the retention (FHIRSERVER_AUDIT__RETENTION_YEARS), after recording that in the log.
Hashes and checkpoints stay, so the log goes on to verify. Two different people approve. Less than 5 years is refused."""
_ROLES = """\
Prints the roles and users of an audit log with a database of its own (FHIRSERVER_AUDIT__DATABASE) as a script for mongosh.
With --create the roles, not the users, are created or brought up to date."""
_PREPARE = """\
Makes the indexes of the audit log, as the user of FHIRSERVER_AUDIT__MIGRATE_URI: the server's own user may only find and
insert. Once before the first start, and again after an upgrade whose start asks for it."""


def audit(
    add: Callable[..., argparse.ArgumentParser], parser: argparse.ArgumentParser, database: Database
) -> None:
    """Add the commands below `fhirserver audit` to its `parser`.

    `add`: as arguments._add. `database`: adds the options that name a database.
    """
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    verify = add(
        commands, "verify", "check that nobody has changed the audit log",
        "fhirserver audit verify --anchor kept-note.txt", _VERIFY,
    )  # fmt: skip
    verify.add_argument("--export", type=Path, metavar="DIR", help="check this export, not the database")
    _trust(verify)
    verify.add_argument(
        "--anchor", type=Path, action="append", default=[], metavar="NOTE",
        help="checkpoint that was kept elsewhere; may be repeated",
    )  # fmt: skip
    verify.add_argument(
        "--since", type=_size, default=0, metavar="SIZE", help="begin at the checkpoint of this size"
    )
    verify.add_argument(
        "--ingest-key", type=Path, metavar="FILE", help="ingest key (default: the configured one)"
    )
    verify.add_argument(
        "--no-index",
        action="store_true",
        help="do not compare search fields with bodies",
    )
    verify.add_argument(
        "--processes", type=_count, metavar="N",
        help="processes that read and hash (default: one for each core; 1: none beside this one)",
    )  # fmt: skip
    verify.add_argument("--json", action="store_true", help="print JSON lines")
    database(verify)
    proof = add(
        commands, "verify-proof", "check one event and its proof, without database and network",
        "fhirserver audit verify-proof --body event.json --proof event.proof --keys keys.txt",
        "Checks that an AuditEvent, byte by byte as it was read, is in the log: by the proof of "
        "GET AuditEvent/{id}/$proof.",
    )  # fmt: skip
    proof.add_argument(
        "--body", type=Path, required=True, metavar="FILE", help="the AuditEvent as it was read"
    )
    proof.add_argument("--proof", type=Path, required=True, metavar="FILE", help="its proof")
    proof.add_argument("--keys", type=Path, required=True, metavar="FILE", help="public keys (keys.txt)")
    proof.add_argument("--origin", metavar="NAME", help="name of the log (default: the configured one)")
    _export(add(commands, "export", "write sealed events to a folder that verifies offline",
                "fhirserver audit export --from 2026-01-01 --to 2026-02-01 --out january/"), database)  # fmt: skip
    _report(add(commands, "report", "write a report over the audit log",
                "fhirserver audit report denied --start 2026-01-01 --format csv", _REPORT), database)  # fmt: skip
    purge = add(
        commands, "purge", "remove events whose retention has ended",
        "fhirserver audit purge --before 2020-01-01 --approved-by ana --approved-by rui", _PURGE,
    )  # fmt: skip
    purge.add_argument(
        "--before", type=_date, required=True, metavar="DATE", help="only events sealed before"
    )
    purge.add_argument(
        "--approved-by", action="append", default=[], metavar="NAME", help="who approves; twice"
    )
    database(purge)
    _access(commands, add, database)
    rotate = add(
        commands,
        "rotate-key",
        "sign with a new key from the next checkpoint on",
        "fhirserver audit rotate-key",
    )
    database(rotate)
    revoke = add(
        commands, "revoke-key", "distrust a signing key from a size on",
        "fhirserver audit revoke-key 7a1259fb --after 120000",
    )  # fmt: skip
    revoke.add_argument("key", metavar="KEY-ID", help="id of the key in keys.txt, 8 hex digits")
    revoke.add_argument(
        "--after", type=_size, required=True, metavar="SIZE", help="last size that is trusted"
    )
    database(revoke)


def _access(commands: object, add: Callable[..., argparse.ArgumentParser], database: Database) -> None:
    roles = add(
        commands, "roles", "the database roles that keep the audit log append-only",
        "fhirserver audit roles > roles.js", _ROLES,
    )  # fmt: skip
    roles.add_argument(
        "--create", action="store_true", help="create or update them, as the user of AUDIT__MIGRATE_URI"
    )
    database(roles)
    database(add(commands, "prepare", "make the indexes of an audit log with users of its own",
                 "FHIRSERVER_AUDIT__MIGRATE_URI=mongodb://... fhirserver audit prepare", _PREPARE))  # fmt: skip


def _trust(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keys", type=Path, metavar="FILE", help="public keys (default: keys.txt of the data folder)"
    )
    parser.add_argument("--origin", metavar="NAME", help="name of the log (default: the configured one)")


def _export(parser: argparse.ArgumentParser, database: Database) -> None:
    parser.add_argument(
        "--from", dest="start", type=_date, metavar="DATE", help="events sealed on this day or later"
    )
    parser.add_argument("--to", dest="end", type=_date, metavar="DATE", help="events sealed before this day")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write into")
    database(parser)


def _report(parser: argparse.ArgumentParser, database: Database) -> None:
    parser.add_argument("kind", metavar="KIND", help="which report")
    parser.add_argument("--start", type=_date, metavar="DATE", help="from this day on (default: 30 days ago)")
    parser.add_argument("--end", type=_date, metavar="DATE", help="before this day (default: now)")
    parser.add_argument("--patient", metavar="ID", help="only this patient")
    parser.add_argument("--agent", metavar="REFERENCE", help="only this user or client")
    parser.add_argument(
        "--value", metavar="CODE=VALUE", help="searched-for: the search parameter and its value"
    )
    parser.add_argument(
        "--format", choices=("json", "csv", "ndjson", "html"), default="json", help="default json"
    )
    parser.add_argument("--language", choices=("pt-BR", "en"), default="pt-BR", help="default pt-BR")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write there (default: stdout)")
    database(parser)


def _size(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _date(text: str) -> date:
    return date.fromisoformat(text)


_size.__name__, _count.__name__, _date.__name__ = (
    "size",
    "number of at least 1",
    "date (2026-03-01)",
)  # argparse names them in its messages
