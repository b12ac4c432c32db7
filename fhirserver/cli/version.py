"""`fhirserver version`."""

from __future__ import annotations

import argparse

from fhirserver import __version__
from fhirserver.cli.terminal import say


def run(options: argparse.Namespace) -> int:
    """Prints the version."""
    say(f"fhirserver {__version__}")
    return 0
