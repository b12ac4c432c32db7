"""Runs of events in which nothing is doubtful, looked at apart from the log around them: this is what can be done side by side.

Whoever looks (audit/examine.py) hands over a Stretch for such a run, and the verification has only to put it in its
place: one link, the tiles, the signed root. A run with anything doubtful has none and is looked at event by event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fhirserver.audit.ledger import HASH_SIZE, entry
from fhirserver.audit.purges import purged_to
from fhirserver.audit.verify_leaves import IndexFaults
from fhirserver.store.ledger import TILE, Recorded, Run


@dataclass(frozen=True, slots=True)
class Stretch:
    """The events of a run, each with its hash, following each other, with search fields that fit.

    `p`: what the first names as the hash before it. `hashes`: of all, 32 bytes each. `purged_to`: the largest size up to
    which one of them records a purge.
    """

    p: bytes
    hashes: bytes
    purged_to: int

    @property
    def last(self) -> bytes:
        """The hash of the last event."""
        return self.hashes[-HASH_SIZE:]

    def each(self) -> list[bytes]:
        """The hashes, one by one."""
        return [self.hashes[at : at + HASH_SIZE] for at in range(0, len(self.hashes), HASH_SIZE)]

    def fits(self, first: int, tiles: Mapping[int, bytes]) -> bool:
        """Whether the hashes, from leaf `first` on, are those of `tiles`: number -> 256 hashes."""
        end = first + len(self.hashes) // HASH_SIZE
        for number in range(first // TILE, (end - 1) // TILE + 1):
            tile = tiles.get(number)
            if tile is None:
                continue
            low, high = max(first, number * TILE), min(end, (number + 1) * TILE)
            ours = self.hashes[(low - first) * HASH_SIZE : (high - first) * HASH_SIZE]
            if ours != tile[(low - number * TILE) * HASH_SIZE : (high - number * TILE) * HASH_SIZE]:
                return False
        return True


Stretches = Mapping[Run, Stretch]


def stretch_of(run: Run, events: Sequence[Recorded], index_faults: IndexFaults | None) -> Stretch | None:
    """The Stretch of `run`, whose events are `events`, in order; None where anything is doubtful."""
    if run.n < 1 or len(events) != run.n:
        return None
    sha256, w, s = hashlib.sha256, run.w, run.s0
    last = events[0].p
    hashes: list[bytes] = []
    purged = 0
    for event in events:
        if event.w != w or event.s != s or event.p != last or len(last) != HASH_SIZE:
            return None
        last = sha256(b"\x00" + entry(w, s, last, event.raw)).digest()
        if last != event.h or (index_faults is not None and index_faults(event)):
            return None
        purged = max(purged, purged_to(event.raw))
        hashes.append(last)
        s += 1
    return Stretch(events[0].p, b"".join(hashes), purged)
