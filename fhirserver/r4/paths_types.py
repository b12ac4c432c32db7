"""The types of R4 elements, as far as resolving a path needs them.

The table is distilled from the StructureDefinitions: type or backbone path -> child name -> text such as
"HumanName*" (repeats), "?Quantity|string" (choice) or "code@<system>" (a code whose required binding names one code
system). It is only read where a path is resolved at run time (a clinic's own search parameters).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

TABLES = Path(__file__).parent / "tables"
ELEMENT_TYPES = "elementtypes.json"


@dataclass(frozen=True, slots=True)
class Child:
    """One element. `types`: type codes, or the element's own path for a backbone element. `system`: of its codes."""

    types: tuple[str, ...]
    choice: bool = False
    many: bool = False
    system: str | None = None

    @classmethod
    def from_text(cls, text: str) -> Child:
        """The reading of one cell of the table."""
        text, _, system = text.partition("@")
        many = text.endswith("*")
        choice = text.startswith("?")
        return cls(tuple(text.strip("?*").split("|")), choice, many, system or None)

    def to_text(self) -> str:
        """The cell of the table."""
        text = ("?" if self.choice else "") + "|".join(self.types) + ("*" if self.many else "")
        return f"{text}@{self.system}" if self.system else text


class ElementTypes:
    """Children of types and backbone elements: `children("Patient")`, `children("Patient.contact")`."""

    def __init__(self, table: Mapping[str, Mapping[str, str]]) -> None:
        self._table = table

    @classmethod
    def load(cls) -> ElementTypes:
        """The table of R4."""
        return cls(orjson.loads((TABLES / ELEMENT_TYPES).read_bytes()))

    def __contains__(self, type: object) -> bool:
        return type in self._table

    def child(self, type: str, name: str) -> Child | None:
        """The element `name` of `type`, None when there is no such element."""
        text = self._table.get(type, {}).get(name)
        return None if text is None else Child.from_text(text)
