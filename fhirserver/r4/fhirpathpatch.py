"""FHIRPath Patch: the operations add, insert, delete, replace, move of a Parameters resource.

What a delete leaves empty goes too: an object without properties is no valid JSON of FHIR.
Source: hl7.org/fhir/R4/fhirpatch.html
"""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from fhirserver.outcome import BadRequest, IssueCode, OutcomeError, Unprocessable
from fhirserver.r4.elements import Element, Elements
from fhirserver.r4.jsonpatch import MAX_OPERATIONS, keep_identity, too_large
from fhirserver.r4.jsontext import MAX_DEPTH, is_deeper
from fhirserver.r4.paths import Member, parse_path
from fhirserver.r4.places import Finder, Place, aligned, child_of, insert_item, remove_item, store, whole

_NEEDS = {
    "add": {"path", "name", "value"},
    "insert": {"path", "index", "value"},
    "delete": {"path"},
    "replace": {"path", "value"},
    "move": {"path", "source", "destination"},
}
_PLAIN = re.compile(r"[\w.\[\]]{1,200}")


def apply_fhirpath_patch(resource: dict[str, Any], parameters: Any, elements: Elements) -> dict[str, Any]:
    """The resource that the operations of `parameters` make of `resource`, which stays as it is.

    Raises BadRequest patch-syntax, fhirpath-syntax, fhirpath-not-supported or patch-too-large for a patch
    that is none, and Unprocessable patch-path, patch-path-many, patch-exists, patch-index, patch-value or
    patch-identity where it does not fit the resource; the words name the operation by its place, from 1.
    """
    operations = _operations(parameters)
    changed = deepcopy(resource)
    finder = Finder(elements, whole(changed))
    for number, operation in enumerate(operations, 1):
        try:
            _Change(finder, operation).apply()
        except OutcomeError as error:
            _name_operation(error, number, operation.path)
    keep_identity(resource, changed)
    if is_deeper(changed, MAX_DEPTH):
        raise too_large(f"The resource would have more than {MAX_DEPTH} levels.")
    return changed


@dataclass(frozen=True, slots=True)
class _Operation:
    """One operation as asked for; `value`: the part of Parameters that holds it."""

    type: str
    path: str
    name: str
    value: dict[str, Any]
    index: int
    source: int
    destination: int


def _operations(parameters: Any) -> list[_Operation]:
    if not isinstance(parameters, dict) or parameters.get("resourceType") != "Parameters":
        raise _syntax("A FHIRPath Patch is a Parameters resource.")
    given = parameters.get("parameter", [])
    if not isinstance(given, list):
        raise _syntax("Parameters.parameter must be an array.")
    if len(given) > MAX_OPERATIONS:
        raise too_large(f"A patch may have {MAX_OPERATIONS} operations.")
    return [_operation(parameter, number) for number, parameter in enumerate(given, 1)]


def _operation(parameter: Any, number: int) -> _Operation:
    given = parameter.get("part") if isinstance(parameter, dict) else None
    if not isinstance(given, list) or parameter.get("name") != "operation":
        raise _syntax(f"Parameter {number} must be named operation and have parts.")
    parts: dict[str, dict[str, Any]] = {}
    for part in given:
        name = part.get("name") if isinstance(part, dict) else None
        if not isinstance(name, str) or name in parts:
            raise _syntax(f"Operation {number}: each part needs a name, once.")
        parts[name] = part
    kind = _plain(parts, "type", str, number)
    needs = _NEEDS.get(kind)
    if needs is None or parts.keys() != needs | {"type"}:
        choice = "; ".join(f"{name}: {', '.join(sorted(wanted))}" for name, wanted in _NEEDS.items())
        raise _syntax(f"Operation {number}: give a type with its parts. {choice}.")
    return _Operation(
        kind,
        _plain(parts, "path", str, number),
        _plain(parts, "name", str, number),
        parts.get("value", {}),
        *(_plain(parts, name, int, number) for name in ("index", "source", "destination")),
    )


def _plain(parts: dict[str, dict[str, Any]], name: str, kind: Any, number: int) -> Any:
    """The string or integer of a part; empty or 0 where there is no such part."""
    if name not in parts:
        return kind()
    values = [value for key, value in parts[name].items() if key.startswith("value")]
    if len(values) != 1 or type(values[0]) is not kind:
        raise _syntax(f"Operation {number}: {name} must have one value of type {kind.__name__}.")
    return values[0]


def _syntax(text: str) -> BadRequest:
    return BadRequest(text, code="patch-syntax", issue_code=IssueCode.STRUCTURE)


def _name_operation(error: OutcomeError, number: int, path: str) -> None:
    """Raise `error` again with the place of the operation and, where it holds no values, its path."""
    issue = error.issues[0]
    expression = path if _PLAIN.fullmatch(path) else ()
    raise type(error)(
        f"Operation {number}: {issue.text}",
        code=issue.code,
        expression=expression,
        issue_code=issue.issue_code,
    ) from None


class _Change:
    """One operation on the resource of `finder`."""

    def __init__(self, finder: Finder, operation: _Operation) -> None:
        self.finder = finder
        self.elements = finder.elements
        self.operation = operation

    def apply(self) -> None:
        """Do it."""
        getattr(self, self.operation.type)()

    def add(self) -> None:
        """Append to a list, or set what is not there."""
        place = self.one()
        element = self.finder.child(place, self.operation.name)
        if element is None:
            raise _no_place("the element has no child of this name.")
        there = self.finder.children(place, element.name)
        if there and element.max == 1:
            raise Unprocessable("the element is there already; replace it.", code="patch-exists")
        key, value, extra = given_value(self.elements, element, self.operation.value)
        insert_item(self.content(place), key, element, len(there), value, extra)

    def insert(self) -> None:
        """Put a value into a list at an index."""
        place, element = self.named_list()
        there = self.finder.children(place, element.name)
        if not 0 <= self.operation.index <= len(there):
            raise _no_index()
        key, value, extra = given_value(self.elements, element, self.operation.value)
        insert_item(self.content(place), key, element, self.operation.index, value, extra)

    def delete(self) -> None:
        """Remove one element, if it is there."""
        found = self.finder.find(parse_path(self.operation.path))
        if found:
            self.remove(self.only(found))

    def replace(self) -> None:
        """Put another value in the place of one."""
        place = self.one()
        if place.parent is None:
            raise _no_place("the resource itself cannot be replaced.")
        element = next(
            e
            for e in self.elements.children(self.finder.content_path(place.parent))
            if place.key in e.json_names
        )
        key, value, extra = given_value(self.elements, element, self.operation.value)
        remove_item(place.owner, place.key, place.index)
        insert_item(place.owner, key, element, place.index or 0, value, extra)

    def move(self) -> None:
        """Change the order of a list."""
        place, element = self.named_list()
        there = self.finder.children(place, element.name)
        source, destination = self.operation.source, self.operation.destination
        if not (0 <= source < len(there) and 0 <= destination < len(there)):
            raise _no_index()
        moved = there[source]
        value, extra = moved.value, moved.extra
        remove_item(moved.owner, moved.key, source)
        insert_item(moved.owner, moved.key, element, destination, value, extra)

    def one(self) -> Place:
        """The one place of the path."""
        return self.only(self.finder.find(parse_path(self.operation.path)))

    def only(self, found: list[Place]) -> Place:
        """The one place of `found`."""
        if len(found) == 1:
            return found[0]
        if not found:
            raise _no_place("the path finds nothing.")
        many = IssueCode.MULTIPLE_MATCHES
        raise Unprocessable("the path finds several elements.", code="patch-path-many", issue_code=many)

    def named_list(self) -> tuple[Place, Element]:
        """The owner and the definition of the list that the path names, empty or not."""
        node = parse_path(self.operation.path)
        if isinstance(node, Member) and node.source is not None:
            place = self.only(self.finder.find(node.source))
            element = self.finder.child(place, node.name)
            if element is not None and element.max != 1:
                return place, element
        raise _no_place("the path must end with the name of a list.")

    def content(self, place: Place) -> dict[str, Any]:
        """The object that holds the children of the element at `place`, made if a primitive has none."""
        if not self.elements.is_primitive(place.code):
            return place.value  # type: ignore[no-any-return]
        extra = place.extra
        if extra is None:
            extra = {}
            if place.index is None:
                place.owner["_" + place.key] = extra
            else:
                values, extras = aligned(place.owner, place.key)
                extras[place.index] = extra
                store(place.owner, place.key, values, extras)
        return extra  # type: ignore[no-any-return]

    def remove(self, place: Place) -> None:
        """Remove an element, and what it leaves empty."""
        if place.parent is None:
            raise _no_place("the resource itself cannot be deleted.")
        remove_item(place.owner, place.key, place.index)
        if place.owner or place.parent.parent is None:
            return
        parent = place.parent
        if not self.elements.is_primitive(parent.code) or parent.value is None:
            self.remove(parent)
        elif parent.index is None:
            del parent.owner["_" + parent.key]
        else:
            values, extras = aligned(parent.owner, parent.key)
            extras[parent.index] = None
            store(parent.owner, parent.key, values, extras)


def given_value(elements: Elements, element: Element, part: dict[str, Any]) -> tuple[str, Any, Any]:
    """The JSON name, the value, and the id and extensions (or None) that a part gives for `element`."""
    part = deepcopy(part)
    if (
        isinstance(part.get("resource"), dict)
        and element.types
        and elements.is_resource(element.types[0].code)
    ):
        return element.name, part["resource"], None
    names = {key.removeprefix("_") for key in part if key.removeprefix("_").startswith("value")}
    if isinstance(part.get("part"), list) and not names:
        if element.choice or not element.path:
            raise _no_value()
        return element.name, _composed(elements, element.path, part["part"]), None
    if len(names) != 1 or "part" in part or "resource" in part:
        raise _no_value()
    given = names.pop()
    value, extra = part.get(given), part.get("_" + given)
    key = next(iter(element.json_names))
    if element.choice:
        key = element.name + given.removeprefix("value")
    code = element.json_names.get(key)
    if code is None or elements.is_primitive(code) == isinstance(value, (dict, list)):
        raise _no_value()
    return key, value, extra


def _composed(elements: Elements, path: str, parts: list[Any]) -> dict[str, Any]:
    """The object that nested parts describe, for an element whose children are defined at `path`."""
    composed: dict[str, Any] = {}
    counts: dict[str, int] = {}
    for part in parts:
        name = part.get("name") if isinstance(part, dict) else None
        element = child_of(elements, path, name) if isinstance(name, str) else None
        if element is None:
            raise _no_value()
        key, value, extra = given_value(elements, element, part)
        count = counts.get(element.name, 0)
        if count and element.max == 1:
            raise _no_value()
        insert_item(composed, key, element, count, value, extra)
        counts[element.name] = count + 1
    if not composed:
        raise _no_value()
    return composed


def _no_place(text: str) -> Unprocessable:
    return Unprocessable(text, code="patch-path")


def _no_index() -> Unprocessable:
    return Unprocessable("an index is outside the list.", code="patch-index", issue_code=IssueCode.VALUE)


def _no_value() -> Unprocessable:
    return Unprocessable(
        "the value does not fit the element.", code="patch-value", issue_code=IssueCode.VALUE
    )
