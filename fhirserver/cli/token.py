"""`fhirserver token`: an access token for the local server, for development and scripts."""

from __future__ import annotations

import argparse
import asyncio

from fhirserver.access.oauth.minting import CannotMint
from fhirserver.cli.config import UsageError, load_settings
from fhirserver.cli.database import database
from fhirserver.cli.terminal import say


def run(options: argparse.Namespace) -> int:
    """Prints a token and nothing else."""
    settings = load_settings(options)
    from fhirserver.app import mint_token

    with database(settings) as reachable:
        try:
            token = asyncio.run(
                mint_token(
                    reachable,
                    scope=options.scope,
                    ttl=options.ttl,
                    user=options.user,
                    patient=options.patient,
                )
            )
        except CannotMint as problem:
            raise UsageError(str(problem)) from problem
        say(token)
    return 0
