"""What the verification knows of single leaves, and how it words a finding about one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fhirserver.audit.findings import Class, Finding
from fhirserver.audit.ledger import entry, leaf
from fhirserver.store.ledger import TILE, Recorded

Events = Mapping[
    tuple[bytes, int], Sequence[Recorded]
]  # (w, s) -> the event; more than one where some were inserted
Tiles = Mapping[int, Sequence[bytes]]  # number -> hashes of a full level-0 tile
IndexFaults = Callable[[Recorded], list[str]]


@dataclass(slots=True)
class Leaf:
    """A leaf of the checkpoint under way. `h`: the hash taken for it, None where nothing tells it."""

    w: bytes
    s: int
    index: int
    h: bytes | None


def finding(kind: Class, text: str, **where: str | int) -> Finding:
    """A finding."""
    return Finding(kind, text, where)


def finding_at(kind: Class, text: str, place: Leaf, event: Recorded | None = None) -> Finding:
    """A finding about the event of a leaf."""
    where: dict[str, str | int] = {"index": place.index, "w": place.w.hex(), "s": place.s}
    if event is not None:
        where["id"] = event.key
    return Finding(kind, text, where)


def hash_at(tiles: Tiles, index: int) -> bytes | None:
    """The hash of a leaf as its tile holds it, None where the tile is not full yet."""
    tile = tiles.get(index // TILE)
    return tile[index % TILE] if tile is not None else None


def witness_of(events: Events, place: Leaf) -> bytes | None:
    """What the next event of the writer says of this one's hash."""
    following = events.get((place.w, place.s + 1), ())
    return following[0].p if len(following) == 1 else None


def rank(event: Recorded, last: bytes | None, stored: bytes | None) -> tuple[bool, bool, str]:
    """Of several events at one place the one that fits best comes first."""
    fits = leaf(entry(event.w, event.s, event.p, event.raw)) == event.h and last in (None, event.p)
    return (stored is not None and event.h != stored, not fits, event.key)
