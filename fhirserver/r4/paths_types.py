"""The types of R4 elements as far as resolving a path needs them: a view of Elements and bound value sets.

Read only where a path is resolved: when the tables are distilled, and for a clinic's own search parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import orjson

from fhirserver.r4.elements import Element, Elements

TABLES = Path(__file__).parent / "tables"
VALUE_SETS = "http://hl7.org/fhir/ValueSet/"
_NONE: Mapping[str, Child] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Child:
    """One element.

    `types`: type codes, or the path of its children for a backbone element. `system`: the only code system of
    the required binding of a code, None for anything else.
    """

    types: tuple[str, ...]
    choice: bool = False
    many: bool = False
    system: str | None = None


class ElementTypes:
    """Children of types and backbone elements, by name. `systems`: value set -> its only code system."""

    def __init__(self, elements: Elements, systems: Mapping[str, str]) -> None:
        self._elements = elements
        self._systems = systems
        self._children: dict[str, Mapping[str, Child]] = {}

    @classmethod
    def load(cls, tables: Path = TABLES) -> ElementTypes:
        """The types of R4."""
        value_sets = orjson.loads((tables / "valuesets.json").read_bytes())
        systems = {
            name if ":" in name else VALUE_SETS + name: next(iter(codes))
            for name, codes in value_sets.items()
            if codes and len(codes) == 1
        }
        return cls(Elements.load(tables / "elements.json"), systems)

    def is_resource(self, name: str) -> bool:
        """True for the names of resource types, the abstract ones included."""
        return self._elements.is_resource(name)

    def child(self, type: str, name: str) -> Child | None:
        """The element `name` (without [x]) of `type`, None when there is no such element."""
        known = self._children.get(type)
        if known is None:
            known = self._children[type] = self._read(type)
        return known.get(name)

    def _read(self, type: str) -> Mapping[str, Child]:
        if not type or self._elements.is_primitive(type):
            return _NONE
        return {element.name: self._child(element) for element in self._elements.children(type)}

    def _child(self, element: Element) -> Child:
        codes = tuple(dict.fromkeys(type_ref.code for type_ref in element.types))
        system = None
        if codes == ("code",) and element.binding is not None and element.binding.strength == "required":
            system = self._systems.get(element.binding.value_set.partition("|")[0])
        types = codes if element.choice or not element.path else (element.path,)
        return Child(types, element.choice, element.max != 1, system)
