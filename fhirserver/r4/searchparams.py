"""What a search parameter's expression yields for each parameter type.

The one place that knows which types can be indexed.

Used when the tables are distilled and when a clinic's own SearchParameter is loaded.
Source: hl7.org/fhir/R4/search.html (the table of data types at each parameter type)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fhirserver.outcome import NotSupported
from fhirserver.r4.paths_resolve import Branch, resolve
from fhirserver.r4.paths_types import ElementTypes

PREFIX = "http://hl7.org/fhir/SearchParameter/"
WORDS = ("_text", "_content")

_CODES = ("code", "uri", "canonical", "url", "oid", "uuid", "id", "string", "markdown", "boolean")
_WHOLE = ("integer", "positiveInt", "unsignedInt")
_DATES = ("date", "dateTime", "instant")
_AMOUNTS = ("Quantity", "Age", "Count", "Distance", "Duration", "Money", "Range")
INDEXABLE: Mapping[str, frozenset[str]] = {
    "string": frozenset(
        ("string", "markdown", "code", "id", "uri", "HumanName", "Address", "Annotation", "CodeableConcept")
    ),
    "token": frozenset((*_CODES, *_WHOLE, "Coding", "CodeableConcept", "Identifier", "ContactPoint")),
    "reference": frozenset(("Reference", "canonical", "uri", "url", "oid", "uuid", "Resource")),
    "uri": frozenset(("uri", "canonical", "url", "oid", "uuid")),
    "date": frozenset((*_DATES, "Period", "Timing")),
    "number": frozenset((*_WHOLE, "decimal", *_AMOUNTS[1:4], "Range")),
    "quantity": frozenset((*_AMOUNTS, *_WHOLE, "decimal")),
    "special": frozenset(("Location.position",)),
}
_STRINGS_OF = frozenset(("HumanName", "Address", "CodeableConcept"))


def resolve_values(expression: str, kind: str, base: str, types: ElementTypes) -> tuple[Branch, ...]:
    """The branches of a parameter of type `kind` on resource type `base`, only those that can be indexed.

    For a composite they lead to its focus elements. An Extension stands for its value.
    Raises NotSupported (search-parameter-expression) when nothing is left.
    """
    return _indexable(resolve(expression, base, types), kind, types)


def resolve_components(
    parts: Sequence[tuple[str, str]], focus: str, base: str, types: ElementTypes
) -> tuple[tuple[Branch, ...], ...]:
    """The branches of each component (type, expression) of a composite, from a focus element of type `focus`.

    A branch that starts at the resource (%resource) begins with the step ("root",).
    """
    found = []
    for kind, expression in parts:
        if expression.startswith("%resource."):
            branches = resolve(expression.removeprefix("%resource."), base, types)
            branches = tuple(replace(b, steps=(("root",), *b.steps)) for b in branches)
        else:
            branches = resolve(expression, focus, types)
        found.append(_indexable(branches, kind, types))
    return tuple(found)


def repeats(branches: Sequence[Branch]) -> bool:
    """True when a resource can hold more than one value.

    A repeating element, several elements, or a type of many strings.
    """
    return len({b.element or b.steps for b in branches}) > 1 or any(
        b.many or b.type in _STRINGS_OF for b in branches
    )


def _indexable(branches: tuple[Branch, ...], kind: str, types: ElementTypes) -> tuple[Branch, ...]:
    if kind == "composite":
        return branches
    allowed = INDEXABLE[kind]
    found = []
    for branch in branches:
        if branch.type == "Extension":
            found.extend(_extension_values(branch, allowed, types))
        elif branch.type in allowed:
            found.append(branch)
    if branches and not found:
        kinds = ", ".join(sorted({b.type for b in branches}))
        raise NotSupported(
            f"A parameter of type {kind} cannot search elements of type {kinds}.",
            code="search-parameter-type",
        )
    return tuple(found)


def _extension_values(branch: Branch, allowed: frozenset[str], types: ElementTypes) -> list[Branch]:
    child = types.child("Extension", "value")
    return [
        Branch(
            t, (*branch.steps, "value" + t[0].upper() + t[1:]), branch.many, None, (*branch.element, "value")
        )
        for t in (child.types if child else ())
        if t in allowed
    ]
