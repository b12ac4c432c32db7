"""What a missing checkpoint sealed, inferred from the events, the tiles and the checkpoints around it. Pure.

Where a tile is full, its hashes tell which event stands where. Beyond, the order of a sealer does: it takes the writers
in byte order, each from how far it had come to the event with which it goes on behind the gap. That is a guess where more
than one checkpoint is missing; the signed root behind the gap proves or refutes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fhirserver.audit.verify_chains import Chains
from fhirserver.audit.verify_leaves import Events
from fhirserver.store.ledger import Run


@dataclass(slots=True)
class _Gap:
    """The runs found so far for the leaves from `at` - their number on."""

    chains: Chains
    at: int
    runs: list[Run] = field(default_factory=list)
    _nexts: dict[bytes, int] = field(default_factory=dict)

    def next_of(self, w: bytes) -> int:
        """The sequence of the first event of `w` that has no place yet."""
        return self._nexts.get(w, self.chains.next_of(w))

    def add(self, w: bytes, n: int) -> None:
        """The next `n` events of `w` stand at the next leaves."""
        if n:
            s = self.next_of(w)
            if self.runs and self.runs[-1].w == w:
                last = self.runs.pop()
                self.runs.append(Run(w, last.s0, last.n + n, last.i0))
            else:
                self.runs.append(Run(w, s, n, self.at))
            self._nexts[w], self.at = s + n, self.at + n


def runs_between(
    start: int, end: int, chains: Chains, events: Events, later: Mapping[bytes, int],
    hash_of: Callable[[int], bytes | None],
) -> tuple[Run, ...] | None:  # fmt: skip
    """The runs that fill the leaves [start, end), None where that cannot be told.

    `later`: for each writer that goes on behind the gap, the sequence with which it does. `hash_of`: a leaf, by its tile.
    """
    gap = _Gap(chains, start)
    if end <= start or not _by_tiles(gap, end, events, hash_of) or not _by_order(gap, end, events, later):
        return None
    return tuple(gap.runs)


def _by_tiles(gap: _Gap, end: int, events: Events, hash_of: Callable[[int], bytes | None]) -> bool:
    """Place the events of full tiles; one with another hash than its leaf stands between its neighbours."""
    places = {copy.h: place for place, copies in events.items() for copy in copies}
    unknown = 0
    while gap.at + unknown < end and (h := hash_of(gap.at + unknown)) is not None:
        place = places.get(h)
        if place is None:
            unknown += 1
            continue
        w, s = place
        before = s - gap.next_of(w)  # of this writer; what else is unknown belongs to the one before
        if not 0 <= before <= unknown or (before < unknown and not gap.runs):
            return False
        if before < unknown:
            gap.add(gap.runs[-1].w, unknown - before)
        gap.add(w, s - gap.next_of(w) + 1)
        unknown = 0
    return True


def _by_order(gap: _Gap, end: int, events: Events, later: Mapping[bytes, int]) -> bool:
    """Place what is left up to leaf `end`, writers in byte order."""
    counts: dict[bytes, int] = {}
    open_ended: list[bytes] = []
    for w in sorted({*gap.chains.writers, *later, *(w for w, _ in events)}):
        if w in later:
            counts[w] = later[w] - gap.next_of(w)
        elif (w, gap.next_of(w)) in events:
            open_ended.append(w)
    left = end - gap.at - sum(counts.values())
    if left and len(open_ended) == 1:
        counts[open_ended[0]] = left
        left = 0
    if left or any(count < 0 for count in counts.values()):
        return False
    for w in sorted(counts):
        gap.add(w, counts[w])
    return True
