"""What a caller is shown of a resource that is not for them as a whole: the pure function, and the values it works by.

A mask is an allow-list: what it does not name is left out, extensions too. Elements that R4 requires, those of which a
part may be shown and there is none, and those that the mask wants to be known about stay as a place that says `masked`;
the copy is tagged SUBSETTED and has no narrative.
Sources: hl7.org/fhir/R4/extension-data-absent-reason.html, hl7.org/fhir/R4/security-labels.html (v3-ObservationValue),
docs/explanation/access.md
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, TypeAlias

from fhirserver.r4.identifiers import shortened
from fhirserver.search.expression import NOTHING, Expression
from fhirserver.search.summary import SUBSETTED, tagged

Json: TypeAlias = dict[str, Any]
ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
MASKED: Mapping[str, str] = {"url": ABSENT, "valueCode": "masked"}
_IDENTITY = ("resourceType", "id")
_IDENTIFIER = ("id", "use", "system", "period")


class Cut(Enum):
    """How an allowed element is shown. SHORTENED: of Identifiers, only a part of the value."""

    WHOLE = "whole"
    SHORTENED = "shortened"


@dataclass(frozen=True, slots=True)
class Shape:
    """What is shown of an object: JSON property -> how, or what of it.

    `hinted`: properties that leave a place behind where nothing of them is shown -> whether they are primitive.
    """

    kept: Mapping[str, Cut | Shape]
    hinted: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class Mask:
    """What is shown of one type. `extensions`: URLs of those that stay where an allowed element has them.

    `fields`: the fields of the index that tell nothing else. `whole`: ids of the patients whose resources the caller
    sees whole all the same; `rows`: these resources as a condition.
    """

    shape: Shape
    extensions: frozenset[str]
    fields: frozenset[str]
    whole: frozenset[str] = frozenset()
    rows: Expression = NOTHING

    def is_whole(self, type: str, id: str, patients: Collection[str] | None) -> bool:
        """True for a resource that is shown whole. `patients`: those whose compartment holds it, if known."""
        if type == "Patient":
            return id in self.whole
        return bool(patients) and not self.whole.isdisjoint(patients or ())


@dataclass(frozen=True, slots=True)
class Masks:
    """What is hidden from one caller. `of`: the masks by type.

    `closed`: types that the caller reads none of, so that they are not read inside of others either. `nothing`: the
    mask that shows nothing of a type.
    """

    of: Mapping[str, Mask]
    closed: frozenset[str]
    nothing: Callable[[str], Mask]

    def inside(self, type: str, *, whole: bool) -> Mask | None:
        """The mask of a contained resource. `whole`: its container is shown whole."""
        mask = None if whole else self.of.get(type)
        return self.nothing(type) if mask is None and type in self.closed else mask


def masked(resource: Json, masks: Masks, *, whole: bool = False) -> Json:
    """The copy that is shown; `resource` itself where nothing is hidden. `whole`: of it only contained ones may be."""
    mask = None if whole else masks.of.get(resource["resourceType"])
    given = resource.get("contained")
    contained = [_inside(each, masks, whole) for each in given] if isinstance(given, list) else []
    if mask is None:
        if not contained or contained == given:
            return resource
        shown = {name: value for name, value in resource.items() if name != "text"} | {"contained": contained}
    else:
        shown = _shaped(resource, mask.shape, mask.extensions)
        referred = _referred(shown, contained)
        if referred:
            shown["contained"] = referred
        if shown == resource:
            return resource
    return tagged(shown, shown)


def marks(resource: Json) -> int:
    """How many places of a resource say `masked`; the tag SUBSETTED counts as one."""
    tags = (resource.get("meta") or {}).get("tag") or ()
    is_subset = any(tag.get("code") == SUBSETTED["code"] for tag in tags if isinstance(tag, dict))
    return is_subset + sum(each == MASKED for each in _objects(resource))


def _objects(value: Any) -> Iterator[Json]:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            yield item
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


def _inside(resource: Any, masks: Masks, whole: bool) -> Any:
    mask = masks.inside(resource.get("resourceType", ""), whole=whole) if isinstance(resource, dict) else None
    return resource if mask is None else _shaped(resource, mask.shape, mask.extensions)


def _referred(shown: Json, contained: Iterable[Any]) -> list[Any]:
    """The contained resources that what is shown refers to, directly or through one another."""
    rest = [each for each in contained if isinstance(each, dict)]
    front: list[Json] = [shown]
    reached: set[str] = set()
    while front:
        targets = {
            o["reference"] for each in front for o in _objects(each) if isinstance(o.get("reference"), str)
        }
        front = [each for each in rest if f"#{each.get('id')}" in targets - reached]
        reached |= targets
    return [each for each in rest if f"#{each.get('id')}" in reached]


def _shaped(value: Json, shape: Shape, extensions: frozenset[str]) -> Json:
    """What `shape` shows of an object."""
    found: Json = {}
    for name, child in value.items():
        plain = name.removeprefix("_")
        part = Cut.WHOLE if plain in _IDENTITY else shape.kept.get(plain)
        if name in _EXTENSIONS:
            new = _EXTENSIONS[name](child, extensions)
        elif part is None:
            new = None
        elif part is Cut.WHOLE or name != plain:
            new = _cleaned(child, extensions, places=name != plain)
        elif part is Cut.SHORTENED:
            new = _each(child, _shortened)
        else:
            new = _each(child, partial(_shaped, shape=part, extensions=extensions))
        if new not in (None, {}, []):
            found[name] = new
        elif plain in shape.hinted:
            found |= _place(plain, child, primitive=shape.hinted[plain])
    return _aligned(found)


def _place(name: str, child: Any, *, primitive: bool) -> Json:
    """The element as a place that says that something is hidden."""
    place: Json = {"extension": [dict(MASKED)]}
    return {f"_{name}" if primitive else name: [place] if isinstance(child, list) else place}


def _each(value: Any, change: Callable[[Json], Json]) -> Any:
    if isinstance(value, list):
        return [new for item in value if isinstance(item, dict) and (new := change(item))]
    return change(value) if isinstance(value, dict) else None


def _cleaned(value: Any, extensions: frozenset[str], *, places: bool = False) -> Any:
    """An allowed value without the extensions that are not. `places`: a list whose items belong to those of another."""
    if isinstance(value, list):
        items = [_cleaned(item, extensions) if isinstance(item, dict | list) else item for item in value]
        if places:
            items = [item or None for item in items]
            return items if any(items) else []
        return [new for new, old in zip(items, value, strict=True) if new or not isinstance(old, dict | list)]
    if not isinstance(value, dict):
        return value
    found: Json = {}
    for name, child in value.items():
        if name in _EXTENSIONS:
            new = _EXTENSIONS[name](child, extensions)
        elif isinstance(child, dict | list):
            new = _cleaned(child, extensions, places=name.startswith("_"))
        else:
            new = child
        if new not in ({}, []):
            found[name] = new
    return _aligned(found)


def _aligned(found: Json) -> Json:
    """Without the nulls of a list whose extensions are gone: a null stands for an extension only."""
    for name, items in list(found.items()):
        if name.startswith("_") or not isinstance(items, list) or None not in items:
            continue
        beside = found.get(f"_{name}")
        beside = beside if isinstance(beside, list) else [None] * len(items)
        pairs = [(a, b) for a, b in zip(items, beside, strict=False) if a is not None or b is not None]
        found[name] = [a for a, _ in pairs]
        if any(b is not None for _, b in pairs):
            found[f"_{name}"] = [b for _, b in pairs]
    return {name: value for name, value in found.items() if value != []}


def _allowed(value: Any, extensions: frozenset[str]) -> list[Any]:
    return [each for each in value if isinstance(each, dict) and each.get("url") in extensions]


def _modified(value: Any, extensions: frozenset[str]) -> list[Any]:
    """That the meaning is modified must be seen; how is hidden."""
    return [
        each
        if each.get("url") in extensions
        else {"url": each.get("url"), **_place("valueString", "", primitive=True)}
        for each in value
        if isinstance(each, dict)
    ]


_EXTENSIONS: Mapping[str, Callable[[Any, frozenset[str]], list[Any]]] = {
    "extension": _allowed,
    "modifierExtension": _modified,
}


def _shortened(identifier: Json) -> Json:
    """An Identifier with a part of its value: of CPF and CNS only, of others none."""
    found = {name: identifier[name] for name in _IDENTIFIER if name in identifier}
    coding = (identifier.get("type") or {}).get("coding")
    if coding:
        found["type"] = {"coding": _cleaned(coding, frozenset())}
    value, system = identifier.get("value"), identifier.get("system")
    if not isinstance(value, str):
        return found
    part = shortened(system, value) if isinstance(system, str) else None
    return found | ({"value": part} if part else {}) | _place("value", value, primitive=True)
