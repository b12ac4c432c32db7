"""The code systems, value sets and concept maps of packages, beside what another Source of terminology knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from fhirserver.store.lanes import Database
from fhirserver.store.packages import packaged, packages
from fhirserver.store.terminology import MongoTerminology
from fhirserver.terminology.canonical import EMPTY, STORED, Candidate
from fhirserver.terminology.conceptmaps import ConceptMap, parse_concept_map
from fhirserver.terminology.concepts import SystemInfo
from fhirserver.terminology.service import Stored
from fhirserver.terminology.systems import MemorySystem, System
from fhirserver.terminology.valuesets import ValueSet, parse_value_set

Json = dict[str, Any]
Found = Mapping[str, list[Candidate[Any]]]
_BUILD: Mapping[str, Callable[[Json], Any]] = {
    "CodeSystem": lambda resource: MemorySystem(resource, "package"),
    "ValueSet": parse_value_set,
    "ConceptMap": parse_concept_map,
}


class WithPackages:
    """A Source: what `source` knows, and the terminology of the packages in effect, read when they change."""

    def __init__(self, source: MongoTerminology, database: Database, tenant: str) -> None:
        self._source = source
        self._database = database
        self._tenant = tenant
        self._stored = Stored()
        self._stamp: object = None
        self._here: Mapping[str, Found] = {key: {} for key in _BUILD}

    async def code_systems(self, url: str) -> Sequence[Candidate[System]]:
        """The code systems with that url."""
        await self._look()
        return [*await self._source.code_systems(url), *self._here["CodeSystem"].get(url, ())]

    async def value_sets(self, url: str) -> Sequence[Candidate[ValueSet]]:
        """The value sets with that url."""
        await self._look()
        return [*await self._source.value_sets(url), *self._here["ValueSet"].get(url, ())]

    async def value_set_at(self, id: str) -> ValueSet | None:
        """The stored value set with that logical id; those of packages have none."""
        return await self._source.value_set_at(id)

    async def concept_maps(self, url: str | None = None) -> Sequence[Candidate[ConceptMap]]:
        """The concept maps with that url, or all."""
        await self._look()
        here = self._here["ConceptMap"]
        own = here.get(url, []) if url is not None else [each for found in here.values() for each in found]
        return [*await self._source.concept_maps(url), *own]

    async def systems(self) -> Sequence[SystemInfo]:
        """All code systems."""
        await self._look()
        own = [each.build().info for found in self._here["CodeSystem"].values() for each in found]
        return [*await self._source.systems(), *own]

    async def snapshot(self, stamp: object) -> Stored | None:
        """What is there now; None where nothing changed since `stamp`."""
        await self._look()
        inner = await self._source.snapshot(self._stored.stamp)
        if inner is None and stamp == (self._stored.stamp, self._stamp):
            return None
        self._stored = now = inner or self._stored
        return Stored(
            (now.stamp, self._stamp),
            _joined(now.code_systems, self._here["CodeSystem"]),
            _joined(now.value_sets, self._here["ValueSet"]),
            now.imported,
            now.left_out,
        )

    async def _look(self) -> None:
        """Read the terminology of the packages again where they changed."""
        stamp = tuple((record.label, record.added) for record in await packages(self._database, self._tenant))
        if stamp == self._stamp or (self._stamp is None and not stamp):
            return
        here = {}
        for type in _BUILD:
            found: dict[str, list[Candidate[Any]]] = {}
            for _, resource in await packaged(self._database, self._tenant, type):
                found.setdefault(resource["url"], []).append(_candidate(type, resource))
            here[type] = found
        self._here, self._stamp = here, stamp


def _candidate(type: str, resource: Json) -> Candidate[Any]:
    empty = type == "CodeSystem" and resource.get("content") in ("not-present", "supplement")
    return Candidate(
        resource.get("version"),
        str(resource.get("status", "")),
        str(resource.get("date", "")),
        EMPTY if empty else STORED,
        cache(lambda: _BUILD[type](resource)),
    )


def _joined(
    stored: Mapping[str, Sequence[Candidate[Any]]], here: Found
) -> dict[str, Sequence[Candidate[Any]]]:
    return {url: [*stored.get(url, ()), *here.get(url, ())] for url in stored.keys() | here.keys()}
