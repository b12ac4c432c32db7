"""`fhirserver reindex`: what search sees of the stored resources is made again."""

from __future__ import annotations

import argparse
import asyncio

from fhirserver.cli.config import load_settings
from fhirserver.cli.database import database
from fhirserver.cli.terminal import Progress, duration, say


def run(options: argparse.Namespace) -> int:
    """Reindexes on the database itself; a running server with an embedded MongoDB lends its own."""
    settings = load_settings(options)
    from fhirserver.app import reindex

    progress = Progress("resources", None)
    with database(settings) as reachable:
        done = asyncio.run(reindex(reachable, types=options.type, progress=progress.advance))
    say(f"{done:,} resources indexed again in {duration(progress.close())}")
    return 0
