"""`fhirserver token`: an access token for the local server, for development and scripts."""

from __future__ import annotations

import argparse

from fhirserver.cli.config import load_settings
from fhirserver.cli.terminal import say


def run(options: argparse.Namespace) -> int:
    """Prints a token and nothing else."""
    settings = load_settings(options)
    from fhirserver.access.tokens import mint

    say(mint(settings, scope=options.scope, ttl=options.ttl))
    return 0
