"""`fhirserver openapi`: the OpenAPI document, without starting anything."""

from __future__ import annotations

import argparse

from fhirserver.cli.config import load_settings
from fhirserver.cli.terminal import say
from fhirserver.http.openapi import openapi_document
from fhirserver.r4.definitions import Definitions
from fhirserver.r4.jsontext import dump_json


def run(options: argparse.Namespace) -> int:
    """Prints the document as JSON."""
    document = openapi_document(load_settings(options), Definitions.load())
    say(dump_json(document, pretty=True).decode())
    return 0
