"""The collections of the audit ledger: events (read here, written by the recorder), checkpoints, tiles, writers.

All are only ever inserted into. What is sealed is never written to again: where an event stands in the tree follows from
the `runs` of the checkpoints. Two unique keys hold the ledger together: (w, s) of an event, `prev` of a checkpoint.

A checkpoint: {_id: size, prev: size before, runs: [{w, s0, n, i0}], note}. A run: `n` events of writer `w` from
sequence `s0` stand at leaves i0, i0 + 1 ... A tile: {_id: "level/n", data: 256 hashes, root: of these}.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from fhirserver.store.client import Document, translated
from fhirserver.store.lanes import Database
from fhirserver.store.ledger_events import EVENT_FIELDS, SHAPE_FIELDS, SHAPES, recorded, with_shapes
from fhirserver.store.ledger_events import Recorded as Recorded

Collection = AsyncCollection[Document]

EVENTS = "audit_events"
CHECKPOINTS = "audit_checkpoints"
TILES = "audit_tiles"
WRITERS = "audit_writers"
VERIFICATIONS = "audit_verifications"

RUN_MOST = 5000  # events in one run
TILE = 256  # hashes in one tile
_CLAUSES = 500
_BATCH = 500  # documents: decoding more at once would hold up the requests beside
_PLACE = [("w", ASCENDING), ("s", ASCENDING)]


@dataclass(frozen=True, slots=True)
class Run:
    """`n` events of writer `w` from sequence `s0`, at leaves `i0` and on."""

    w: bytes
    s0: int
    n: int
    i0: int


@dataclass(frozen=True, slots=True)
class Seal:
    """A checkpoint as stored. `note`: the signed text (audit/notes.py)."""

    size: int
    prev: int
    runs: tuple[Run, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Tile:
    """256 hashes of one level. `root`: the hash of the complete subtree over them."""

    data: bytes
    root: bytes

    def hashes(self) -> list[bytes]:
        """The hashes, in order."""
        return [self.data[at : at + 32] for at in range(0, len(self.data), 32)]


class Ledger:
    """The ledger in one database."""

    def __init__(self, database: Database) -> None:
        self._events = database[EVENTS]
        self._checkpoints = database[CHECKPOINTS]
        self._tiles = database[TILES]
        self._writers = database[WRITERS]
        self._verifications = database[VERIFICATIONS]

    async def prepare(self) -> None:
        """Make the unique indexes where they are missing. Raises Unavailable."""
        await _index(self._events, _PLACE, unique=True)
        await _index(self._checkpoints, [("prev", ASCENDING)], unique=True)
        await _index(self._checkpoints, [("runs.w", ASCENDING), ("_id", DESCENDING)])
        await _index(self._checkpoints, [("runs.w", ASCENDING), ("runs.s0", ASCENDING)])

    # --- writers

    async def register(self, w: bytes, at: int) -> None:
        """Make a writer known before its first event. `at`: microseconds. Raises Conflict where it is known."""
        with translated():
            await self._writers.insert_one({"_id": w, "at": at})

    async def writers(self) -> list[bytes]:
        """All writers, in byte order."""
        with translated():
            rows = await self._writers.find({}, {"_id": 1}).to_list()
        return sorted(row["_id"] for row in rows if isinstance(row["_id"], bytes))

    async def refuse_writer(self, w: bytes, s: int, reason: str, at: int) -> None:
        """Record that the run of `w` from `s` on cannot be sealed, so that its process begins a new writer."""
        with translated():
            try:
                await self._writers.insert_one(
                    {"_id": f"refused/{w.hex()}", "s": s, "reason": reason, "at": at}
                )
            except DuplicateKeyError:
                return

    async def is_refused(self, w: bytes) -> bool:
        """True where the sealer could not seal what `w` has written."""
        with translated():
            return await self._writers.find_one({"_id": f"refused/{w.hex()}"}) is not None

    # --- events

    async def waiting(self, nexts: Mapping[bytes, int]) -> dict[bytes, int]:
        """How many events each writer has from its sequence in `nexts` on; writers without any are left out."""
        found: dict[bytes, int] = {}
        items = list(nexts.items())
        for at in range(0, len(items), _CLAUSES):
            ranges = [{"w": w, "s": {"$gte": s}} for w, s in items[at : at + _CLAUSES]]
            stages: list[dict[str, Any]] = [
                {"$match": {"$or": ranges}},
                {"$project": {"_id": 0, "w": 1, "s": 1}},  # answered by the index alone
                {"$group": {"_id": "$w", "n": {"$sum": 1}}},
            ]
            with translated():
                rows = await (await self._events.aggregate(stages)).to_list()
            found |= {row["_id"]: row["n"] for row in rows}
        return found

    async def run(self, w: bytes, s: int, limit: int = RUN_MOST, *, whole: bool = False) -> list[Recorded]:
        """At most `limit` events of `w` from sequence `s` on, in order. `whole`: with their shapes."""
        return await self._find({"w": w, "s": {"$gte": s}}, limit, whole)

    async def between(self, w: bytes, s: int, end: int, *, whole: bool = False) -> list[Recorded]:
        """The events of `w` with sequences in [s, end), in order; holes are not filled."""
        return await self._find({"w": w, "s": {"$gte": s, "$lt": end}}, 0, whole)

    async def event(self, key: str) -> Recorded | None:
        """The event with this `_id`."""
        with translated():
            row = await self._events.find_one({"_id": key}, EVENT_FIELDS)
        return recorded(row) if row else None

    async def strangers(self, writers: Sequence[bytes]) -> list[str]:
        """The `_id` of events that belong to none of `writers`, or have no proper place in a chain."""
        known = list(writers)
        bad: list[
            dict[str, Any]
        ] = [  # each by itself, so that the index of places answers it without the events
            {"w": {"$nin": known}},
            {"w": {"$in": known}, "s": {"$not": {"$gte": 0}}},
            {"w": {"$in": known}, "s": {"$type": ["double", "decimal"]}},
        ]
        keys: dict[str, None] = {}
        for filter in bad:
            with translated():
                rows = await self._events.find(filter, {"_id": 1}).to_list()
            keys.update({str(row["_id"]): None for row in rows})
        return list(keys)

    async def delete(self, w: bytes, s: int, end: int) -> int:
        """Remove the events of `w` in [s, end), in this order: for a purge only; the number removed."""
        with translated():
            done = await self._events.delete_many({"w": w, "s": {"$gte": s, "$lt": end}}, hint=_PLACE)
        return done.deleted_count

    async def _find(self, filter: dict[str, Any], limit: int, whole: bool) -> list[Recorded]:
        with translated():
            cursor = self._events.find(filter, EVENT_FIELDS).sort("s", ASCENDING)
            rows = await cursor.limit(limit).batch_size(_BATCH).to_list()
            if not whole:
                return [recorded(row) for row in rows]
            shaped = self._events.with_options(codec_options=SHAPES).find(filter, SHAPE_FIELDS)
            shapes = await shaped.sort("s", ASCENDING).limit(limit).batch_size(_BATCH).to_list()
        return with_shapes(rows, shapes)

    # --- checkpoints

    async def newest(self) -> Seal | None:
        """The checkpoint of the largest size."""
        with translated():
            row = await self._checkpoints.find_one({}, sort=[("_id", DESCENDING)])
        return seal_of(row) if row else None

    async def seal_at(self, size: int) -> Seal | None:
        """The checkpoint of exactly this size."""
        with translated():
            row = await self._checkpoints.find_one({"_id": size})
        return seal_of(row) if row else None

    async def seals(self, start: int = 0, end: int | None = None) -> AsyncIterator[Seal]:
        """The checkpoints that cover leaves of [start, end), in order; `end` None: to the newest."""
        filter: dict[str, Any] = {"_id": {"$gt": start}}
        if end is not None:
            filter["prev"] = {"$lt": end}
        with translated():
            async for row in self._checkpoints.find(filter).sort("_id", ASCENDING):
                yield seal_of(row)

    async def publish(self, seal: Seal) -> bool:
        """Insert a checkpoint; False where another one follows its predecessor already."""
        runs = [{"w": run.w, "s0": run.s0, "n": run.n, "i0": run.i0} for run in seal.runs]
        row = {"_id": seal.size, "prev": seal.prev, "runs": runs, "note": seal.note}
        with translated():
            try:
                await self._checkpoints.insert_one(row)
            except DuplicateKeyError:
                stored = await self.seal_at(seal.size)
                return stored == seal  # true after an insert whose answer was lost
        return True

    async def next_of(self, w: bytes) -> int:
        """The sequence of the first event of `w` that is not sealed."""
        with translated():
            row = await self._checkpoints.find_one({"runs.w": w}, sort=[("_id", DESCENDING)])
        if row is None:
            return 0
        return max(run.s0 + run.n for run in seal_of(row).runs if run.w == w)

    async def place(self, w: bytes, s: int) -> int | None:
        """The leaf of the event (w, s), None while it is not sealed."""
        near = {"$elemMatch": {"w": w, "s0": {"$lte": s, "$gt": s - RUN_MOST}}}
        with translated():
            rows = await self._checkpoints.find({"runs": near}).to_list()
        for row in rows:
            for run in seal_of(row).runs:
                if run.w == w and run.s0 <= s < run.s0 + run.n:
                    return run.i0 + s - run.s0
        return None

    async def leaves(self, start: int, end: int) -> list[bytes]:
        """The leaf hashes at [start, end), from the events. Raises KeyError where one is missing."""
        if start >= end:
            return []
        return [event.h for event in await self.at(start, end)]

    async def at(self, start: int, end: int) -> list[Recorded]:
        """The events at leaves [start, end). Raises KeyError where one is missing."""
        wanted: list[tuple[bytes, int]] = []
        pieces: list[Document] = []
        async for seal in self.seals(start, end):
            for run in seal.runs:
                first, last = max(start, run.i0), min(end, run.i0 + run.n)
                if first < last:
                    low, high = run.s0 + first - run.i0, run.s0 + last - run.i0
                    pieces.append({"w": run.w, "s": {"$gte": low, "$lt": high}})
                    wanted += [(run.w, s) for s in range(low, high)]
        found: dict[tuple[bytes, int], Recorded] = {}
        for first in range(0, len(pieces), _CLAUSES):
            with translated():
                rows = await self._events.find(
                    {"$or": pieces[first : first + _CLAUSES]}, EVENT_FIELDS
                ).to_list()
            found |= {(row["w"], row["s"]): recorded(row) for row in rows}
        if len(wanted) != end - start:
            raise KeyError((start, end))
        return [found[place] for place in wanted]

    # --- verifications

    async def keep_verification(self, result: Mapping[str, Any]) -> None:
        """Remember what a verification came to."""
        with translated():
            await self._verifications.insert_one(dict(result))

    async def last_verification(self) -> dict[str, Any] | None:
        """What the last verification came to, None before the first."""
        with translated():
            return await self._verifications.find_one({}, {"_id": 0}, sort=[("_id", DESCENDING)])

    # --- tiles

    async def tiles(self, level: int, numbers: Iterable[int]) -> dict[int, Tile]:
        """Those tiles of `level` that are stored, by number."""
        names = [f"{level}/{n}" for n in numbers]
        with translated():
            rows = await self._tiles.find({"_id": {"$in": names}}).to_list()
        return {int(row["_id"].partition("/")[2]): Tile(row["data"], row["root"]) for row in rows}

    async def put_tile(self, level: int, n: int, tile: Tile) -> bool:
        """Insert a full tile; False where another one has its place."""
        row = {"_id": f"{level}/{n}", "data": tile.data, "root": tile.root}
        with translated():
            try:
                await self._tiles.insert_one(row)
            except DuplicateKeyError:
                return (await self.tiles(level, [n])).get(n) == tile
        return True


async def _index(collection: Collection, keys: list[tuple[str, int]], *, unique: bool = False) -> None:
    """Make an index where there is none on these keys: a user that may only insert finds them made."""
    with translated():
        have = await collection.index_information()
        if not any(list(index["key"]) == keys for index in have.values()):
            await collection.create_index(keys, unique=unique)


def seal_of(row: Mapping[str, Any]) -> Seal:
    """The checkpoint in a stored document."""
    runs = tuple(Run(run["w"], run["s0"], run["n"], run["i0"]) for run in row["runs"])
    return Seal(row["_id"], row["prev"], runs, row["note"])
