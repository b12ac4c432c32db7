"""Places in a resource: where the elements that a simple FHIRPath names stand, so that they can be changed.

Knows paths of members, indexers, where(), first(), last(), single(), ofType(), as(), extension(url), with the
usual comparisons as criteria; anything else is refused. A choice element has its FHIRPath name (`value`), not
its JSON name (`valueQuantity`).
Source: hl7.org/fhir/R4/fhirpatch.html, hl7.org/fhir/R4/fhirpath.html
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fhirserver.outcome import BadRequest, IssueCode, NotSupported
from fhirserver.r4.elements import Element, Elements
from fhirserver.r4.jsontext import comparable
from fhirserver.r4.paths import Binary, Call, Index, Literal, Member, Node, This, TypeTest

MAX_STEPS = 100_000  # elements looked at for one patch


@dataclass(frozen=True, slots=True)
class Place:
    """Where one element stands: property `key` of `owner`, item `index` where it repeats.

    `code`: its type. `path`: where its children are defined. `parent`: None for the resource itself.
    """

    owner: dict[str, Any]
    key: str
    index: int | None
    code: str
    path: str
    parent: Place | None = None

    @property
    def value(self) -> Any:
        """The JSON value of the element, None for a primitive without one."""
        return _at(self.owner.get(self.key), self.index)

    @property
    def extra(self) -> Any:
        """The id and extensions of a primitive, None if it has none."""
        return _at(self.owner.get("_" + self.key), self.index)


def _at(value: Any, index: int | None) -> Any:
    if index is None:
        return value
    return value[index] if isinstance(value, list) and index < len(value) else None


def whole(resource: dict[str, Any]) -> Place:
    """The place of a resource itself."""
    type = resource["resourceType"]
    return Place({"": resource}, "", None, type, type)


class Finder:
    """Finds places of the resource at `root`; gives up (patch-too-large) after MAX_STEPS elements."""

    def __init__(self, elements: Elements, root: Place) -> None:
        self.elements = elements
        self.root = root
        self.steps = 0

    def find(self, node: Node) -> list[Place]:
        """The places of a path that starts at the resource, with or without its type's name."""
        return self._places(node, [self.root])

    def content_path(self, place: Place) -> str:
        """Where the children of the element at `place` are defined."""
        if self.elements.is_primitive(place.code):
            return "Element"
        if self.elements.is_resource(place.code):
            return str(place.value.get("resourceType"))
        return place.path

    def child(self, place: Place, name: str) -> Element | None:
        """The definition of the child `name` (as in FHIRPath) of the element at `place`."""
        return child_of(self.elements, self.content_path(place), name)

    def children(self, place: Place, name: str) -> list[Place]:
        """The places of the children `name` of the element at `place`."""
        element = self.child(place, name)
        owner = place.extra if self.elements.is_primitive(place.code) else place.value
        if element is None or not isinstance(owner, dict):
            return []
        found: list[Place] = []
        for key, code in element.json_names.items():
            present = [owner[k] for k in (key, "_" + key) if k in owner]
            if not present:
                continue
            count = max(len(p) for p in present if isinstance(p, list)) if element.max != 1 else 1
            self.steps += count
            if self.steps > MAX_STEPS:
                raise BadRequest(
                    "The paths look at too many elements.",
                    code="patch-too-large",
                    issue_code=IssueCode.TOO_COSTLY,
                )
            indices: list[int | None] = [None] if element.max == 1 else list(range(count))
            found += [Place(owner, key, index, code, element.path or code, place) for index in indices]
        return found

    def _places(self, node: Node, focus: list[Place]) -> list[Place]:
        match node:
            case This(name="this"):
                return focus
            case Member(source=None, name=name):
                if focus == [self.root] and name in (self.root.code, "Resource", "DomainResource"):
                    return focus
                return [child for place in focus for child in self.children(place, name)]
            case Member(source=source, name=name) if source is not None:
                return [
                    child for place in self._places(source, focus) for child in self.children(place, name)
                ]
            case Index(source=source, index=Literal(kind="integer", value=int(index))):
                return self._places(source, focus)[index : index + 1]
            case TypeTest(operator="as", operand=operand, type=type):
                return self._of_type(self._places(operand, focus), type)
            case Call(source=source, function=function, arguments=arguments):
                places = focus if source is None else self._places(source, focus)
                return self._call(places, function, arguments)
        raise _unsupported()

    def _call(self, places: list[Place], function: str, arguments: tuple[Node, ...]) -> list[Place]:
        match function, arguments:
            case "where", (criteria,):
                return [place for place in places if self._holds(criteria, place)]
            case "first", ():
                return places[:1]
            case "last", ():
                return places[-1:]
            case "single", () if len(places) <= 1:
                return places
            case (("ofType" | "as"), (Member() as type,)):
                return self._of_type(places, type.name)
            case "extension", (Literal(kind="string", value=url),):
                return [
                    child
                    for place in places
                    for child in self.children(place, "extension")
                    if child.value.get("url") == url
                ]
        raise _unsupported()

    def _of_type(self, places: list[Place], type: str) -> list[Place]:
        name = type.rpartition(".")[2]
        return [
            place
            for place in places
            if name == (self.content_path(place) if self.elements.is_resource(place.code) else place.code)
        ]

    def _holds(self, criteria: Node, place: Place) -> bool:
        values = self._values(criteria, place)
        if len(values) > 1:
            raise _unsupported()
        return bool(values) and values[0] is not False

    def _values(self, node: Node, place: Place) -> list[Any]:
        """The values of an expression inside where()."""
        match node:
            case Literal(kind="empty"):
                return []
            case Literal(kind="string" | "integer" | "decimal" | "boolean" | "date", value=value):
                return [value]
            case Binary(operator="and", left=left, right=right):
                return [self._holds(left, place) and self._holds(right, place)]
            case Binary(operator="or", left=left, right=right):
                return [self._holds(left, place) or self._holds(right, place)]
            case Binary(operator=("=" | "!=") as operator, left=left, right=right):
                one, other = self._values(left, place), self._values(right, place)
                return [_equal(one, other) == (operator == "=")] if one and other else []
            case Call(source=source, function=function, arguments=arguments) if function in _QUESTIONS:
                values = [place] if source is None else self._values(source, place)
                wanted = [value for argument in arguments for value in self._values(argument, place)]
                return [_QUESTIONS[function](values, wanted)]
        found = self._places(node, [place])
        return [p.value for p in found if p.value is not None]


def child_of(elements: Elements, path: str, name: str) -> Element | None:
    """The definition of the child `name` (as in FHIRPath) of a type or backbone element."""
    return next((element for element in elements.children(path) if element.name == name), None)


def insert_item(
    owner: dict[str, Any], key: str, element: Element, index: int, value: Any, extra: Any
) -> None:
    """Put a value (and the extra of a primitive) into the property `key`, at `index` where it repeats."""
    if element.max == 1:
        owner.update({key: value} if value is not None else {})
        owner.update({"_" + key: extra} if extra is not None else {})
        return
    values, extras = aligned(owner, key)
    values.insert(index, value)
    extras.insert(index, extra)
    store(owner, key, values, extras)


def remove_item(owner: dict[str, Any], key: str, index: int | None) -> None:
    """Take an element out of the property `key` of `owner`."""
    if index is None:
        owner.pop(key, None)
        owner.pop("_" + key, None)
        return
    values, extras = aligned(owner, key)
    del values[index], extras[index]
    store(owner, key, values, extras)


def aligned(owner: dict[str, Any], key: str) -> tuple[list[Any], list[Any]]:
    """The two arrays of a repeating property, filled up with None to the same length."""
    values, extras = list(owner.get(key, ())), list(owner.get("_" + key, ()))
    length = max(len(values), len(extras))
    return values + [None] * (length - len(values)), extras + [None] * (length - len(extras))


def store(owner: dict[str, Any], key: str, values: list[Any], extras: list[Any]) -> None:
    """Set the two arrays of a repeating property; one that is all None is left out."""
    for name, array in ((key, values), ("_" + key, extras)):
        if any(item is not None for item in array):
            owner[name] = array
        else:
            owner.pop(name, None)


def _text_question(answer: Callable[[str, str], bool]) -> Callable[[list[Any], list[Any]], bool]:
    def ask(values: list[Any], wanted: list[Any]) -> bool:
        if len(values) != 1 or len(wanted) != 1 or not all(isinstance(v, str) for v in (*values, *wanted)):
            return False
        return answer(values[0], wanted[0])

    return ask


_QUESTIONS: dict[str, Callable[[list[Any], list[Any]], bool]] = {
    "exists": lambda values, _: bool(values),
    "empty": lambda values, _: not values,
    "not": lambda values, _: values == [False],
    "startsWith": _text_question(str.startswith),
    "endsWith": _text_question(str.endswith),
    "contains": _text_question(str.__contains__),
}


def _equal(one: list[Any], other: list[Any]) -> bool:
    return bool(comparable(one) == comparable(other))


def _unsupported() -> BadRequest:
    return NotSupported(
        "A patch path may use members, indexers, where(), first(), last(), single(), ofType(), extension().",
        code="fhirpath-not-supported",
    )
