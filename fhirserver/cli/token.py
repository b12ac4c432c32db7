"""`fhirserver token`: an access token for the local server, for development and scripts."""

from __future__ import annotations

import argparse
import asyncio

from fhirserver.cli.config import UsageError, load_settings
from fhirserver.cli.database import database
from fhirserver.cli.terminal import say


def run(options: argparse.Namespace) -> int:
    """Prints a token and nothing else."""
    settings = load_settings(options)
    from fhirserver.app import mint_token

    with database(settings) as reachable:
        try:
            say(asyncio.run(mint_token(reachable, scope=options.scope, ttl=options.ttl)))
        except ValueError as problem:
            raise UsageError(
                f"{problem} is no scope that can be given; use user/ or system/ scopes such as system/*.rs"
            ) from problem
    return 0
