"""`fhirserver doctor`: what is wrong with this installation, and how to mend it."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fhirserver.cli.client import FhirClient
from fhirserver.cli.config import UsageError, load_settings
from fhirserver.cli.database import database
from fhirserver.cli.local import base_of
from fhirserver.cli.terminal import CommandFailed, say
from fhirserver.settings import Settings, is_loopback
from fhirserver.store.client import CannotStart
from fhirserver.store.inspect import Inspection, inspect
from fhirserver.store.mongod_home import find_program

OLDEST_PYTHON = (3, 11)
DISK_NEEDED = 2 * 2**30
DISK_WANTED = 10 * 2**30
CLOCK_SECONDS = 2.0


class Grade(StrEnum):
    """How a check went."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "WRONG"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `mend`: what to do about it."""

    grade: Grade
    what: str
    text: str
    mend: str = ""


def run(options: argparse.Namespace) -> int:
    """Exit code 0: all well; 3: warnings; 1: something must be mended."""
    findings = []
    for finding in examine(options):
        findings.append(finding)
        say(f"{finding.grade:8} {finding.what:12} {finding.text}")
        if finding.mend:
            say(f"{'':8} {'':12} -> {finding.mend}")
    grades = {finding.grade for finding in findings}
    return 1 if Grade.WRONG in grades else 3 if Grade.WARNING in grades else 0


def examine(options: argparse.Namespace) -> Iterator[Finding]:
    """All checks, the cheap ones first."""
    yield check_python()
    try:
        settings = load_settings(options)
    except UsageError as problem:
        yield Finding(Grade.WRONG, "settings", str(problem), "docs/reference/settings.md names all settings")
        return
    yield from check_settings(settings)
    yield check_disk(settings.data_dir)
    client = FhirClient(options.server or base_of(settings))
    if client.is_there():
        ready = client.is_ready()
        yield Finding(
            Grade.OK if ready else Grade.WRONG,
            "server",
            f"{client.base} is {'ready' if ready else 'not ready'}",
            "" if ready else f"curl {client.root}/readyz names the reasons",
        )
    else:
        yield Finding(Grade.OK, "server", f"none runs at {client.base}")
    if settings.mongodb_uri is None:
        yield from check_program(settings)
        if not (settings.data_dir / "mongo").is_dir():
            yield Finding(
                Grade.OK, "mongodb", f"no data yet in {settings.data_dir}; the first start makes them"
            )
            return
    yield from check_database(settings)


def check_python() -> Finding:
    """Python's version."""
    text = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        return Finding(Grade.WRONG, "python", text, "install Python 3.11 or newer, then make setup")
    return Finding(Grade.OK, "python", text)


def check_settings(settings: Settings) -> Iterator[Finding]:
    """What is allowed by itself but does not fit together."""
    if settings.open_mode and not is_loopback(settings.host):
        yield Finding(
            Grade.WRONG, "settings", f"host {settings.host} is refused in open mode: everybody could do everything",
            "set FHIRSERVER_HOST=127.0.0.1, or leave open mode",
        )  # fmt: skip
    cores = os.cpu_count() or 1
    if settings.workers > cores:
        yield Finding(
            Grade.WARNING,
            "settings",
            f"{settings.workers} workers on {cores} cores",
            f"set FHIRSERVER_WORKERS={cores}",
        )
    yield Finding(Grade.OK, "settings", f"data in {settings.data_dir.absolute()}, base {settings.fhir_base}")


def check_disk(data_dir: Path) -> Finding:
    """Free space where the data are, or will be."""
    folder = data_dir.absolute()
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        return Finding(
            Grade.WRONG, "disk", f"{folder} cannot be written", "give its owner the right, or use --data-dir"
        )
    free = shutil.disk_usage(folder).free
    text = f"{free / 2**30:.1f} GiB free at {folder}"
    if free < DISK_WANTED:
        grade = Grade.WRONG if free < DISK_NEEDED else Grade.WARNING
        return Finding(
            grade, "disk", text, "MongoDB stops on a full disk: free space, or move the data folder"
        )
    return Finding(Grade.OK, "disk", text)


def check_program(settings: Settings) -> Iterator[Finding]:
    """Whether there is a mongod for the embedded MongoDB."""
    try:
        yield Finding(Grade.OK, "mongod", str(find_program(settings.mongod)))
    except CannotStart as problem:
        yield Finding(Grade.WRONG, "mongod", "none was found", str(problem))


def check_database(settings: Settings) -> Iterator[Finding]:
    """Version, replica set, indexes and clock of MongoDB."""
    try:
        with database(settings) as reachable:
            inspection = asyncio.run(inspect(reachable))
    except CommandFailed as problem:
        yield Finding(Grade.WRONG, "mongodb", "cannot be used", str(problem))
        return
    yield from judge(inspection)


def judge(inspection: Inspection) -> Iterator[Finding]:
    """What the inspection of the database means."""
    yield Finding(Grade.OK, "mongodb", f"{inspection.version}, replica set {inspection.replica_set}")
    if inspection.missing:
        names = ", ".join(inspection.missing[:5])
        yield Finding(
            Grade.WRONG,
            "indexes",
            f"{len(inspection.missing)} missing: {names}",
            "start the server: it makes them",
        )
    else:
        yield Finding(Grade.OK, "indexes", "all there")
    if inspection.stale:
        yield Finding(
            Grade.WARNING,
            "search",
            "some resources were indexed by an older server: not every search by CPF or telephone finds them",
            "fhirserver reindex (the server may keep running)",
        )
    if inspection.secrets:
        yield Finding(Grade.WRONG, "secrets", "the secrets key does not fit", inspection.secrets)
    else:
        yield Finding(Grade.OK, "secrets", "the key fits the database")
    if abs(inspection.clock_seconds) > CLOCK_SECONDS:
        yield Finding(
            Grade.WARNING, "clock", f"{inspection.clock_seconds:+.1f} s from MongoDB's",
            "run a time service (chrony, systemd-timesyncd) on both machines: versions carry this clock",
        )  # fmt: skip
    else:
        yield Finding(Grade.OK, "clock", "agrees with MongoDB's")
