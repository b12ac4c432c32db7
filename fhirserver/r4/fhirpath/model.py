"""Items of FHIR data with their types, and the children of each type by name.

The type of an item is a FHIR type name ("HumanName"), the path of a backbone element ("Patient.contact") or a
System type ("System.Integer"). A primitive carries the object of its `_x` property along as `extra`.
Source: hl7.org/fhir/R4/fhirpath.html#types
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from fhirserver.r4.elements import Elements
from fhirserver.r4.fhirpath.state import Items

QUANTITIES = frozenset(
    {"Quantity", "Age", "Count", "Distance", "Duration", "SimpleQuantity", "MoneyQuantity"}
)
SYSTEM_TYPES = frozenset(
    {"Boolean", "String", "Integer", "Decimal", "Date", "DateTime", "Time", "Quantity", "Any"}
)
CLASS_INFO = "System.ClassInfo"


class Item:
    """One value with its type. `value`: JSON value, System value, or None for a primitive with only `extra`."""

    __slots__ = ("extra", "type", "value")

    def __init__(self, value: Any, type: str, extra: Any = None) -> None:
        self.value = value
        self.type = type
        self.extra = extra

    def __repr__(self) -> str:
        return f"{self.type} {self.value!r}"


class _Way:
    """How a child is stored: JSON property, its companion (empty for none), the type of its items.

    `nested`: the items are resources, which name their own type.
    """

    __slots__ = ("companion", "name", "nested", "type")

    def __init__(self, name: str, type: str, companion: str, nested: bool = False) -> None:
        self.name = name
        self.type = type
        self.companion = companion
        self.nested = nested


class _Choice(dict[str, _Way]):
    """The ways of a choice by JSON property and companion: an object has few properties, value[x] many types."""


def _choice(ways: list[_Way]) -> _Choice:
    found = _Choice({way.name: way for way in ways})
    found.update({way.companion: way for way in ways if way.companion})
    return found


def _keys(ways: Sequence[_Way] | _Choice) -> Iterator[str]:
    """The JSON properties and companions of an element."""
    for way in ways.values() if isinstance(ways, _Choice) else ways:
        yield way.name
        if way.companion:
            yield way.companion


Ways: TypeAlias = Mapping[str, "Sequence[_Way] | _Choice"]


class Model:
    """The types of R4 as FHIRPath sees them, read from `elements` when a type is first met."""

    def __init__(self, elements: Elements) -> None:
        self.elements = elements
        self._ways: dict[str, Ways] = {}
        self._names: dict[str, Mapping[str, str]] = {}
        self._bases: dict[tuple[str, str], bool] = {}

    def item(self, value: Any, type: str, extra: Any = None) -> Item:
        """An item for JSON; a resource is of the type that it names itself."""
        if isinstance(value, dict) and (not type or self.elements.is_resource(type)):
            named = value.get("resourceType")
            if isinstance(named, str) and self.elements.is_resource(named):
                type = named
        return Item(value, type, extra)

    def has_child(self, type: str, name: str) -> bool:
        """Whether the type has an element of that name (without [x])."""
        return name in self._of(type)

    def child(self, item: Item, name: str, found: Items) -> None:
        """Append the children `name` of an item to `found`."""
        known = self._of(item.type).get(name)
        if known is None:
            return
        value = item.value
        if type(value) is not dict:
            value = item.extra  # of a primitive: its id and extensions
            if type(value) is not dict:
                return
        if isinstance(known, _Choice):
            known = list(dict.fromkeys(known[key] for key in value if key in known))
        for way in known:
            below = value.get(way.name)
            extra = value.get(way.companion) if way.companion else None
            if extra is not None:
                self._append(below, extra, way.type, found)
            elif below is None:
                continue
            elif way.nested:
                self._append(below, None, way.type, found)
            elif type(below) is list:
                kind = way.type
                for one in below:
                    if one is not None:
                        found.append(Item(one, kind))
            else:
                found.append(Item(below, way.type))

    def children(self, item: Item, found: Items) -> None:
        """Append all children of an item to `found`."""
        value = item.value if type(item.value) is dict else item.extra
        if type(value) is not dict:
            return
        known = self._names.get(item.type)
        if known is None:
            known = self._names[item.type] = {
                key: name for name, ways in self._of(item.type).items() for key in _keys(ways)
            }
        for name in dict.fromkeys(known[key] for key in value if key in known):
            self.child(item, name, found)

    def is_a(self, type: str, wanted: str) -> bool:
        """Whether `type` is `wanted` or specialises it; `wanted` may be qualified (FHIR.x, System.X)."""
        key = (type, wanted)
        known = self._bases.get(key)
        if known is None:
            known = self._bases[key] = self._is_a(type, wanted)
        return known

    def known_type(self, name: str) -> bool:
        """Whether a type specifier names a type at all."""
        space, _, bare = name.rpartition(".")
        if space not in ("", "FHIR", "System"):
            return False
        return self._is_fhir(bare) or (space != "FHIR" and bare in SYSTEM_TYPES) or bare == "SimpleQuantity"

    def _is_fhir(self, name: str) -> bool:
        try:
            self.elements.base(name)
        except KeyError:
            return False
        return True

    def _is_a(self, type: str, wanted: str) -> bool:
        space, _, name = wanted.rpartition(".")
        if type.startswith("System."):
            return space in ("", "System") and type[7:] == name
        if space == "System":
            return False
        if name == "SimpleQuantity":
            name = "Quantity"
        return name in self._lineage(type)

    def _lineage(self, type: str) -> Iterator[str]:
        if "." in type:  # a backbone element, or an element of a data type such as Timing.repeat
            root = type.partition(".")[0]
            yield "BackboneElement" if self.elements.is_resource(root) else "Element"
            yield "Element"
            return
        while type and self._is_fhir(type):
            yield type
            type = self.elements.base(type)

    def _append(self, below: Any, extra: Any, type: str, found: Items) -> None:
        if isinstance(below, list):
            extras = extra if isinstance(extra, list) else ()
            for index, value in enumerate(below):
                more = extras[index] if index < len(extras) else None
                if value is not None or more is not None:
                    found.append(self.item(value, type, more))
        elif below is None and isinstance(extra, list):
            found.extend(Item(None, type, more) for more in extra if more is not None)
        else:
            found.append(self.item(below, type, extra))

    def _of(self, type: str) -> Ways:
        known = self._ways.get(type)
        if known is None:
            known = self._ways[type] = self._read(type)
        return known

    def _read(self, type: str) -> Ways:
        if type == CLASS_INFO:
            return {name: (_Way(name, "System.String", ""),) for name in ("namespace", "name")}
        if type.startswith("System."):
            return {}
        primitive = self.elements.is_primitive(type)
        try:
            children = self.elements.children("Element" if primitive else type)
        except KeyError:
            return {}
        ways: dict[str, Sequence[_Way] | _Choice] = {}
        for element in children:
            found = []
            for json_name, code in element.json_names.items():
                companion = f"_{json_name}" if self.elements.is_primitive(code) else ""
                kind = code if element.choice else element.path or code
                found.append(_Way(json_name, kind, companion, self.elements.is_resource(kind)))
            ways[element.name] = _choice(found) if element.choice else found
        return ways
