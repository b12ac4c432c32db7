"""Verification of a ledger: every checkpoint, every sealed event, the tail that is not sealed yet. Pure.

Whoever has the data (audit/sources.py) feeds checkpoints in order with their events. The root cause is reported, not what
follows from it: a leaf that cannot be right is replaced by what tile, successor or computation say until the signed root
fits, and only a root that fits none of them is a ROOT_MISMATCH. After a gap it goes on with what the log says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from types import MappingProxyType

from fhirserver.audit import merkle
from fhirserver.audit.findings import TAMPERED, Class, Finding, Findings
from fhirserver.audit.keys import KnownKey
from fhirserver.audit.notes import Checkpoint
from fhirserver.audit.stretches import Stretches
from fhirserver.audit.verify_chains import Chains
from fhirserver.audit.verify_gap import runs_between
from fhirserver.audit.verify_leaves import (
    Events,
    IndexFaults,
    Leaf,
    Tiles,
    finding,
    finding_at,
    hash_at,
    witness_of,
)
from fhirserver.audit.verify_seals import grown, read_seal
from fhirserver.store.ledger import Recorded, Seal

OVERDUE_SECONDS = 60
_TRIES = 64
_NOTHING: Mapping[bytes, int] = MappingProxyType({})


@dataclass(slots=True)
class Verification:
    """The state of one verification. `index_faults`: what of an event's stored form does not fit its body.

    `now`: microseconds since 1970. `size`: where it begins (`start_at`) and how far it has come.
    """

    keys: Sequence[KnownKey]
    origin: str
    anchors: Sequence[Checkpoint] = ()
    ingest_key: bytes | None = None
    index_faults: IndexFaults | None = None
    now: int = 0
    findings: Findings = field(default_factory=Findings)
    seals: int = 0
    size: int = 0
    chains: Chains = field(init=False)
    _tree: merkle.Tree | None = field(default_factory=merkle.Tree)
    _roots: dict[int, bytes] = field(default_factory=dict)  # at the sizes of the anchors
    _mismatch: list[int] = field(default_factory=list)  # [from, to] of what no signed root proves
    _overdue: list[tuple[Recorded, int]] = field(
        default_factory=list
    )  # first event and number of a waiting tail

    def __post_init__(self) -> None:
        self.chains = Chains(self.index_faults)

    def start_at(self, seal: Seal, tree: merkle.Tree) -> None:
        """Begin after `seal`, trusting its root: `tree` is the tree up to there."""
        self.size = self.chains.start = seal.size
        self.chains.doubt()
        checkpoint = self._checkpoint(seal)
        self._tree = tree
        if checkpoint is not None and checkpoint.root != tree.root():
            self._add(Class.ROOT_MISMATCH, "the tree does not have the signed root", size=seal.size)
            self._tree = None

    @property
    def events(self) -> int:
        """How many events were looked at."""
        return self.chains.events

    # --- one checkpoint

    def accept(self, seal: Seal, stretches: Stretches, tiles: Mapping[int, bytes]) -> bool:
        """Take the next checkpoint where nothing at all is doubtful; else False, and nothing has changed.

        `tiles`: the full ones of level 0 that it touches, by number.
        """
        chains, tree = self.chains, self._tree
        if tree is None or seal.prev != self.size or not self._check_runs(seal, []):
            return False
        hashes: list[bytes] = []
        last: dict[bytes, bytes] = {}
        for run in seal.runs:
            stretch = stretches.get(run)
            if stretch is None or stretch.p != last.get(run.w, chains.last_of(run.w)):
                return False
            if not stretch.fits(run.i0, tiles):
                return False
            hashes += stretch.each()
            last[run.w] = stretch.last
        checkpoint, fault = read_seal(seal, self.keys, self.origin)
        grown, roots = self._grown(hashes)
        if checkpoint is None or fault is not None or grown is None or grown.root() != checkpoint.root:
            return False
        for run in seal.runs:
            chains.passed(run, stretches[run].last)
            chains.purged_to = max(chains.purged_to, stretches[run].purged_to)
        self._tree, self.size = grown, seal.size
        self._roots |= roots
        self.seals += 1
        return True

    def check(self, seal: Seal, events: Events, tiles: Tiles, later: Mapping[bytes, int] = _NOTHING) -> None:
        """Check the next checkpoint, event by event.

        `events`: its events and, where known, the one after them of each writer; where the checkpoint does not follow the
        one before, also those between. `later`: then the sequence with which each writer goes on, if it does.
        """
        checkpoint = self._checkpoint(seal)
        if checkpoint is not None:  # the signed size is the true one
            seal = replace(seal, size=checkpoint.size)
        if seal.prev != self.size:
            seal = self._resume(seal, events, tiles, later)
        found: list[Finding] = []
        leaves: list[Leaf] = []
        proper = self._check_runs(seal, found)
        for run in seal.runs:
            if proper:
                leaves += self.chains.check_run(run, events, tiles, found)
            else:
                self.chains.skip(run)
        self._check_root(seal, checkpoint, leaves, events, tiles, found, proper)
        self._take_up(found)
        self.size = seal.size
        self.seals += 1

    def _take_up(self, found: Sequence[Finding]) -> None:
        for each in (*self.chains.faults, *found):
            self.findings.add(each)
        self.chains.faults.clear()

    def _checkpoint(self, seal: Seal) -> Checkpoint | None:
        """What the note of `seal` says, None where it must not be trusted; what is wrong with it is a finding."""
        checkpoint, fault = read_seal(seal, self.keys, self.origin)
        if fault is not None:
            self.findings.add(fault)
        return checkpoint

    def _resume(self, seal: Seal, events: Events, tiles: Tiles, later: Mapping[bytes, int]) -> Seal:
        """The checkpoint with which to go on after missing ones.

        It takes over what the missing one sealed, as far as that can be told; else the leaves between come from full tiles.
        """
        self._add(
            Class.CHECKPOINT_GAP, "the checkpoint does not follow the one before", size=seal.size,
            previous=self.size, expected=seal.prev,
        )  # fmt: skip
        bridge = runs_between(self.size, seal.prev, self.chains, events, later, partial(hash_at, tiles))
        if bridge is not None:
            return replace(seal, prev=self.size, runs=bridge + seal.runs)
        self.chains.doubt()
        between = [hash_at(tiles, index) for index in range(self.size, seal.prev)]
        tree = self._grown(between)[0] if seal.prev >= self.size else None
        if tree is None and self._tree is not None:
            self._mismatch = [self.size, seal.prev]
        self._tree, self.size = tree, seal.prev
        return seal

    def _check_runs(self, seal: Seal, found: list[Finding]) -> bool:
        """True where the runs fill (prev, size] and continue each writer's sequence."""
        at, proper = seal.prev, True
        nexts: dict[bytes, int] = {}
        for run in seal.runs:
            expected = nexts.get(run.w, self.chains.next_of(run.w))
            unsure = self.chains.is_unsure(run.w) and run.w not in nexts
            if run.i0 != at or run.n < 1 or (run.s0 != expected and not unsure):
                proper = False
                found.append(
                    finding(
                        Class.RUN_GAP, "a run does not continue the log or its writer", size=seal.size,
                        w=run.w.hex(), s=run.s0, expected=expected,
                    )
                )  # fmt: skip
            at, nexts[run.w] = run.i0 + run.n, run.s0 + run.n
        if proper and at != seal.size:
            proper = False
            found.append(finding(Class.RUN_GAP, "the runs do not add up to the checkpoint", size=seal.size))
        return proper

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
        tree, roots = self._grown(hashes)
        if checkpoint is None or (tree is not None and tree.root() == checkpoint.root):
            self._tree = tree
            self._roots |= roots
            return
        explained = self._explain(leaves, events, checkpoint.root, found) if proper else None
        self._tree = explained
        if explained is None and not found:
            self._mismatch = [seal.prev, seal.size]

    def _grown(self, hashes: Sequence[bytes | None]) -> tuple[merkle.Tree | None, dict[int, bytes]]:
        if self._tree is None:
            return None, {}
        return grown(self._tree, hashes, [anchor.size for anchor in self.anchors])

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
            tree, roots = self._grown([changes.get(at, place.h) for at, place in enumerate(leaves)])
            if changes and tree is not None and tree.root() == root:
                for at, h in changes.items():
                    self._replace(leaves[at], h, found)
                self._roots |= roots
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
        self.chains.correct(place)

    # --- the end

    def check_tail(self, w: bytes, events: Sequence[Recorded]) -> None:
        """Check what writer `w` has recorded and nobody has sealed yet, in order."""
        found: list[Finding] = []
        proper = self.chains.check_tail(w, events, self.ingest_key, found)
        self._take_up(found)
        if events and proper and events[0].ts < self.now - OVERDUE_SECONDS * 1_000_000:
            self._overdue.append((events[0], len(events)))

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
        if self.findings.exit_code != TAMPERED:  # what else explains a wait is the cause
            for event, count in self._overdue:
                self._add(
                    Class.UNSEALED_OVERDUE, "events wait for their seal",
                    id=event.key, w=event.w.hex(), s=event.s, events=count,
                )  # fmt: skip
        return self.findings

    def _finish_purge(self) -> None:
        """The first events are gone: by a recorded purge up to where that went, else they are missing."""
        start, end = self.chains.start, self.chains.start + self.chains.gone
        purged = min(end, self.chains.purged_to)
        if purged > start:
            self._add(Class.PURGED, "events were removed under a retention record", after=start, to=purged)
        for index in range(max(purged, start), end):
            self._add(Class.MISSING, "a sealed event is missing", index=index)

    def _add(self, kind: Class, text: str, **where: str | int) -> None:
        self.findings.add(finding(kind, text, **where))
