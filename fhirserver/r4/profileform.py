"""StructureDefinitions in the form that the server keeps: what a validator needs, without texts and snapshots.

Source: hl7.org/fhir/R4/structuredefinition.html
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
KEPT = ("url", "version", "name", "kind", "type", "baseDefinition", "derivation", "context")
TEXTS = frozenset(
    {
        "definition",
        "comment",
        "short",
        "requirements",
        "alias",
        "example",
        "mapping",
        "meaningWhenMissing",
        "label",
    }
    | {"isModifierReason", "extension", "isSummary", "representation", "condition", "orderMeaning", "code"}
)


def distilled(definition: Json) -> Json:
    """A StructureDefinition of a profile, with its differential; with its snapshot only where it has no other."""
    found: Json = {name: definition[name] for name in KEPT if name in definition}
    view = "differential" if definition.get("differential") else "snapshot"
    rows = definition.get(view, {}).get("element", ())
    found[view] = {"element": [_element(row) for row in rows]}
    return found


def _element(element: Json) -> Json:
    found = {name: value for name, value in element.items() if name not in TEXTS}
    if "binding" in found:
        binding = found["binding"]
        found["binding"] = {name: binding[name] for name in ("strength", "valueSet") if name in binding}
    if "type" in found:
        found["type"] = [_without_extensions(type_) for type_ in found["type"]]
    if "constraint" in found:
        kept = ("key", "severity", "human", "expression")
        found["constraint"] = [{k: rule[k] for k in kept if k in rule} for rule in found["constraint"]]
    return found


def _without_extensions(value: Json) -> Json:
    return {name: part for name, part in value.items() if name != "extension" and not name.startswith("_")}
