"""The terminology that clients stored and operators imported, for terminology.Terminology.

Stored resources are asked for by url at each question, so that every worker sees the newest; parsed ones are kept
by version. A snapshot of the small ones serves the questions that cannot wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fhirserver.r4.jsontext import parse_json
from fhirserver.store.client import Document, translated
from fhirserver.store.documents import key_of
from fhirserver.store.indexes import SYSTEMS
from fhirserver.store.lanes import Database
from fhirserver.store.terminology_concepts import ImportedSystem
from fhirserver.terminology.canonical import EMPTY, IMPORTED, STORED, Candidate
from fhirserver.terminology.conceptmaps import ConceptMap, parse_concept_map
from fhirserver.terminology.concepts import Json, SystemInfo
from fhirserver.terminology.service import Stored
from fhirserver.terminology.shipped import Shipped
from fhirserver.terminology.systems import MemorySystem, System
from fhirserver.terminology.valuesets import ValueSet, parse_value_set

SMALL = 128 * 2**10
"""Largest resource (bytes of JSON) of the snapshot."""
BUDGET = 4 * 2**20
"""Most bytes of JSON in the snapshot."""

_KEPT = 32 * 2**20  # bytes of JSON behind the parsed resources that are kept
_MOST_MAPS = 1000
_SKEW = 60_000_000  # microseconds by which the clocks of two workers may differ
_LIVE = {"del": {"$exists": False}}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Parsed:
    """A stored resource at one version. `size`: bytes of its JSON."""

    vid: int
    size: int
    candidate: Candidate[Any]
    url: str


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What a collection looked like: how many documents, and which were written after `horizon`."""

    count: int
    horizon: int
    recent: frozenset[tuple[str, int]]


class MongoTerminology:
    """The Source over one database and tenant. `shipped`: what need not be in the snapshot again."""

    def __init__(self, database: Database, tenant: str, shipped: Shipped, max_ms: int) -> None:
        self._database = database
        self._tenant = tenant
        self._shipped = shipped
        self._max_ms = max_ms
        self._parsed: dict[str, _Parsed] = {}

    async def code_systems(self, url: str) -> Sequence[Candidate[System]]:
        """The code systems with that url, stored and imported."""
        stored: list[Candidate[System]] = list(await self._stored("CodeSystem", {"ix.url": url}))
        with translated():
            rows = await self._database[SYSTEMS].find(self._live_sets() | {"url": url}).to_list()
        imported = [ImportedSystem(self._database, row["set"], info_of(row), self._max_ms) for row in rows]
        return [*stored, *(_imported(system) for system in imported)]

    async def value_sets(self, url: str) -> Sequence[Candidate[ValueSet]]:
        """The value sets with that url."""
        return await self._stored("ValueSet", {"ix.url": url})

    async def value_set_at(self, id: str) -> ValueSet | None:
        """The stored value set with that logical id."""
        found = await self._stored("ValueSet", {"_id": key_of(self._tenant, "ValueSet", id)})
        return found[0].build() if found else None

    async def concept_maps(self, url: str | None = None) -> Sequence[Candidate[ConceptMap]]:
        """The concept maps with that url, or all (at most 1,000)."""
        return await self._stored("ConceptMap", {} if url is None else {"ix.url": url})

    async def systems(self) -> Sequence[SystemInfo]:
        """All code systems; of the stored ones what the search index knows."""
        asked = {"t": self._tenant, **_LIVE}
        with translated():
            rows = await self._database[SYSTEMS].find(self._live_sets()).to_list()
            stored = await self._database["CodeSystem"].find(asked, _HEAD, max_time_ms=self._max_ms).to_list()
        return [*(info_of(row) for row in rows), *(_head(row["ix"]) for row in stored if "ix" in row)]

    async def snapshot(self, stamp: object) -> Stored | None:
        """The small resources that are there now; None where nothing changed since `stamp`."""
        with translated():
            rows = (
                await self._database[SYSTEMS]
                .find(self._live_sets(), {"url": 1, "set": 1, "value_set": 1})
                .to_list()
            )
        sets = frozenset(row["set"] for row in rows)
        old: tuple[Any, ...] = stamp if isinstance(stamp, tuple) else (None, None, None)
        if sets == old[0] and not [
            type for type, each in zip(_KINDS, old[1:], strict=True) if await self._changed(type, each)
        ]:
            return None
        stamps = [
            await self._stamp(type) for type in _KINDS
        ]  # before the content: a change in between shows again
        left_out: set[str] = set()
        found = [await self._small(type, left_out) for type in _KINDS]
        imported = {row["url"]: row.get("value_set") for row in rows}
        return Stored((sets, *stamps), found[0], found[1], imported, frozenset(left_out))

    def _live_sets(self) -> Document:
        return {"t": self._tenant, "set": {"$exists": True}}

    async def _stamp(self, type: str) -> _Stamp:
        with translated():
            collection = self._database[type]
            newest = await collection.find({}, {"ts": 1}, sort=[("ts", -1)], limit=1).to_list()
            horizon = newest[0]["ts"] - _SKEW if newest else 0
            return _Stamp(
                await collection.estimated_document_count(), horizon, await self._recent(type, horizon)
            )

    async def _recent(self, type: str, horizon: int) -> frozenset[tuple[str, int]]:
        rows = await self._database[type].find({"ts": {"$gt": horizon}}, {"ts": 1}).to_list()
        return frozenset((row["_id"], row["ts"]) for row in rows)

    async def _changed(self, type: str, stamp: _Stamp) -> bool:
        with translated():
            if await self._database[type].estimated_document_count() != stamp.count:
                return True
            return await self._recent(type, stamp.horizon) != stamp.recent

    async def _small(self, type: str, left_out: set[str]) -> Mapping[str, Sequence[Candidate[Any]]]:
        """The resources of a type that fit, smallest first, by url; urls of the others go to `left_out`."""
        stages: list[Document] = [
            {"$match": {"t": self._tenant, **_LIVE}},
            {"$project": {"url": "$ix.url", "version": "$ix.version", "size": {"$binarySize": "$raw"}}},
            {"$sort": {"size": 1, "_id": 1}},
        ]
        with translated():
            rows = await (await self._database[type].aggregate(stages)).to_list()
        chosen, total = [], 0
        for row in rows:
            url, version = _first(row.get("url")), _first(row.get("version"))
            if url is None or self._ships(type, url, version):
                continue
            total += row["size"]
            if row["size"] > SMALL or total > BUDGET:
                left_out.add(url)
            else:
                chosen.append(row["_id"])
        found: dict[str, list[Candidate[Any]]] = {}
        for parsed in await self._load(type, {"_id": {"$in": chosen}}):
            found.setdefault(parsed.url, []).append(parsed.candidate)
        return found

    def _ships(self, type: str, url: str, version: str | None) -> bool:
        known = self._shipped.code_systems(url) if type == "CodeSystem" else self._shipped.value_sets(url)
        return any(each.version == version for each in known)

    async def _stored(self, type: str, filter: Document) -> list[Candidate[Any]]:
        return [parsed.candidate for parsed in await self._load(type, filter)]

    async def _load(self, type: str, filter: Document) -> list[_Parsed]:
        """The stored resources that match, those that are known at their version from memory."""
        collection = self._database[type]
        asked = {"t": self._tenant, **_LIVE, **filter}
        with translated():
            rows = await collection.find(
                asked, {"v": 1}, limit=_MOST_MAPS, max_time_ms=self._max_ms
            ).to_list()
            fresh = [r["_id"] for r in rows if (p := self._parsed.get(r["_id"])) is None or p.vid != r["v"]]
            loaded = await collection.find({"_id": {"$in": fresh}, **_LIVE}, {"v": 1, "raw": 1}).to_list()
        here = {row["_id"]: _parse(type, row) for row in loaded}
        for key, parsed in here.items():
            self._keep(key, parsed)
        known = [here.get(row["_id"]) or self._parsed.get(row["_id"]) for row in rows]
        return [each for each in known if each is not None]

    def _keep(self, key: str, parsed: _Parsed) -> None:
        self._parsed.pop(key, None)
        if parsed.size <= _KEPT // 4:
            self._parsed[key] = parsed
        total = sum(each.size for each in self._parsed.values())
        while total > _KEPT:
            oldest = next(iter(self._parsed))
            total -= self._parsed.pop(oldest).size


_KINDS = ("CodeSystem", "ValueSet")
_HEAD = {"ix.url": 1, "ix.version": 1, "ix.content-mode": 1}


def _first(value: Any) -> str | None:
    return value[0] if isinstance(value, list) and value else None


def _head(ix: Mapping[str, Any]) -> SystemInfo:
    content = _first(ix.get("content-mode")) or "complete"
    return SystemInfo(
        _first(ix.get("url")) or "", _first(ix.get("version")), content=content, origin="stored"
    )


def _imported(system: ImportedSystem) -> Candidate[System]:
    info = system.info
    return Candidate(info.version, "active", info.date, IMPORTED, lambda: system)


def _parse(type: str, row: Document) -> _Parsed:
    resource: Json = parse_json(row["raw"])
    id = row["_id"].rpartition("/")[2]
    filled = type != "CodeSystem" or resource.get("content") not in ("not-present", "supplement")
    build = _once(lambda: _build(type, resource, id))
    candidate: Candidate[Any] = Candidate(
        resource.get("version"),
        str(resource.get("status", "")),
        str(resource.get("date", "")),
        STORED if filled else EMPTY,
        build,
    )
    return _Parsed(row["v"], len(row["raw"]), candidate, str(resource.get("url", "")))


def _build(type: str, resource: Json, id: str) -> Any:
    match type:
        case "CodeSystem":
            return MemorySystem(resource, "stored", id)
        case "ValueSet":
            return parse_value_set(resource, id)
    return parse_concept_map(resource, id)


def _once(build: Callable[[], T]) -> Callable[[], T]:
    """`build`, which is called at most once."""
    made: list[T] = []

    def call() -> T:
        if not made:
            made.append(build())
        return made[0]

    return call


def info_of(row: Mapping[str, Any]) -> SystemInfo:
    """What is known of an imported system."""
    return SystemInfo(
        row["url"],
        row["version"],
        row["name"],
        row.get("title"),
        "active",
        "complete",
        True,
        row["hierarchical"],
        row["count"],
        row.get("language"),
        frozenset(row["properties"]),
        row.get("value_set"),
        "imported",
        row["at"],
    )
