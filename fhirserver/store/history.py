"""History of an instance, a type, the system: newest first, page by page.

A version is current or superseded, for a moment both; what is current is looked at first, so that none slips
through between. A page goes on where the last one ended, by (time, key, version): constant cost, and stable
while others write. What an agent may not see, or `_at` excludes, is passed over; a page that had to pass over
too much comes back short, with a next cursor. Source: hl7.org/fhir/R4/http.html#history
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhirserver.context import Permission, Version
from fhirserver.outcome import BadRequest
from fhirserver.store import lanes
from fhirserver.store.client import Document, translated
from fhirserver.store.documents import HISTORY, VERSION_FIELDS, is_id, is_type, key_of, version_of
from fhirserver.store.parts import Parts
from fhirserver.store.restrict import NOTHING, not_found
from fhirserver.store.visible import are_reachable, are_visible

Place = tuple[int, str, int]  # time, key, version

_FILTERED_BATCH = 100  # versions looked at together where some may have to be passed over
_ROUNDS = 10  # how often one page looks further when it had to pass versions over
_PARALLEL = 8  # type collections asked at once for the system's history


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Versions, newest first. `next`: cursor of the following page, if any. `total`: None if not known."""

    versions: tuple[Version, ...]
    next: str | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: an instance, a type, or the system (both None), and when. Times in microseconds.

    `since`: versions made at or after it. `at`: [lo, hi): versions that were current at some time within.
    """

    type: str | None = None
    id: str | None = None
    since: int | None = None
    at: tuple[int, int] | None = None


async def history(
    parts: Parts, question: Question, *, count: int, cursor: str | None, permission: Permission
) -> HistoryPage:
    """One page of at most `count` versions. Raises NotFound for an instance that never was, BadRequest."""
    place = read_cursor(cursor) if cursor is not None else None
    total = await _total(parts, question, permission) if question.id is not None else None
    if count == 0:
        return HistoryPage((), None, total)
    filtered = question.at is not None or bool(permission.restrictions)
    batch = max(count + 1, _FILTERED_BATCH if filtered else 0)
    found: list[Version] = []
    for _ in range(_ROUNDS):
        versions, more = await _fetch(parts, question, place, batch, permission)
        found += await _select(parts, question, versions, permission) if filtered else versions
        if len(found) > count:
            return HistoryPage(tuple(found[:count]), write_cursor(_place(parts, found[count - 1])), total)
        if not more:
            return HistoryPage(tuple(found), None, total)
        place = _place(parts, versions[-1])
    return HistoryPage(tuple(found), write_cursor(place) if place else None, total)


def write_cursor(place: Place) -> str:
    """The opaque form of the place where a page ended. It proves nothing: each page is checked anew."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def read_cursor(text: str) -> Place:
    """The place that a cursor stands for. Raises BadRequest for what is no cursor of ours."""
    try:
        ts, key, vid = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if type(ts) is int and type(key) is str and type(vid) is int and abs(ts) < 2**62 and 0 < vid < 2**31:
            key.encode()
            return ts, key, vid
    except (ValueError, TypeError, binascii.Error, RecursionError):
        pass
    raise BadRequest("The paging link is damaged; start again from the first page.", code="cursor-invalid")


def _place(parts: Parts, version: Version) -> Place:
    return version.ts, key_of(parts.tenant, version.type, version.id), version.vid


async def _total(parts: Parts, question: Question, permission: Permission) -> int | None:
    """How many versions an instance has, where that is all that was asked for."""
    type, id = question.type or "", question.id or ""
    if not (is_type(type) and is_id(id)):
        raise not_found(type, id)
    document = await lanes.read(parts.lane, type, key_of(parts.tenant, type, id))
    if document is None or not all(await are_visible(parts, [version_of(document, type, id)], permission)):
        raise not_found(type, id)
    whole = question.since is None and question.at is None and not permission.restrictions
    return int(document["v"]) if whole else None


async def _fetch(
    parts: Parts, question: Question, place: Place | None, count: int, permission: Permission
) -> tuple[list[Version], bool]:
    """The next versions before `place`, at most `count`, and whether there are more."""
    times: dict[str, int] = {}
    if question.since is not None:
        times["$gte"] = question.since
    if question.at is not None:
        times["$lt"] = question.at[1]
    types = [question.type] if question.type is not None else await parts.collections.types()
    types = [
        type for type in types if is_type(type) and parts.restrictions.filter(permission, type) is not NOTHING
    ]
    limit = count + 1
    current = await _current(parts, types, question.id, _query(parts, times, place, "_id"), limit)
    query = _query(parts, times, place, "k")
    if question.id is not None:
        query = {"$and": [{"k": key_of(parts.tenant, types[0], question.id)}, query]}
    elif question.type is not None:
        query = {"$and": [{"type": {"$in": types}}, query]}
    order = {"ts": -1, "k": -1, "v": -1}
    superseded = await _find(parts, HISTORY, query, order, limit)
    merged = {(d["ts"], d.get("k", d["_id"]), d["v"]): d for d in [*superseded, *current]}
    places = sorted(merged, reverse=True)
    if question.type is None:
        allowed = set(types)
        places = [at for at in places if at[1].split("/", 2)[1] in allowed]
    versions = [_version(at[1], merged[at]) for at in places[:count]]
    return versions, len(places) > count


async def _current(
    parts: Parts, types: Sequence[str], id: str | None, query: dict[str, Any], limit: int
) -> list[Document]:
    if id is not None:
        query = {"$and": [{"_id": key_of(parts.tenant, types[0], id)}, query]}
    order = {"ts": -1, "_id": -1}
    gate = asyncio.Semaphore(_PARALLEL)

    async def find(type: str) -> list[Document]:
        async with gate:
            return await _find(parts, type, query, order, limit)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(find(type)) for type in types]
    return [document for task in tasks for document in task.result()]


async def _find(
    parts: Parts, collection: str, query: dict[str, Any], order: Mapping[str, int], limit: int
) -> list[Document]:
    fields = {**VERSION_FIELDS, "k": 1}

    async def find() -> list[Document]:
        with translated():
            session = parts.home.session(collection, parts.lane.session)
            cursor = parts.home[collection].find(query, fields, session=session)
            return await cursor.sort(order).limit(limit).to_list()

    return await parts.alone(find)


def _query(parts: Parts, times: dict[str, int], place: Place | None, key: str) -> dict[str, Any]:
    """Rows within `times` that come after `place` in the order of pages; `key`: the field with the key."""
    terms: list[dict[str, Any]] = [{"t": parts.tenant}]
    if times:
        terms.append({"ts": times})
    if place is not None:
        ts, last, vid = place
        same = [{"ts": ts, key: {"$lt": last}}, {"ts": ts, key: last, "v": {"$lt": vid}}]
        terms += [{"ts": {"$lte": ts}}, {"$or": [{"ts": {"$lt": ts}}, *same]}]
    return {"$and": terms}


def _version(key: str, document: Document) -> Version:
    _, type, id = key.split("/", 2)
    return version_of(document, type, id)


async def _select(
    parts: Parts, question: Question, versions: list[Version], permission: Permission
) -> list[Version]:
    if question.at is not None:
        current = await _were_current(parts, versions, question.at[0])
        versions = [version for version, kept in zip(versions, current, strict=True) if kept]
    visible = await are_reachable(parts, versions, permission)
    return [version for version, seen in zip(versions, visible, strict=True) if seen]


async def _were_current(parts: Parts, versions: Sequence[Version], lo: int) -> list[bool]:
    """Whether each version (made before the period ends) was still current when it began at `lo`."""

    async def was_current(version: Version) -> bool:
        if version.ts >= lo:
            return True
        key = key_of(parts.tenant, version.type, version.id)
        following = await lanes.read(parts.lane, version.type, key)
        if following is not None and following["v"] > version.vid + 1:
            following = await lanes.read(parts.lane, HISTORY, f"{key}/{version.vid + 1}")
        return following is None or following["v"] <= version.vid or following["ts"] > lo

    return list(await asyncio.gather(*map(was_current, versions)))
