"""Verification of a ledger: every checkpoint, every sealed event, the tail that is not sealed yet. Pure.

Whoever has the data (audit/sources.py) feeds checkpoints in order with their events. The root cause is reported, not what
follows from it: a leaf that cannot be right is replaced by what tile, successor or computation say until the signed root
fits, and only a root that fits none of them is a ROOT_MISMATCH. After a gap it goes on with what the log says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from fhirserver.audit import merkle
from fhirserver.audit.findings import TAMPERED, Class, Finding, Findings
from fhirserver.audit.keys import KnownKey, trusted_signers
from fhirserver.audit.ledger import START, entry, is_authentic, leaf
from fhirserver.audit.notes import BadNote, Checkpoint, split_note
from fhirserver.audit.purges import purged_to
from fhirserver.audit.verify_leaves import (
    Events,
    IndexFaults,
    Leaf,
    Tiles,
    finding,
    finding_at,
    hash_at,
    rank,
    witness_of,
)
from fhirserver.store.ledger import TILE, Recorded, Run, Seal

OVERDUE_SECONDS = 60
_TRIES = 64


@dataclass(slots=True)
class Verification:
    """The state of one verification. `index_faults`: what of an event's stored form does not fit its body.

    `now`: microseconds since 1970. `size`, `tree`: where it begins (`start_at`).
    """

    keys: Sequence[KnownKey]
    origin: str
    anchors: Sequence[Checkpoint] = ()
    ingest_key: bytes | None = None
    index_faults: IndexFaults | None = None
    now: int = 0
    findings: Findings = field(default_factory=Findings)
    events: int = 0
    seals: int = 0
    size: int = 0
    _tree: merkle.Tree | None = field(default_factory=merkle.Tree)
    _nexts: dict[bytes, int] = field(default_factory=dict)
    _last: dict[bytes, bytes | None] = field(
        default_factory=dict
    )  # leaf hash before the next event; None: unknown
    _unsure: set[bytes] = field(default_factory=set)  # writers whose next run is taken as it comes
    _any_unsure: bool = False
    _start: int = 0
    _gone: int = 0  # leaves from the start on whose events are all missing
    _purged_to: int = 0
    _roots: dict[int, bytes] = field(default_factory=dict)  # at the sizes of the anchors
    _mismatch: list[int] = field(default_factory=list)  # [from, to] of the roots that do not fit
    _overdue: list[tuple[Recorded, int]] = field(
        default_factory=list
    )  # first event and number of a waiting tail

    def start_at(self, seal: Seal, tree: merkle.Tree) -> None:
        """Begin after `seal`, trusting its root: `tree` is the tree up to there."""
        self.size = self._start = seal.size
        self._any_unsure = True
        checkpoint = self._checkpoint(seal)
        self._tree = tree
        if checkpoint is not None and checkpoint.root != tree.root():
            self._add(Class.ROOT_MISMATCH, "the tree does not have the signed root", size=seal.size)
            self._tree = None

    @property
    def writers(self) -> frozenset[bytes]:
        """The writers that had sealed events so far."""
        return frozenset(self._nexts)

    def next_of(self, w: bytes) -> int:
        """The sequence of the first event of `w` that no checkpoint so far has sealed."""
        return self._nexts.get(w, 0)

    # --- one checkpoint

    def check(self, seal: Seal, events: Events, tiles: Tiles) -> None:
        """Check the next checkpoint. `events`: its events and, where known, the one after them of each writer."""
        checkpoint = self._checkpoint(seal)
        if checkpoint is not None:  # the signed size is the true one
            seal = replace(seal, size=checkpoint.size)
        if seal.prev != self.size:
            self._resume(seal, tiles)
        found: list[Finding] = []
        leaves: list[Leaf] = []
        proper = self._check_runs(seal, found)
        for run in seal.runs:
            if proper:
                self._check_run(run, events, tiles, leaves, found)
            else:  # its events cannot be told apart: go on with what comes after
                self._unsure.add(run.w)
                self._nexts[run.w] = run.s0 + run.n
        self._check_root(seal, checkpoint, leaves, events, tiles, found, proper)
        for each in found:
            self.findings.add(each)
        self.size = seal.size
        self.seals += 1

    def _checkpoint(self, seal: Seal) -> Checkpoint | None:
        """What the note of `seal` says, None where it must not be trusted (which is a finding)."""
        where = {"size": seal.size}
        try:
            checkpoint = Checkpoint.parse(split_note(seal.note)[0])
            signers = trusted_signers(seal.note, seal.size, self.keys)
        except BadNote as error:
            self._add(Class.BAD_SIGNATURE, f"the checkpoint is damaged: {error}", **where)
            return None
        if checkpoint.origin != self.origin:
            self._add(Class.WRONG_ORIGIN, "the checkpoint is of another log", **where)
            return None
        if not signers:
            self._add(Class.BAD_SIGNATURE, "no trusted key has signed the checkpoint", **where)
            return None
        if checkpoint.size != seal.size:
            self._add(
                Class.CHECKPOINT_GAP, "the checkpoint stands at another size than it was signed for", **where
            )
        return checkpoint

    def _resume(self, seal: Seal, tiles: Tiles) -> None:
        """Go on after missing checkpoints, with the leaves of full tiles where there are such."""
        self._add(
            Class.CHECKPOINT_GAP, "the checkpoint does not follow the one before", size=seal.size,
            previous=self.size, expected=seal.prev,
        )  # fmt: skip
        self._unsure |= set(self._nexts)
        self._any_unsure = True
        between = [hash_at(tiles, index) for index in range(self.size, seal.prev)]
        self._tree = self._grown(between) if seal.prev >= self.size else None
        self.size = seal.prev

    def _check_runs(self, seal: Seal, found: list[Finding]) -> bool:
        """True where the runs fill (prev, size] and continue each writer's sequence."""
        at, proper = seal.prev, True
        for run in seal.runs:
            expected = self._nexts.get(run.w, 0)
            unsure = run.w in self._unsure or (self._any_unsure and run.w not in self._nexts)
            if run.i0 != at or run.n < 1 or (run.s0 != expected and not unsure):
                proper = False
                found.append(
                    finding(
                        Class.RUN_GAP, "a run does not continue the log or its writer", size=seal.size,
                        w=run.w.hex(), s=run.s0, expected=expected,
                    )
                )  # fmt: skip
            at = run.i0 + run.n
        if proper and at != seal.size:
            proper = False
            found.append(finding(Class.RUN_GAP, "the runs do not add up to the checkpoint", size=seal.size))
        return proper

    def _check_run(
        self, run: Run, events: Events, tiles: Tiles, leaves: list[Leaf], found: list[Finding]
    ) -> None:
        w = run.w
        unsure = w in self._unsure or (self._any_unsure and w not in self._nexts)
        last = None if unsure else self._last.get(w, START)
        sha256, number, tile = hashlib.sha256, -1, None
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
            last = self._doubtful(copies, last, stored, Leaf(w, s, index, None), events, found, leaves)
        self.events += run.n
        self._last[w], self._nexts[w] = last, run.s0 + run.n
        self._unsure.discard(w)

    def _doubtful(
        self, copies: Sequence[Recorded], last: bytes | None, stored: bytes | None, place: Leaf,
        events: Events, found: list[Finding], leaves: list[Leaf],
    ) -> bytes | None:  # fmt: skip
        """Judge an event that is not plainly right; the leaf hash to go on with."""
        leaves.append(place)
        witness = witness_of(events, place)
        if not copies:
            place.h = stored or witness
            if place.index == self._start + self._gone:
                self._gone += 1  # purged, or missing: known at the end
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
            found.append(
                finding_at(Class.CHAIN_BREAK, "the event does not follow the one before it", place, event)
            )
        elif made != event.h:
            place.h = stored or witness or event.h
            found.append(finding_at(Class.MODIFIED, "the event does not have its hash", place, event))
        elif stored is not None and made != stored:
            if witness == made:
                place.h = made
                found.append(
                    finding_at(Class.MODIFIED, "the tile does not hold the hash of the event", place, event)
                )
            else:
                place.h = stored
                found.append(
                    finding_at(Class.MODIFIED, "the event has another hash than its tile", place, event)
                )
        else:
            place.h = event.h
            self._look_into(event)
        return place.h

    def _look_into(self, event: Recorded) -> None:
        if self.index_faults is not None:
            for fault in self.index_faults(event):
                self._add(Class.INDEX_MISMATCH, fault, id=event.key, w=event.w.hex(), s=event.s)
        self._purged_to = max(self._purged_to, purged_to(event.raw))

    # --- its root

    def _check_root(
        self, seal: Seal, checkpoint: Checkpoint | None, leaves: list[Leaf], events: Events, tiles: Tiles,
        found: list[Finding], proper: bool,
    ) -> None:  # fmt: skip
        if self._tree is None:
            if self._mismatch:
                self._mismatch[1] = seal.size
            return
        hashes = [place.h for place in leaves]
        if not proper:
            hashes = [hash_at(tiles, index) for index in range(seal.prev, seal.size)]
        tree = self._grown(hashes)
        if checkpoint is None:
            self._tree = tree
            return
        if tree is not None and tree.root() == checkpoint.root:
            self._tree = tree
            return
        explained = self._explain(leaves, events, checkpoint.root, found) if proper else None
        self._tree = explained
        if explained is None and not found:
            self._mismatch = [seal.prev, seal.size]

    def _grown(self, hashes: Sequence[bytes | None]) -> merkle.Tree | None:
        """The tree with `hashes` added; None where one is unknown."""
        if self._tree is None or None in hashes:
            return None
        tree, known = self._tree.copy(), [h for h in hashes if h is not None]
        end = tree.size + len(known)
        for size in sorted({anchor.size for anchor in self.anchors if tree.size < anchor.size <= end}):
            part = size - tree.size
            tree.extend(known[:part])
            del known[:part]
            self._roots[size] = tree.root()
        tree.extend(known)
        return tree

    def _explain(
        self, leaves: list[Leaf], events: Events, root: bytes, found: list[Finding]
    ) -> merkle.Tree | None:
        """The tree with the signed root, found by taking for some leaves what their successors say."""
        options = [
            (at, witness)
            for at, place in enumerate(leaves)
            if (witness := witness_of(events, place)) is not None and witness != place.h
        ]
        tries = [dict(options), *({at: h} for at, h in islice(options, _TRIES))]
        for changes in tries:
            tree = self._grown([changes.get(at, place.h) for at, place in enumerate(leaves)])
            if changes and tree is not None and tree.root() == root:
                for at, h in changes.items():
                    self._replace(leaves[at], h, found)
                return tree
        return None

    def _replace(self, place: Leaf, h: bytes, found: list[Finding]) -> None:
        """Leaf `place` is `h`: so its event was modified, and its successor is in order."""
        follower = {"w": place.w.hex(), "s": place.s + 1}
        for each in list(found):
            same = {name: each.where.get(name) for name in follower} == follower
            if each.kind is Class.CHAIN_BREAK and same:
                found.remove(each)
        if not any(each.where.get("index") == place.index for each in found):
            found.append(
                finding_at(Class.MODIFIED, "the event has another hash than the one that was sealed", place)
            )
        place.h = h
        if self._nexts.get(place.w) == place.s + 1:
            self._last[place.w] = h

    # --- the end

    def check_tail(self, w: bytes, events: Sequence[Recorded]) -> None:
        """Check what writer `w` has recorded and nobody has sealed yet, in order."""
        s = self._nexts.get(w, 0)
        unsure = w in self._unsure or (self._any_unsure and w not in self._nexts)
        last = None if unsure else self._last.get(w, START)
        fault = False
        for event in events:
            where: dict[str, str | int] = {"id": event.key, "w": w.hex(), "s": event.s}
            if event.s != s and not unsure:
                self._add(
                    Class.TAIL_GAP, "events are missing before this one, which is not sealed yet", **where
                )
                last, fault = None, True
            unsure = False
            if last is not None and event.p != last:
                self._add(Class.CHAIN_BREAK, "the event does not follow the one before it", **where)
                fault = True
            elif leaf(entry(w, event.s, event.p, event.raw)) != event.h:
                self._add(Class.MODIFIED, "the event does not have its hash", **where)
                fault = True
            elif self.ingest_key is not None and not is_authentic(self.ingest_key, event.h, event.mac):
                self._add(Class.FORGED, "the event was not recorded by this server", **where)
                fault = True
            else:
                self._look_into(event)
            s, last = event.s + 1, event.h
        self.events += len(events)
        if events and not fault and events[0].ts < self.now - OVERDUE_SECONDS * 1_000_000:
            self._overdue.append((events[0], len(events)))

    def _finish_tail(self) -> None:
        """Waiting too long is a finding of its own only where nothing else explains it."""
        if self.findings.exit_code == TAMPERED:
            return
        for event, count in self._overdue:
            self._add(
                Class.UNSEALED_OVERDUE, "events wait for their seal",
                id=event.key, w=event.w.hex(), s=event.s, events=count,
            )  # fmt: skip

    def check_strangers(self, keys: Iterable[str]) -> None:
        """Report events that have no place in any chain."""
        for key in keys:
            self._add(Class.INSERTED, "the event belongs to no writer of the log", id=key)

    def check_tiles(self, faults: Iterable[str]) -> None:
        """Report stored tiles that are missing or do not fit; `faults`: in words, the tile first."""
        for fault in faults:
            missing = fault.endswith("missing")
            self._add(Class.MISSING if missing else Class.MODIFIED, fault)

    def finish(self) -> Findings:
        """What was found, after everything was fed."""
        if self._mismatch:
            low, high = self._mismatch
            self._add(
                Class.ROOT_MISMATCH, "the events do not have the signed root; from here on none is proven",
                after=low, to=high,
            )  # fmt: skip
        self._finish_purge()
        for anchor in self.anchors:
            if anchor.size > self.size:
                self._add(Class.ROLLBACK, "the log ends before an anchor", size=self.size, anchor=anchor.size)
            elif self._roots.get(anchor.size, anchor.root) != anchor.root:
                self._add(Class.FORK, "the log is another one than the anchor's", anchor=anchor.size)
        self._finish_tail()
        return self.findings

    def _finish_purge(self) -> None:
        """The first events are gone: by a recorded purge up to where that went, else they are missing."""
        end = self._start + self._gone
        purged = min(end, self._purged_to)
        if purged > self._start:
            self._add(
                Class.PURGED, "events were removed under a retention record", after=self._start, to=purged
            )
        for index in range(max(purged, self._start), end):
            self._add(Class.MISSING, "a sealed event is missing", index=index)

    def _add(self, kind: Class, text: str, **where: str | int) -> None:
        self.findings.add(finding(kind, text, **where))
