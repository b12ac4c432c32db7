"""The elements of every R4 type: children, cardinality, types, bindings, invariants.

Reads tables/elements.json: `types` name -> [kind, base, abstract]; `primitives` name -> regular expression;
`rules` invariant key -> [path, severity, expression, human] (path "" where the key has one meaning);
`placed` path -> keys of the invariants declared there; `children` path -> rows [name, "min..max", types,
flags, binding, content reference], where a leading string stands for the rows of that path. Flags: s
summary, m modifier, a XML attribute. Source: hl7.org/fhir/R4/elementdefinition.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson

TABLE = Path(__file__).parent / "tables" / "elements.json"
VALUE_SETS = "http://hl7.org/fhir/ValueSet/"
TYPE = re.compile(r"(?P<code>\w+)(?:\((?P<targets>[^)]*)\))?(?:\[(?P<profile>[^\]]*)\])?")


@dataclass(frozen=True, slots=True)
class TypeRef:
    """A type that an element may have.

    `code`: type name. `targets`: resource types that a Reference or canonical may point to; empty means any.
    `profile`: name of the profile on the data type ("SimpleQuantity"), empty for none.
    """

    code: str
    targets: tuple[str, ...] = ()
    profile: str = ""


@dataclass(frozen=True, slots=True)
class Binding:
    """The value set of an element, by canonical. `strength`: required, extensible, preferred or example."""

    strength: str
    value_set: str


@dataclass(frozen=True, slots=True)
class Rule:
    """An invariant. `severity`: error or warning. `expression`: FHIRPath. `human`: the rule in words."""

    key: str
    severity: str
    expression: str
    human: str


@dataclass(frozen=True, slots=True)
class Element:
    """One child element of a type or backbone element.

    `id`: its path in the definitions. `name`: without [x]. `max`: None is unbounded. `json_names`: JSON
    property -> type code, one for each type of a choice. `path`: where its own children are listed:
    "Patient.contact", the resolved content reference, or the name of its data type; empty for a choice, a
    primitive, a nested resource.
    """

    id: str
    name: str
    min: int
    max: int | None
    types: tuple[TypeRef, ...]
    choice: bool
    json_names: Mapping[str, str]
    path: str
    summary: bool = False
    modifier: bool = False
    xml_attribute: bool = False
    xhtml: bool = False
    binding: Binding | None = None

    @property
    def targets(self) -> tuple[str, ...]:
        """The resource types that a Reference or canonical here may point to; empty means any."""
        return tuple(target for type_ref in self.types for target in type_ref.targets)


class Elements:
    """The distilled StructureDefinitions; rows become `Element`s when a path is first asked for."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self._types: Mapping[str, tuple[str, str, int]] = table["types"]
        self._rows: Mapping[str, list[Any]] = table["children"]
        self._rules: Mapping[str, list[tuple[str, str, str, str]]] = table["rules"]
        self._placed: Mapping[str, str] = table["placed"]
        self._children: dict[str, tuple[Element, ...]] = {}
        self.primitives: Mapping[str, str] = MappingProxyType(table["primitives"])
        self.resource_types = frozenset(self._named("resource"))
        self.data_types = frozenset(self._named("complex"))

    @classmethod
    def load(cls, table: Path = TABLE) -> Elements:
        """The elements of R4 as shipped with this package."""
        return cls(orjson.loads(table.read_bytes()))

    def children(self, path: str) -> tuple[Element, ...]:
        """The children of a type or backbone element in the order of the definition, inherited ones first.

        `path`: "Patient", "HumanName", "Patient.contact"; a content reference is followed. Raises KeyError
        for a path that has no children.
        """
        found = self._children.get(path)
        if found is None:
            if path in self._rows:
                found = tuple(self._element(parent, row) for parent, row in self._expanded(path))
            else:
                found = self.children(self.element(path).path)
            self._children[path] = found
        return found

    def element(self, path: str) -> Element:
        """The element at a path of the definitions, "Patient.contact.name"; KeyError if there is none."""
        parent, _, name = path.rpartition(".")
        if not parent:
            raise KeyError(path)
        name = name.removesuffix("[x]")
        for element in self.children(parent):
            if element.name == name:
                return element
        raise KeyError(path)

    def paths(self) -> tuple[str, ...]:
        """Every type and backbone element that has children."""
        return tuple(self._rows)

    def is_primitive(self, code: str) -> bool:
        """True for the type codes whose JSON value is no object: string, boolean, xhtml ..."""
        return code in self.primitives

    def is_resource(self, code: str) -> bool:
        """True for resource types, the abstract ones (Resource, DomainResource) included."""
        return code in self._types and self._types[code][0] == "resource"

    def base(self, type: str) -> str:
        """The type that `type` specialises ("DomainResource", "Quantity", "Element"), empty for the roots."""
        return self._types[type][1]

    def rules(self, path: str) -> tuple[Rule, ...]:
        """The invariants declared on a type or element itself, without those of its base or data type."""
        return tuple(self.rule(key, path) for key in self._placed.get(path, "").split())

    def rule(self, key: str, path: str = "") -> Rule:
        """The invariant with this key; `path` chooses where R4 uses a key twice ("inv-1")."""
        meanings = self._rules[key]
        _, severity, expression, human = next((m for m in meanings if m[0] == path), meanings[0])
        return Rule(key, severity, expression, human)

    def all_rules(self) -> dict[str, tuple[Rule, ...]]:
        """Every invariant of R4 by the path it stands at."""
        return {path: self.rules(path) for path in self._placed}

    def _named(self, kind: str) -> list[str]:
        return [
            name
            for name, (type_kind, _, abstract) in self._types.items()
            if type_kind == kind and not abstract
        ]

    def _expanded(self, path: str) -> list[tuple[str, list[str]]]:
        rows: list[tuple[str, list[str]]] = []
        for row in self._rows[path]:
            if isinstance(row, str):
                rows += self._expanded(row)
            else:
                rows.append((path, row))
        return rows

    def _element(self, parent: str, row: list[str]) -> Element:
        row = row + [""] * (6 - len(row))
        minimum, _, maximum = row[1].partition("..")
        name = row[0].removesuffix("[x]")
        choice = name != row[0]
        types = tuple(_type_ref(text) for text in row[2].split())
        names = {name: types[0].code if types else ""}
        if choice:
            names = {name + t.code[0].upper() + t.code[1:]: t.code for t in types}
        strength, _, value_set = row[4].partition(" ")
        return Element(
            id=f"{parent}.{row[0]}",
            name=name,
            min=int(minimum),
            max=None if maximum == "*" else int(maximum),
            types=types,
            choice=choice,
            json_names=MappingProxyType(names),
            path="" if choice else self._path_of_children(f"{parent}.{name}", types, row[5]),
            summary="s" in row[3],
            modifier="m" in row[3],
            xml_attribute="a" in row[3],
            xhtml=any(type_ref.code == "xhtml" for type_ref in types),
            binding=Binding(strength, _canonical(value_set)) if strength else None,
        )

    def _path_of_children(self, path: str, types: tuple[TypeRef, ...], content_reference: str) -> str:
        if content_reference:
            return content_reference
        if path in self._rows:
            return path
        code = types[0].code
        return "" if self.is_primitive(code) or self.is_resource(code) else code


def _type_ref(text: str) -> TypeRef:
    match = TYPE.fullmatch(text)
    if match is None:
        raise ValueError(f"not a type: {text}")
    targets = match["targets"]
    return TypeRef(match["code"], tuple(targets.split(",")) if targets else (), match["profile"] or "")


def _canonical(value_set: str) -> str:
    return value_set if not value_set or ":" in value_set else VALUE_SETS + value_set
