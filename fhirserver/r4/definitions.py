"""What R4 defines for search.

Resource types, search parameters, compartments; and a clinic's own search parameters.

Source: hl7.org/fhir/R4/searchparameter-registry.html, hl7.org/fhir/R4/compartmentdefinition.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import orjson

from fhirserver.r4.customparams import row_of
from fhirserver.r4.paths_resolve import Branch
from fhirserver.r4.paths_types import TABLES, ElementTypes
from fhirserver.r4.searchparams import PREFIX

MODIFIERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "string": ("missing", "exact", "contains"),
        "token": ("missing", "text", "not", "above", "below", "in", "not-in", "of-type"),
        "reference": ("missing", "identifier", "above", "below", "type"),
        "uri": ("missing", "above", "below"),
        "date": ("missing",),
        "number": ("missing",),
        "quantity": ("missing",),
        "composite": ("missing",),
        "special": (),
    }
)
COMPARATORS = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
_COMPARED = ("date", "number", "quantity")


@dataclass(frozen=True, slots=True)
class Component:
    """One component of a composite.

    The parameter (code, type, url) that gives it its meaning, and its expression.
    """

    code: str
    type: str
    url: str
    expression: str


@dataclass(frozen=True, slots=True)
class SearchParameter:
    """A search parameter as one resource type knows it.

    `base`: resource types as defined. `branches`: where its values are in a resource of this type; for a
    composite, its focus elements, and `component_branches[i][j]` leads from focus i to the values of
    component j. `repeats`: a resource can hold several values. `systems`: the code systems that required
    bindings imply when every value is a plain code (or boolean), else empty. `chain`: parameters that a
    definition allows to chain, empty for all.
    """

    code: str
    type: str
    base: tuple[str, ...]
    expression: str
    url: str
    targets: tuple[str, ...] = ()
    components: tuple[Component, ...] = ()
    repeats: bool = False
    modifiers: tuple[str, ...] = ()
    comparators: tuple[str, ...] = ()
    chain: tuple[str, ...] = ()
    branches: tuple[Branch, ...] = field(default=(), repr=False)
    component_branches: tuple[tuple[tuple[Branch, ...], ...], ...] = field(default=(), repr=False)
    systems: frozenset[str] = frozenset()
    ready: bool = True


_Row = Mapping[str, Any]
_BOOLEANS = "http://terminology.hl7.org/CodeSystem/special-values"


class Definitions:
    """The definitions that search works by.

    Immutable; `load` reads R4's tables, `with_parameters` adds a clinic's own.
    """

    def __init__(
        self,
        types: Mapping[str, str],
        rows: Iterable[_Row],
        compartments: Mapping[str, Mapping[str, tuple[str, ...]]],
    ) -> None:
        self._types = types
        self._rows = tuple(rows)
        self._compartments = compartments
        self._by_base: dict[str, list[_Row]] = {}
        for row in self._rows:
            for base in row["bases"]:
                self._by_base.setdefault(base, []).append(row)
        self._cache: dict[str, Mapping[str, SearchParameter]] = {}
        self.resource_types: tuple[str, ...] = tuple(types)

    @classmethod
    def load(cls) -> Definitions:
        """R4 as published (4.0.1)."""
        table = orjson.loads((TABLES / "searchparams.json").read_bytes())
        compartments = orjson.loads((TABLES / "compartments.json").read_bytes())
        frozen = {
            name: MappingProxyType({member: tuple(codes) for member, codes in members.items()})
            for name, members in compartments.items()
        }
        return cls(table["types"], table["parameters"], frozen)

    def search_parameters(self, type: str) -> Mapping[str, SearchParameter]:
        """Code -> parameter for a resource type, those of Resource and DomainResource included.

        Empty for no type.

        `type` "Resource" gives the parameters that every type has.
        """
        known = self._cache.get(type)
        if known is None:
            if type not in self._types and type not in ("Resource", "DomainResource"):
                return MappingProxyType({})
            known = self._cache[type] = MappingProxyType(self._parameters(type))
        return known

    def compartment(self, compartment: str) -> Mapping[str, tuple[str, ...]]:
        """Resource type -> parameter codes that put a resource into the compartment ("Patient").

        "{def}": it is its own.

        Empty for a type that is no compartment.
        """
        return self._compartments.get(compartment, MappingProxyType({}))

    @property
    def compartments(self) -> tuple[str, ...]:
        """The types that have a compartment."""
        return tuple(self._compartments)

    @cached_property
    def by_url(self) -> Mapping[str, Mapping[str, Any]]:
        """Canonical url -> table row, to find the parameters that a composite refers to."""
        return {full_url(row["url"]): row for row in self._rows}

    def with_parameters(
        self, extra: Iterable[Mapping[str, Any]], *, pending: frozenset[str] = frozenset()
    ) -> Definitions:
        """These definitions and a clinic's own SearchParameter resources (JSON objects).

        A resource with the url of an earlier own one replaces it. `pending`: urls of those that are not ready.
        Raises an OutcomeError (BadRequest, NotSupported, Conflict) for the first one that cannot be evaluated or takes the code of another
        parameter.
        """
        element_types = ElementTypes.load()
        found = self
        for resource in extra:
            row = row_of(resource, found._by_base, found.by_url, self._types, element_types)
            row = {**row, "ready": resource["url"] not in pending}
            kept = (r for r in found._rows if full_url(r["url"]) != row["url"])
            found = Definitions(self._types, (*kept, row), self._compartments)
        return found

    def _parameters(self, type: str) -> dict[str, SearchParameter]:
        bases = dict.fromkeys(("Resource", self._types.get(type, type), type))
        return {row["code"]: _parameter(row, base) for base in bases for row in self._by_base.get(base, ())}


def full_url(url: str) -> str:
    """The canonical url of a table row, where R4's own are shortened."""
    return url if ":" in url else PREFIX + url


def _parameter(row: _Row, base: str) -> SearchParameter:
    kind = row["type"]
    composite = kind == "composite"
    cells = row["bases"][base]
    branches = tuple(Branch.from_json(cell[0] if composite else cell) for cell in cells)
    return SearchParameter(
        code=row["code"],
        type=kind,
        base=tuple(row["bases"]),
        expression=row["expression"],
        url=full_url(row["url"]),
        targets=tuple(row.get("targets", ())),
        components=tuple(
            Component(code, part, full_url(url), expression)
            for code, part, url, expression in row.get("components", ())
        ),
        repeats=base in row.get("repeats", ()),
        modifiers=tuple(row.get("modifiers") or MODIFIERS[kind]),
        comparators=tuple(row.get("comparators") or (COMPARATORS if kind in _COMPARED else ())),
        chain=tuple(row.get("chain", ())),
        branches=branches,
        component_branches=tuple(
            tuple(tuple(Branch.from_json(b) for b in part) for part in cell[1]) for cell in cells
        )
        if composite
        else (),
        systems=implied_systems(branches),
        ready=row.get("ready", True),
    )


def implied_systems(branches: Iterable[Branch]) -> frozenset[str]:
    """The systems of a token parameter all of whose values are codes with a known system, or booleans.

    Else none.
    """
    systems = {b.system or (_BOOLEANS if b.type == "boolean" else None) for b in branches}
    return frozenset() if None in systems else frozenset(s for s in systems if s)
