"""`fhirserver openapi`: the OpenAPI document, without starting anything."""

from __future__ import annotations

import argparse

from fhirserver.cli.config import load_settings
from fhirserver.cli.terminal import say


def run(options: argparse.Namespace) -> int:
    """Prints the document as JSON."""
    settings = load_settings(options)
    from fhirserver.app import api_document
    from fhirserver.r4.jsontext import dump_json

    say(dump_json(api_document(settings), pretty=True).decode())
    return 0
