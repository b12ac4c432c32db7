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
    held = definition.get(view)
    rows = held.get("element") if isinstance(held, dict) else None
    found[view] = {"element": [_element(row) for row in rows] if isinstance(rows, list) else rows}
    return found


_PARTS = {
    "binding": ("strength", "valueSet"),
    "type": ("code", "profile", "targetProfile", "aggregation", "versioning"),
    "constraint": ("key", "severity", "human", "expression"),
}
"""What is kept of the parts of an element."""


def _element(element: Any) -> Any:
    if not isinstance(element, dict):
        return element  # the snapshot refuses it
    found = {name: value for name, value in element.items() if name not in TEXTS}
    for name, kept in _PARTS.items():
        part = found.get(name)
        if isinstance(part, list):
            found[name] = [_cut(item, kept) for item in part]
        elif part is not None:
            found[name] = _cut(part, kept)
    return found


def _cut(value: Any, kept: tuple[str, ...]) -> Any:
    return {name: value[name] for name in kept if name in value} if isinstance(value, dict) else value
