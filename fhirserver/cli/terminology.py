"""`fhirserver terminology`: large code systems are imported, listed and removed."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fhirserver.cli.config import UsageError, load_settings
from fhirserver.cli.database import database
from fhirserver.cli.terminal import CommandFailed, Progress, duration, say
from fhirserver.settings import Settings
from fhirserver.store import connect
from fhirserver.store.terminology_import import Imports
from fhirserver.terminology.importers import ImportProblem, read

GRACE = 5.0
"""Seconds for which the replaced content stays for questions that began before."""
T = TypeVar("T")


def run(options: argparse.Namespace) -> int:
    """Works on the database itself; a running server with an embedded MongoDB lends its own."""
    settings = load_settings(options)
    with database(settings) as reachable:
        return _ACTIONS[options.action](options, reachable)


def _import(options: argparse.Namespace, settings: Settings) -> int:
    progress = Progress("concepts", None)
    try:
        reading = read(options.format, options.path, system=options.system, version=options.version)
        count = _with(settings, lambda imports: imports.run(reading, grace=GRACE, progress=progress.advance))
    except ImportProblem as problem:
        progress.close()
        raise CommandFailed(f"nothing was imported: {problem}") from None
    head = reading.head
    say(f"{count:,} concepts of {head.url}|{head.version} imported in {duration(progress.close())}")
    return 0


def _list(options: argparse.Namespace, settings: Settings) -> int:
    found = _with(settings, lambda imports: imports.systems())
    for info in found:
        say(f"{info.canonical}  {info.count:,} concepts  {info.title or info.name}  imported {info.date}")
    if not found:
        say("no code system is imported")
    return 0


def _remove(options: argparse.Namespace, settings: Settings) -> int:
    count = _with(settings, lambda imports: imports.remove(options.system, options.version))
    if not count:
        raise UsageError("there is no such imported code system; see `fhirserver terminology list`")
    say(f"{count} version{'s' if count > 1 else ''} removed")
    return 0


def _with(settings: Settings, work: Callable[[Imports], Awaitable[T]]) -> T:
    """What `work` makes of the imported systems."""

    async def connected() -> T:
        if settings.mongodb_uri is None:
            raise CommandFailed("no MongoDB is configured")
        client = connect(settings.mongodb_uri.get_secret_value())
        try:
            return await work(Imports(client[settings.database], settings.tenant))
        finally:
            await client.close()

    return asyncio.run(connected())


_ACTIONS: dict[str, Callable[[argparse.Namespace, Settings], int]] = {
    "import": _import,
    "list": _list,
    "remove": _remove,
}
