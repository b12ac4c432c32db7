"""Distils the profiles and extension definitions of R4 into `profiles.json`: their differentials, without texts.

A list of StructureDefinitions, one a line, each with what a validator needs. Source: hl7.org/fhir/R4/profilelist.html
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from fhirserver.r4.profileform import distilled

Json = dict[str, Any]
MISTAKEN_CONTEXTS = {
    "structuredefinition-fhir-type": "ElementDefinition.type",
    "structuredefinition-normative-version": "Element",
    "regex": "ElementDefinition.type",
    "valueset-concept-comments": "CodeSystem.concept",
}
"""Extensions that R4's own definitions use where their context does not allow them -> the context that is missing."""


def distil(package: Path, tables: Path) -> None:
    """Write `profiles.json` into `tables` from the unpacked definitions in `package`."""
    rows = []
    for file in sorted(package.glob("StructureDefinition-*.json")):
        definition: Json = orjson.loads(file.read_bytes())
        if definition.get("derivation") == "constraint":
            rows.append(orjson.dumps(_distilled(definition)).decode())
    (tables / "profiles.json").write_text("[\n" + ",\n".join(rows) + "\n]\n")


def _distilled(definition: Json) -> Json:
    found = distilled(definition)
    missing = MISTAKEN_CONTEXTS.get(definition["id"])
    if missing is not None:
        found["context"] = [*found["context"], {"type": "element", "expression": missing}]
    return found
