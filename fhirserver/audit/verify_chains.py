"""The chains of a ledger under verification: how far each writer has come, and whether its next events are in order. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from fhirserver.audit.findings import Class, Finding
from fhirserver.audit.ledger import START, entry, is_authentic, leaf
from fhirserver.audit.purges import purged_to
from fhirserver.audit.verify_leaves import (
    Events,
    IndexFaults,
    Leaf,
    Tiles,
    finding,
    finding_at,
    rank,
    witness_of,
)
from fhirserver.store.ledger import TILE, Recorded, Run


@dataclass(slots=True)
class Chains:
    """Where each writer stands. `index_faults`: what of an event's stored form does not fit its body.

    `start`: the leaf where the verification began. `gone`: so many leaves from there on have no event.
    `purged_to`: the size up to which an event so far records a purge. `events`: how many were looked at.
    """

    index_faults: IndexFaults | None = None
    start: int = 0
    gone: int = 0
    purged_to: int = 0
    events: int = 0
    faults: list[Finding] = field(default_factory=list)  # of search fields, to be taken up at once
    _nexts: dict[bytes, int] = field(default_factory=dict)
    _last: dict[bytes, bytes | None] = field(
        default_factory=dict
    )  # leaf hash before the next event; None: unknown
    _unsure: set[bytes] = field(default_factory=set)  # writers whose next run is taken as it comes
    _any_unsure: bool = False

    @property
    def writers(self) -> frozenset[bytes]:
        """The writers that had sealed events so far."""
        return frozenset(self._nexts)

    def next_of(self, w: bytes) -> int:
        """The sequence of the first event of `w` that no checkpoint so far has sealed."""
        return self._nexts.get(w, 0)

    def last_of(self, w: bytes) -> bytes | None:
        """The leaf hash that the next event of `w` must name; None where that is not known."""
        return None if self.is_unsure(w) else self._last.get(w, START)

    def is_unsure(self, w: bytes) -> bool:
        """True where it is not known which event of `w` comes next."""
        return w in self._unsure or (self._any_unsure and w not in self._nexts)

    def doubt(self) -> None:
        """Take each writer's next run as it comes: what came before it is not known."""
        self._unsure |= set(self._nexts)
        self._any_unsure = True

    def skip(self, run: Run) -> None:
        """Pass a run whose events cannot be told apart: go on with what comes after."""
        self._unsure.add(run.w)
        self._nexts[run.w] = run.s0 + run.n

    def passed(self, run: Run, last: bytes | None) -> None:
        """Note that `run` was looked at, and the leaf hash of its last event."""
        self.events += run.n
        self._last[run.w], self._nexts[run.w] = last, run.s0 + run.n
        self._unsure.discard(run.w)

    def correct(self, place: Leaf) -> None:
        """Note that a leaf was another one than was taken for it."""
        if self._nexts.get(place.w) == place.s + 1:
            self._last[place.w] = place.h

    # --- sealed events

    def check_run(self, run: Run, events: Events, tiles: Tiles, found: list[Finding]) -> list[Leaf]:
        """The leaves of a run, as far as they are known; what is wrong with its events goes to `found`."""
        w, last = run.w, self.last_of(run.w)
        sha256, number, tile = hashlib.sha256, -1, None
        leaves: list[Leaf] = []
        for offset in range(run.n):
            s, index = run.s0 + offset, run.i0 + offset
            if index // TILE != number:
                number, tile = index // TILE, tiles.get(index // TILE)
            stored = tile[index % TILE] if tile is not None else None
            copies = events.get((w, s), ())
            if len(copies) == 1:
                event = copies[0]
                made = sha256(b"\x00" + entry(w, s, event.p, event.raw)).digest()
                if made == event.h and event.p == last and (stored is None or stored == made):
                    last = made  # the common case
                    leaves.append(Leaf(w, s, index, made))
                    self._look_into(event)
                    continue
            place = Leaf(w, s, index, None)
            leaves.append(place)
            last = self._doubtful(copies, last, stored, place, events, found)
        self.passed(run, last)
        return leaves

    def _doubtful(
        self, copies: Sequence[Recorded], last: bytes | None, stored: bytes | None, place: Leaf,
        events: Events, found: list[Finding],
    ) -> bytes | None:  # fmt: skip
        """Judge an event that is not plainly right; the leaf hash to go on with."""
        witness = witness_of(events, place)
        if not copies:
            place.h = stored or witness
            if place.index == self.start + self.gone:
                self.gone += 1  # purged, or missing: known at the end
            else:
                found.append(finding_at(Class.MISSING, "a sealed event is missing", place))
            return place.h
        event, *others = sorted(copies, key=lambda copy: rank(copy, last, stored))
        found += [
            finding_at(Class.INSERTED, "a second event stands at a place of the log", place, other)
            for other in others
        ]
        made = leaf(entry(event.w, event.s, event.p, event.raw))
        if last is not None and event.p != last:
            place.h = stored or event.h
            fault = (Class.CHAIN_BREAK, "the event does not follow the one before it")
        elif made != event.h:
            place.h = stored or witness or event.h
            fault = (Class.MODIFIED, "the event does not have its hash")
        elif stored is not None and made != stored:
            place.h = made if witness == made else stored
            text = (
                "the tile does not hold the hash of the event"
                if witness == made
                else "the event has another hash than its tile"
            )
            fault = (Class.MODIFIED, text)
        else:
            place.h = event.h
            self._look_into(event)
            return place.h
        found.append(finding_at(*fault, place, event))
        return place.h

    def _look_into(self, event: Recorded) -> None:
        if self.index_faults is not None:
            self.faults += [
                finding(Class.INDEX_MISMATCH, fault, id=event.key, w=event.w.hex(), s=event.s)
                for fault in self.index_faults(event)
            ]
        self.purged_to = max(self.purged_to, purged_to(event.raw))

    # --- events that wait for their seal

    def check_tail(
        self, w: bytes, events: Sequence[Recorded], ingest_key: bytes | None, found: list[Finding]
    ) -> bool:
        """Look at what `w` has recorded and nobody has sealed yet, in order; True where all of it is in order."""
        s, unsure, last = self.next_of(w), self.is_unsure(w), self.last_of(w)
        known = len(found)
        for event in events:
            where: dict[str, str | int] = {"id": event.key, "w": w.hex(), "s": event.s}
            if event.s != s and not unsure:
                text = "events are missing before this one, which is not sealed yet"
                found.append(finding(Class.TAIL_GAP, text, **where))
                last = None
            unsure = False
            if last is not None and event.p != last:
                text = "the event does not follow the one before it"
                found.append(finding(Class.CHAIN_BREAK, text, **where))
            elif leaf(entry(w, event.s, event.p, event.raw)) != event.h:
                found.append(finding(Class.MODIFIED, "the event does not have its hash", **where))
            elif ingest_key is not None and not is_authentic(ingest_key, event.h, event.mac):
                found.append(finding(Class.FORGED, "the event was not recorded by this server", **where))
            else:
                self._look_into(event)
            s, last = event.s + 1, event.h
        self.events += len(events)
        return len(found) == known
