"""Readers of the files in which code systems are published, one module each: a Head, and a stream of concepts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from fhirserver.terminology.importers import cid10, fhir, loinc, rf2, table, tuss
from fhirserver.terminology.importers.reading import Head, ImportProblem, Reading

__all__ = ["FORMATS", "Head", "ImportProblem", "Reading", "read"]

FORMATS: Mapping[str, Callable[[Path], Reading]] = MappingProxyType(
    {
        "loinc": loinc.read,
        "snomed-rf2": rf2.read,
        "cid10": cid10.read,
        "tuss": tuss.read,
        "csv": table.read,
        "fhir": fhir.read,
    }
)


def read(format: str, path: Path, *, system: str | None = None, version: str | None = None) -> Reading:
    """What is in `path`, under the given url and version where the format or the files say another, or none.

    Raises ImportProblem with file and line.
    """
    if not path.exists():
        raise ImportProblem(f"{path}: there is no such file or folder")
    reading = FORMATS[format](path)
    head = reading.head.named(system, version)
    if not head.url:
        raise ImportProblem("the files do not say which code system this is; name it with --system URL")
    if not head.version:
        raise ImportProblem("the files do not say which version this is; name it with --version V")
    return Reading(head, reading.concepts)
