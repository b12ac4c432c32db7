"""`fhirserver version`."""

from __future__ import annotations

import argparse
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

from fhirserver.cli.terminal import say


def version() -> str:
    """The installed version, or 'unknown' in a checkout that was never installed."""
    try:
        return installed("fhirserver")
    except PackageNotFoundError:
        return "unknown"


def run(options: argparse.Namespace) -> int:
    """Prints the version."""
    say(f"fhirserver {version()}")
    return 0
