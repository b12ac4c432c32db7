"""What one element of a differential may change of the definition under it: narrower, never wider.

Source: hl7.org/fhir/R4/profiling.html#limitations
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhirserver.outcome import Unprocessable
from fhirserver.r4.profiletree import Node

Json = dict[str, Any]
FHIRPATH = "http://hl7.org/fhirpath/"
STRENGTHS = ("example", "preferred", "extensible", "required")
PLACE = frozenset(
    {"id", "path", "sliceName", "base", "min", "max", "type", "constraint", "binding", "contentReference"}
)
SPECIALISED = {"Quantity": ("Age", "Count", "Distance", "Duration", "SimpleQuantity", "MoneyQuantity")}


_SHAPES: Mapping[str, type | tuple[type, ...]] = {
    "path": str, "id": str, "sliceName": str, "min": int, "max": str, "maxLength": int, "mustSupport": bool,
    "isModifier": bool, "type": list, "constraint": list, "slicing": dict, "binding": dict,
}  # fmt: skip
_PARTS = {"type": "code", "constraint": "key"}


def check_shape(row: Any) -> None:
    """Raise Unprocessable where an ElementDefinition has not the JSON that R4 asks for, as far as it is read here."""
    if not isinstance(row, dict) or not isinstance(row.get("path"), str):
        raise impossible("an element is an object with a path.", "profile-malformed", "")
    for name, kind in _SHAPES.items():
        value = row.get(name)
        if name in row and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
            raise impossible(
                f"{name} has another JSON type than R4 asks for.", "profile-malformed", f".{name}"
            )
    for name, key in _PARTS.items():
        for part in row.get(name) or ():
            if not isinstance(part, dict) or not isinstance(part.get(key), str) or not _lists(part):
                raise impossible(f"each {name} is an object with a {key}.", "profile-malformed", f".{name}")
    slicing, binding = row.get("slicing") or {}, row.get("binding") or {}
    told = slicing.get("discriminator", [])
    whole = isinstance(told, list) and all(
        isinstance(d, dict) and isinstance(d.get("type"), str) and isinstance(d.get("path"), str)
        for d in told
    )
    if not whole:
        raise impossible("a discriminator has a type and a path.", "profile-malformed", ".slicing")
    if not isinstance(binding.get("strength", ""), str) or not isinstance(binding.get("valueSet", ""), str):
        raise impossible("a binding has a strength and a value set.", "profile-malformed", ".binding")


def _lists(type_: Json) -> bool:
    """Whether the lists of a type are lists of strings, and the texts of an invariant are strings."""
    texts = (type_.get(name, "") for name in ("expression", "human", "severity"))
    lists = (type_.get(name, []) for name in ("profile", "targetProfile", "aggregation"))
    return all(isinstance(text, str) for text in texts) and all(
        isinstance(each, list) and all(isinstance(item, str) for item in each) for each in lists
    )


def narrow(node: Node, row: Json, root: Node) -> None:
    """Change the definition of `node` by `row`. Raises Unprocessable, its expression relative to the row."""
    definition = node.definition
    for name, value in row.items():
        if name not in PLACE:
            definition[name] = value
    if node is root:
        definition |= {name: row[name] for name in ("min", "max") if name in row}
    else:
        _cardinality(node, row)
        _types(node, row)
    if "binding" in row:
        _binding(node, row["binding"])
    if "constraint" in row:
        known = {rule["key"]: rule for rule in definition.get("constraint", ())}
        known |= {rule["key"]: rule for rule in row["constraint"]}
        definition["constraint"] = list(known.values())


def _cardinality(node: Node, row: Json) -> None:
    definition: Json = node.definition
    least: int = row["min"] if "min" in row else definition["min"]
    most: str = row["max"] if "max" in row else definition["max"]
    if most != "*" and not most.isdecimal():
        raise impossible("max is a number or *.", "profile-cardinality", ".max")
    if least < definition["min"]:
        raise impossible(f"min is {definition['min']} already.", "profile-cardinality", ".min")
    if definition["max"] != "*" and (most == "*" or int(most) > int(definition["max"])):
        raise impossible(f"max is {definition['max']} already.", "profile-cardinality", ".max")
    if most != "*" and least > int(most):
        raise impossible(f"min {least} is more than max {most}.", "profile-cardinality", ".min")
    definition["min"], definition["max"] = least, most


def _types(node: Node, row: Json) -> None:
    given = [_plain(type_) for type_ in row.get("type", ()) if not type_["code"].startswith(FHIRPATH)]
    if not given or "contentReference" in node.definition:
        return
    kept = []
    for type_ in given:
        known = next((t for t in node.types if _is_within(type_["code"], t["code"])), None)
        if known is None:
            codes = ", ".join(t["code"] for t in node.types)
            raise impossible(
                f"{type_['code']} is no type of this element ({codes}).", "profile-types", ".type"
            )
        kept.append(known | type_ if type_["code"] == known["code"] else type_)
    node.definition["type"] = kept


def _plain(type_: Json) -> Json:
    return {
        name: type_[name]
        for name in ("code", "profile", "targetProfile", "aggregation", "versioning")
        if name in type_
    }


def _is_within(code: str, known: str) -> bool:
    return code == known or known in ("Resource", "Element") or code in SPECIALISED.get(known, ())


def _binding(node: Node, binding: Json) -> None:
    known = node.definition.get("binding", {})
    if known.get("strength") == "required" and binding.get("strength", "required") != "required":
        raise impossible("the binding is required already.", "profile-binding", ".binding.strength")
    node.definition["binding"] = known | {k: v for k, v in binding.items() if k != "extension"}


def impossible(text: str, code: str, expression: str) -> Unprocessable:
    """The error of a differential that its base does not allow. `expression`: within the element."""
    return Unprocessable(text, code=code, expression=expression)
