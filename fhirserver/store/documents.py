"""The stored form of a version: what is stamped, what is kept beside the JSON, and how it is read back.

A read returns `raw` as it is: nothing here is parsed again. Collections are named after the resource type;
superseded versions live in HISTORY. Source of the stamps: hl7.org/fhir/R4/resource.html#Meta.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol

import bson
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument

from fhirserver.context import JsonObject, Trace, Version
from fhirserver.outcome import BadRequest, Internal
from fhirserver.r4.jsontext import dump_json
from fhirserver.store.client import LARGEST_DOCUMENT, Document, too_large

HISTORY = "history"
MILLISECOND = 1000  # in microseconds, the unit of all times here
PATIENTS = "~Patient"  # the search field with the patients in whose compartment a resource is
SEARCH_FIELDS = ("ix", "x", "cx", "geo")  # only current versions carry them
VERSION_FIELDS = {"v": 1, "ts": 1, "raw": 1, "m": 1, "pa": 1, "again": 1}
WITHOUT_SEARCH = dict.fromkeys(SEARCH_FIELDS, 0)

_ROOM = 16 * 2**10  # what the history form and later stamps may add to a document
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}", re.ASCII)
_TYPE = re.compile(r"[A-Z][A-Za-z]{0,63}", re.ASCII)

Clock = Callable[[], int]


class Indexed(Protocol):
    """What a search sees of a resource."""

    @property
    def ix(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def x(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def cx(self) -> Any: ...  # noqa: D102
    @property
    def geo(self) -> Mapping[str, Any] | None: ...  # noqa: D102


class Indexer(Protocol):
    """Makes the search fields of a resource at write time."""

    def index(self, type: str, resource: JsonObject) -> Indexed:
        """The search fields of `resource`."""
        ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """A version ready to be stored: the answer to its writer and the encoded document."""

    version: Version
    key: str
    document: RawBSONDocument


def system_clock() -> int:
    """Now, in microseconds since 1970 UTC, whole milliseconds."""
    return time.time_ns() // 1_000_000 * MILLISECOND


def instant(ts: int) -> str:
    """`ts` as a FHIR instant with milliseconds: '2026-03-01T12:00:00.123Z'."""
    seconds, rest = divmod(ts, 1_000_000)
    return f"{_second(seconds)}.{rest // MILLISECOND:03d}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def is_id(id: str) -> bool:
    """True for a logical id that R4 allows."""
    return _ID.fullmatch(id) is not None


def is_type(type: str) -> bool:
    """True for a name that can be a resource type, and so a collection of resources."""
    return _TYPE.fullmatch(type) is not None


def check_id(id: str) -> None:
    """Raises BadRequest for an id that R4 does not allow."""
    if not is_id(id):
        raise BadRequest("An id has 1 to 64 characters out of A-Z a-z 0-9 - and '.'.", code="id-malformed")


def key_of(tenant: str, type: str, id: str) -> str:
    """The `_id` of the current version."""
    return f"{tenant}/{type}/{id}"


def stamp(resource: JsonObject, id: str, vid: int, ts: int) -> JsonObject:
    """A copy of `resource` that starts with resourceType, id and meta, stamped."""
    given = resource.get("meta") or {}
    meta = {name: given[name] for name in ("id", "extension") if name in given}
    meta |= {"versionId": str(vid), "lastUpdated": instant(ts)}
    meta |= {name: value for name, value in given.items() if name not in meta}
    stamped = {"resourceType": resource.get("resourceType"), "id": id, "meta": meta}
    return stamped | {name: value for name, value in resource.items() if name not in stamped}


def prepare(
    tenant: str, type: str, id: str, resource: JsonObject | None, *, before: Document | None, now: int,
    method: str, indexer: Indexer, trace: Trace | None = None,
) -> Prepared:  # fmt: skip
    """The version that follows `before`: the stored document, None for the first.

    `resource` is None for a deletion. The version's time is `now`, or a millisecond after `before` where the
    clock has not moved on. `trace`: kept in the document (`au`) with the ids of the AuditEvents that the write
    owes, one for each patient of the version and of the one before. Raises TooLarge.
    """
    vid = before["v"] + 1 if before else 1
    ts = max(now, before["ts"] + MILLISECOND) if before else now
    key = key_of(tenant, type, id)
    document: Document = {"_id": key, "t": tenant, "v": vid, "ts": ts, "m": method}
    raw = None
    former: list[str] = before.get("pa", []) if before else []
    document["pa"] = patients = former
    if resource is None:
        document["del"] = True
    else:
        stamped = stamp(resource, id, vid, ts)
        raw = dump_json(stamped)
        if len(raw) > LARGEST_DOCUMENT - _ROOM:
            raise too_large(len(raw))
        document["raw"] = raw
        if before is not None and "raw" not in before:
            document["again"] = True  # created anew after a deletion
        indexed = indexer.index(type, stamped)
        document["ix"] = indexed.ix
        document["pa"] = patients = [key.rpartition("/")[2] for key in indexed.ix.get(PATIENTS, ())]
        if indexed.x:
            document["x"] = indexed.x
        if indexed.cx:
            document["cx"] = indexed.cx
        if indexed.geo:
            document["geo"] = indexed.geo
    created = before is None or "raw" not in before
    events: tuple[tuple[str, str | None], ...] = ()
    if trace is not None:
        concerned = tuple(dict.fromkeys((*patients, *former))) or (None,)
        events = tuple((trace.new_id(), patient) for patient in concerned)
        document["au"] = {**trace.record, "e": [list(event) for event in events]}
    version = Version(
        type, id, vid, ts, raw, method, created=created and raw is not None, patients=tuple(patients),
        events=events,
    )  # fmt: skip
    return Prepared(version, key, encode(document))


def encode(document: Document) -> RawBSONDocument:
    """`document` as BSON, so that what cannot be stored fails here and not in a batch of others."""
    try:
        data = bson.encode(document)
    except (BSONError, OverflowError, UnicodeError) as error:
        raise Internal("The resource's search index cannot be stored.", code="index-encoding") from error
    if len(data) > LARGEST_DOCUMENT - _ROOM:
        raise too_large(len(data))
    return RawBSONDocument(data)


def superseded(document: Document, type: str) -> Document:
    """The history form of a current `document`: all of it but the search fields."""
    kept = {name: value for name, value in document.items() if name not in SEARCH_FIELDS}
    kept["_id"] = f"{document['_id']}/{document['v']}"
    return kept | {"k": document["_id"], "type": type}


def version_of(document: Mapping[str, Any], type: str, id: str) -> Version:
    """The version that a stored document (current or superseded) holds."""
    vid, raw = document["v"], document.get("raw")
    created = raw is not None and (vid == 1 or "again" in document)
    patients = tuple(document["pa"]) if "pa" in document else None
    return Version(type, id, vid, document["ts"], raw, document.get("m", "PUT"), created, patients)
