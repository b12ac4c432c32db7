"""Distils the value sets that R4 binds with strength `required` into `valuesets.json`.

Value set -> {system: [codes]}, or null where the definitions hold no list (currencies, media types, UCUM,
one LOINC answer list): there validation/bindings.py has a rule for the form of the code, or none at all, so
that a valid code is never refused. Source: hl7.org/fhir/R4/valueset.html#expansion
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from fhirserver.r4.distil.elements import definitions

VALUE_SETS = "http://hl7.org/fhir/ValueSet/"

Json = dict[str, Any]
Codes = dict[str, list[str]]


def distil(package: Path, tables: Path) -> None:
    """Write `valuesets.json` into `tables` from the unpacked definitions in `package`."""
    library = _Library(package)
    rows = []
    for url in sorted(_required(package)):
        codes = library.expand(url)
        rows.append(f"{orjson.dumps(url.removeprefix(VALUE_SETS)).decode()}:{orjson.dumps(codes).decode()}")
    (tables / "valuesets.json").write_text("{\n" + ",\n".join(rows) + "\n}\n")


def _required(package: Path) -> set[str]:
    """The canonicals, without version, of all value sets with a required binding in a base type."""
    return {
        element["binding"]["valueSet"].partition("|")[0]
        for definition in definitions(package).values()
        for element in definition["snapshot"]["element"]
        if element.get("binding", {}).get("strength") == "required"
    }


class _Library:
    """The ValueSets and CodeSystems of the package by canonical."""

    def __init__(self, package: Path) -> None:
        self.value_sets = dict(_by_url(package, "ValueSet"))
        self.code_systems = dict(_by_url(package, "CodeSystem"))

    def expand(self, url: str) -> Codes | None:
        """All codes of a value set by system, in order of definition; None if the package cannot tell."""
        compose = self.value_sets.get(url, {}).get("compose")
        if compose is None or compose.get("exclude"):
            return None
        codes: Codes = {}
        for include in compose["include"]:
            part = self._included(include)
            if part is None:
                return None
            for system, found in part.items():
                codes.setdefault(system, []).extend(c for c in found if c not in codes.get(system, ()))
        return codes

    def _included(self, include: Json) -> Codes | None:
        if "valueSet" in include or "filter" in include:
            return None
        system = include["system"]
        if "concept" in include:
            return {system: [concept["code"] for concept in include["concept"]]}
        code_system = self.code_systems.get(system, {})
        if code_system.get("content") != "complete":
            return None
        return {system: list(_codes(code_system["concept"]))}


def _by_url(package: Path, type: str) -> Iterator[tuple[str, Json]]:
    for file in sorted(package.glob(f"{type}-*.json")):
        resource: Json = orjson.loads(file.read_bytes())
        if "url" in resource:
            yield resource["url"], resource


def _codes(concepts: list[Json]) -> Iterator[str]:
    for concept in concepts:
        yield concept["code"]
        yield from _codes(concept.get("concept", []))
