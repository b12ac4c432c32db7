"""A CodeSystem resource in a JSON file, plain or .gz. Source: hl7.org/fhir/R4/codesystem.html."""

from __future__ import annotations

import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

from fhirserver.outcome import OutcomeError
from fhirserver.r4.jsontext import parse_json_object
from fhirserver.terminology.concepts import Json
from fhirserver.terminology.importers.reading import Head, ImportProblem, Reading
from fhirserver.terminology.systems import MemorySystem

_MOST_DEPTH = 200


def read(path: Path) -> Reading:
    """The resource in `path`."""
    if not path.is_file():
        raise ImportProblem(f"{path}: name the file of the CodeSystem")
    resource = _resource(path)
    if resource.get("resourceType") != "CodeSystem" or not resource.get("concept"):
        raise ImportProblem(f"{path}: it is not a CodeSystem with concepts")
    try:
        system = MemorySystem(resource, "imported")
    except (KeyError, TypeError, AttributeError):
        raise ImportProblem(f"{path}: a concept, property or designation lacks its code or value") from None
    info = system.info
    if not info.case_sensitive:
        raise ImportProblem(
            f"{path}: the system ignores case; store it as a resource instead (imported codes are compared as written)"
        )
    head = Head(info.url, info.version or "", info.name, info.title, info.language, info.value_set)
    return Reading(head, iter(system))


def _resource(path: Path) -> Json:
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        resource: Json = _plain(parse_json_object(data, max_depth=_MOST_DEPTH))
    except (OSError, EOFError) as error:
        raise ImportProblem(f"{path}: cannot be read ({type(error).__name__})") from None
    except OutcomeError as error:
        raise ImportProblem(f"{path}: {error}") from None
    return resource


def _plain(value: Any) -> Any:
    """The value with decimals as numbers that the database can hold."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return float(value) if isinstance(value, Decimal) else value
