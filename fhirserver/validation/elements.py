"""Checks of JSON objects and arrays, as closures over the shape of a type.

The good path walks the properties of an object once, calls the check of each and allocates nothing. Whatever
is unusual (`_x` properties, unknown names, any problem) goes through the Shape, which need not be fast.
Source: hl7.org/fhir/R4/json.html
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from fhirserver.outcome import IssueCode
from fhirserver.r4.elements import Rule
from fhirserver.validation.primitives import MAX_STRING, check_string
from fhirserver.validation.problems import (
    LIMIT,
    Check,
    Problem,
    Problems,
    Scope,
    structure,
    within,
    wrong_type,
)

Json = dict[str, Any]
LONG = MAX_STRING + 1
Test = Callable[[Any], bool]
"""An invariant as a predicate of the JSON object that it stands at: True where it holds."""


@dataclass(frozen=True, slots=True)
class Property:
    """One JSON property. `name`: of the element, without the type of a choice. `item`: check of one value.

    `beside`: check of the object in `_x`, where it is another than the Shape's.
    """

    name: str
    check: Check
    item: Check
    repeats: bool
    primitive: bool
    group: frozenset[str] | None = None
    beside: Check | None = None


@dataclass(slots=True)
class Shape:
    """What a type or backbone element looks like.

    `required`: the first JSON name and the name of each element that must be there.
    `checks`: JSON name -> check, what the good path uses. `groups`: the JSON names of each choice.
    `companion`: check of the object in `_x`. `may_be_bare`: an object with nothing but an id is allowed.
    """

    path: str
    properties: dict[str, Property] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)
    required: list[tuple[str, str]] = field(default_factory=list)
    groups: list[frozenset[str]] = field(default_factory=list)
    rules: tuple[tuple[Rule, Test], ...] = ()
    companion: Check | None = None
    may_be_bare: bool = False

    def add(self, json_name: str, found: Property) -> None:
        """Take up one property."""
        self.properties[json_name] = found
        self.checks[json_name] = found.check


def object_check(shape: Shape) -> Check:
    """A check of one JSON object. The properties of `shape` may be filled later: types contain themselves."""
    lookup = shape.checks.get
    may_be_bare = shape.may_be_bare
    groups = tuple(shape.groups)
    required = tuple(first for first, _ in shape.required)
    tests = tuple(test for _, test in shape.rules)
    has_more = bool(required or groups or tests)

    def check(value: Any, scope: Scope) -> Problems | None:
        if type(value) is not dict:
            return wrong_type(value, dict)
        found: Problems | None = None
        for name, item in value.items():
            child = lookup(name)
            if child is check_string and type(item) is str and 0 < len(item) < LONG and item.isprintable():
                continue  # what check_string would say, for the commonest type without the call
            if child is not None:
                problems = child(item, scope)
                if problems is None:
                    continue
                problems = _failed(shape, name, value, problems)
            else:
                problems = _other(shape, name, value, scope)
            if problems is not None:
                found = problems if found is None else found + problems
                if len(found) >= LIMIT:
                    return found
        if len(value) < 2 and (not value or ("id" in value and not may_be_bare)):
            return structure("empty-object", "An element has a value or children besides its id.")
        if found is not None:
            return _as_a_whole(shape, value, found)
        if has_more:
            for first in required:
                if first not in value:
                    return _as_a_whole(shape, value, None)
            for names in groups:
                if len(names.intersection(value)) > 1:
                    return _as_a_whole(shape, value, None)
            for test in tests:
                if not test(value):
                    return _as_a_whole(shape, value, None)
        return None

    return check


def _as_a_whole(shape: Shape, value: Json, found: Problems | None) -> Problems | None:
    """Choices given twice, missing elements, invariants that do not hold, after what was `found`."""
    problems = list(found or [])
    for names in shape.groups:
        if len(names.intersection(value)) > 1:
            problems += _conflict(shape, names)
    for first, element in shape.required:
        if first not in value:
            problems += _missing(shape, element, value)
    for rule, test in shape.rules:
        try:
            holds = test(value)
        except (TypeError, AttributeError, KeyError, ValueError, IndexError):
            if not problems:
                raise
            holds = True  # an element of the wrong type keeps the rule from running; it is reported itself
        if not holds:
            problems.append(_broken(rule))
    return problems or None


def list_check(item_check: Check, maximum: int | None = None) -> Check:
    """A check of a JSON array, each item by `item_check`, with at most `maximum` items."""

    def check(value: Any, scope: Scope) -> Problems | None:
        if type(value) is not list:
            return wrong_type(value, list)
        for item in value:
            if item_check(item, scope) is not None:
                return _failed_items(item_check, value, scope)
        if not value:
            return structure(
                "empty-array", "An array holds at least one item; leave the property out instead."
            )
        if maximum is not None and len(value) > maximum:
            return structure("too-many-elements", f"At most {maximum} of these are allowed.")
        return None

    return check


def with_rules(check: Check, rules: tuple[tuple[Rule, Test], ...]) -> Check:
    """`check`, then the invariants that an element adds to its data type."""

    def checked(value: Any, scope: Scope) -> Problems | None:
        problems = check(value, scope)
        if problems is not None:
            return problems
        broken = [_broken(rule) for rule, test in rules if not test(value)]
        return broken or None

    return checked


def _failed_items(item_check: Check, items: list[Any], scope: Scope) -> Problems:
    found: Problems = []
    for index, item in enumerate(items):
        problems = item_check(item, scope)
        if problems is not None:
            found += within(f"[{index}]", problems)
            if len(found) >= LIMIT:
                break
    return found


def _failed(shape: Shape, name: str, value: Json, problems: Problems) -> Problems | None:
    """The problems of property `name`, seen together with its `_` companion, which may explain a null."""
    known = shape.properties[name]
    if known.primitive and known.repeats and f"_{name}" in value:
        return None  # _other checks the pair when it comes to the companion
    return within(f".{known.name}", problems)


def _other(shape: Shape, name: str, value: Json, scope: Scope) -> Problems | None:
    """The companion `_x` of a primitive, or a name that the type does not have."""
    base = name[1:]
    known = shape.properties.get(base)
    if name[:1] != "_" or known is None or not known.primitive or shape.companion is None:
        return _unknown(shape, name)
    companion = known.beside or shape.companion
    if known.repeats:
        problems = _pairs(known, companion, value.get(base), value[name], scope)
    else:
        problems = _companion(companion, value[name], base in value, scope)
    if problems is None and known.group is not None:
        others = known.group - {base}
        if any(other in value or f"_{other}" in value for other in others):
            return _conflict(shape, known.group)
    return within(f".{known.name}", problems) if problems is not None else None


def _companion(check: Check, companion: Any, has_value: bool, scope: Scope) -> Problems | None:
    problems = check(companion, scope)
    if problems is None and not has_value and "extension" not in companion:
        return structure("empty-object", "A primitive element has a value or an extension.")
    return problems


def _pairs(known: Property, check: Check, values: Any, companions: Any, scope: Scope) -> Problems | None:
    """A repeating primitive with its companions: arrays of one length, null where a side has nothing."""
    for side in (values, companions):
        if type(side) is not list and not (side is None and side is values):
            return wrong_type(side, list)
    if not companions or values == []:
        return structure("empty-array", "An array holds at least one item; leave the property out instead.")
    if values is None:
        values = [None] * len(companions)
    if len(values) != len(companions):
        text = (
            "The array of values and its _ array must have the same length, with null where one has nothing."
        )
        return structure("misaligned-array", text)
    found: Problems = []
    for index, (item, companion) in enumerate(zip(values, companions, strict=True)):
        problems: Problems = []
        if item is None and companion is None:
            problems = structure("null-value", "Neither a value nor an extension stands at this place.")
        if item is not None:
            problems = problems + (known.item(item, scope) or [])
        if companion is not None:
            problems = problems + (_companion(check, companion, item is not None, scope) or [])
        found += within(f"[{index}]", problems)
        if len(found) >= LIMIT:
            break
    return found or None


def _unknown(shape: Shape, name: str) -> Problems:
    text = f"{shape.path} has no such element."
    if not name.isidentifier() or len(name) > 64 or not name.isascii():
        return structure("unknown-element", text)
    close = get_close_matches(name, shape.properties, n=1, cutoff=0.7)
    if close:
        text += f" Did you mean {close[0]}?"
    elif name[0] == "_" and name[1:] in shape.properties:
        text += " Only primitive elements have a companion that starts with _."
    return structure("unknown-element", text, f".{name}")


def _conflict(shape: Shape, names: frozenset[str]) -> Problems:
    name = shape.properties[next(iter(names))].name
    return structure("choice-conflict", f"Only one of the types of {name}[x] may be given.", f".{name}")


def _missing(shape: Shape, element: str, value: Json) -> Problems:
    names = [name for name, known in shape.properties.items() if known.name == element]
    for name in names:
        if name in value or (f"_{name}" in value and shape.properties[name].primitive):
            return []
    text = f"{shape.path}.{element} is required."
    if len(names) > 1:
        text = f"{shape.path}.{element}[x] is required, as one of {', '.join(names[:12])}."
    return [Problem("missing-element", IssueCode.REQUIRED, text, [f".{element}"])]


def _broken(rule: Rule) -> Problem:
    return Problem(f"invariant-{rule.key}", IssueCode.INVARIANT, f"{rule.human.rstrip('.')}. ({rule.key})")
