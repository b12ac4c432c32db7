"""The packages of conformance resources that an operator added: what they hold, and when that changes.

A package is one record in `packages` and a document for each of its resources in `definitions`. The record comes last,
so what a worker sees of a package is whole. Both carry the tenant key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fhirserver.r4.jsontext import dump_json, parse_json
from fhirserver.r4.packages import Package
from fhirserver.r4.profileform import distilled
from fhirserver.store.client import Document, translated
from fhirserver.store.documents import system_clock
from fhirserver.store.indexes import DEFINITIONS, PACKAGES
from fhirserver.store.lanes import Database

Json = dict[str, Any]
_BATCH = 200
_BREATH = 20


@dataclass(frozen=True, slots=True)
class PackageRecord:
    """A package that was added. `count`: of its conformance resources. `added`: microseconds since 1970 UTC."""

    name: str
    version: str
    dependencies: dict[str, str]
    count: int
    added: int

    @property
    def label(self) -> str:
        """`name#version`."""
        return f"{self.name}#{self.version}"


@dataclass(frozen=True, slots=True)
class OwnProfiles:
    """The profiles in effect besides R4's: those of packages, then those stored as resources.

    `stamp`: changes when any of them does.
    """

    resources: tuple[Json, ...]
    stamp: object


async def packages(database: Database, tenant: str) -> list[PackageRecord]:
    """The packages of a tenant by name and version."""
    with translated():
        rows = await database[PACKAGES].find({"t": tenant}).sort([("name", 1), ("version", 1)]).to_list()
    return [PackageRecord(r["name"], r["version"], r["dependencies"], r["count"], r["at"]) for r in rows]


async def add_package(database: Database, tenant: str, package: Package) -> PackageRecord:
    """Store a package; the same name and version takes the place of an earlier one."""
    label = f"{package.name}#{package.version}"
    at = system_clock()
    with translated():
        for rows in _batches(tenant, label, at, package.resources):
            await database[DEFINITIONS].insert_many(rows, ordered=False)
        record = PackageRecord(
            package.name, package.version, package.dependencies, len(package.resources), at
        )
        await database[PACKAGES].replace_one(
            {"_id": f"{tenant}/{label}"},
            {
                "t": tenant,
                "name": record.name,
                "version": record.version,
                "dependencies": record.dependencies,
                "count": record.count,
                "at": at,
            },
            upsert=True,
        )
        await database[DEFINITIONS].delete_many({"t": tenant, "p": label, "at": {"$ne": at}})
    return record


async def remove_package(database: Database, tenant: str, record: PackageRecord) -> None:
    """Take a package out of effect and delete what it brought."""
    with translated():
        await database[PACKAGES].delete_one({"_id": f"{tenant}/{record.label}"})
        await database[DEFINITIONS].delete_many({"t": tenant, "p": record.label})


async def packaged(database: Database, tenant: str, type: str) -> list[tuple[str, Json]]:
    """(package, resource) for every resource of a type in the packages in effect, in the order they were added."""
    with translated():
        records = await database[PACKAGES].find({"t": tenant}).sort("at", 1).to_list()
        order = {f"{r['name']}#{r['version']}": (number, r["at"]) for number, r in enumerate(records)}
        rows = (
            await database[DEFINITIONS]
            .find({"t": tenant, "type": type}, {"p": 1, "at": 1, "body": 1})
            .to_list()
        )
    current = [row for row in rows if row["p"] in order and row["at"] == order[row["p"]][1]]
    current.sort(key=lambda row: order[row["p"]][0])
    return [(row["p"], resource) for row, resource in await _parsed(current, "body")]


async def profiles_stamp(database: Database, tenant: str) -> object:
    """What changes when a package is added or removed, or a StructureDefinition resource is written."""
    with translated():
        rows = await database[PACKAGES].find({"t": tenant}, {"at": 1}).sort("_id", 1).to_list()
        stored = database["StructureDefinition"]
        latest = await stored.find({"t": tenant}, {"ts": 1}).sort("ts", -1).limit(1).to_list()
        count = await stored.count_documents({"t": tenant})
    return (tuple((row["_id"], row["at"]) for row in rows), latest[0]["ts"] if latest else 0, count)


async def own_profiles(database: Database, tenant: str) -> OwnProfiles:
    """The profiles in effect besides R4's own. A retired one is not among them."""
    stamp = await profiles_stamp(database, tenant)
    found = [resource for _, resource in await packaged(database, tenant, "StructureDefinition")]
    with translated():
        rows = await database["StructureDefinition"].find({"t": tenant}, {"raw": 1}).sort("_id", 1).to_list()
    for _, resource in await _parsed([row for row in rows if row.get("raw") is not None], "raw"):
        if resource.get("derivation") == "constraint" and resource.get("status") != "retired":
            found.append({"resourceType": "StructureDefinition"} | distilled(resource))
    return OwnProfiles(tuple(found), stamp)


async def _parsed(rows: Sequence[Document], name: str) -> list[tuple[Document, Json]]:
    """The rows with the resource in their field `name`; lets requests breathe in between."""
    found = []
    for number, row in enumerate(rows):
        if number % _BREATH == _BREATH - 1:
            await asyncio.sleep(0)
        found.append((row, parse_json(row[name])))
    return found


def _batches(tenant: str, label: str, at: int, resources: Sequence[Json]) -> Iterator[list[Json]]:
    for start in range(0, len(resources), _BATCH):
        yield [
            {
                "t": tenant,
                "p": label,
                "at": at,
                "type": resource["resourceType"],
                "url": resource.get("url", ""),
                "body": dump_json(resource),
            }
            for resource in resources[start : start + _BATCH]
        ]
