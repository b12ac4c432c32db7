"""Events as the ledger sees them, and the search fields that reports rest on: as bytes, to be compared without decoding.

The *shape* of an event is the BSON of {_id, t, v, ts, ix} with those fields of `ix`, in the stored order. Making the
expected one and comparing takes a fraction of what decoding takes; only one that differs is decoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import bson
from bson.codec_options import CodecOptions
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument

from fhirserver.store.client import Document

SEARCHED = ("date", "date~s", "patient", "agent", "entity", "type", "subtype", "action", "outcome", "denied")
EVENT_FIELDS: Mapping[str, int] = {"w": 1, "s": 1, "p": 1, "h": 1, "mac": 1, "raw": 1, "ts": 1}
SHAPE_FIELDS: Mapping[str, int] = {"t": 1, "v": 1, "ts": 1, "del": 1} | {f"ix.{name}": 1 for name in SEARCHED}
SHAPES: CodecOptions[RawBSONDocument] = CodecOptions(RawBSONDocument)
_KEY_AT = 13  # of a document that begins with a string `_id`: length, type, "_id", length


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event as the ledger sees it. `key`: `_id`. `ts`: microseconds. `shape`: as above, where asked for."""

    key: str
    w: bytes
    s: int
    p: bytes
    h: bytes
    mac: bytes
    raw: bytes
    ts: int
    shape: bytes = b""


def recorded(row: Document, shape: bytes = b"") -> Recorded:
    """The event in a stored document (EVENT_FIELDS)."""
    return Recorded(
        row["_id"],
        row["w"],
        row["s"],
        row.get("p", b""),
        row.get("h", b""),
        row.get("mac", b""),
        row.get("raw", b""),
        row.get("ts", 0),
        shape,
    )


def with_shapes(rows: Sequence[Document], shapes: Sequence[RawBSONDocument]) -> list[Recorded]:
    """The events of `rows`, each with its own of `shapes`, which were read after them and nearly always stand in parallel."""
    found = [bytes(shape.raw) for shape in shapes]
    if len(rows) != len(found) or not all(map(_is_of, rows, found)):
        by_key = {shape["_id"]: raw for shape, raw in zip(shapes, found, strict=True)}
        rows = [row for row in rows if row["_id"] in by_key]  # the others were removed between
        found = [by_key[row["_id"]] for row in rows]
    return [recorded(row, shape) for row, shape in zip(rows, found, strict=True)]


def _is_of(row: Document, shape: bytes) -> bool:
    key = row["_id"]
    return isinstance(key, str) and shape.startswith(key.encode() + b"\x00", _KEY_AT)


def shape_of(key: str, tenant: str, ts: int, ix: Mapping[str, Any]) -> bytes:
    """The shape of an event as the server stores it."""
    return bson.encode({"_id": key, "t": tenant, "v": 1, "ts": ts, "ix": ix})


def read_shape(shape: bytes) -> Document:
    """What a shape holds; nothing where it is none."""
    try:
        return bson.decode(shape)
    except BSONError:
        return {}
