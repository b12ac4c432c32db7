"""Sealing: recorded events become leaves of the Merkle tree, and each growth a signed checkpoint.

One sealer works at a time (a lease); a second one does no harm, since only one checkpoint can follow another. Before a
checkpoint is published its note is written to a local file: a database that is later set back to an older state no
longer fits that file, and sealing stops instead of going on from there. Source: docs/explanation/ledger.md.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fhirserver.audit import merkle
from fhirserver.audit.alarms import Alarm, Raise
from fhirserver.audit.keys import KeyFiles, trusted_signers
from fhirserver.audit.ledger import START, entry, is_authentic, leaf
from fhirserver.audit.notes import BadNote, Checkpoint, sign, split_note
from fhirserver.audit.tiles import DamagedLedger, StoredTree
from fhirserver.outcome import OutcomeError
from fhirserver.store.keyfile import BadKeyFile, write_whole
from fhirserver.store.ledger import RUN_MOST, Ledger, Recorded, Run, Seal

SEAL_MOST = 5000  # events in one checkpoint
STALLED_SECONDS = 300

_log = logging.getLogger(__name__)

OnSeal = Callable[[Seal], Awaitable[None]]
OnRotation = Callable[[str, int], Awaitable[None]]


async def _ignore(vkey: str, size: int) -> None:
    """Tell nobody of a rotation."""


class SealingStopped(Exception):
    """The database does not continue what was sealed before; nothing may be sealed on top of it. Needs a person."""


@dataclass(slots=True)
class State:
    """The local state file: the newest published note, and a checkpoint that may or may not have been published."""

    file: Path
    published: str | None = None
    pending: Seal | None = None

    @classmethod
    def read(cls, file: Path) -> State:
        """The state in `file`; empty where there is none. Raises SealingStopped for a damaged one."""
        if not file.exists():
            return cls(file)
        try:
            data = json.loads(file.read_text())
            pending = data["pending"] and _seal_from_json(data["pending"])
            return cls(file, data["published"], pending)
        except (ValueError, KeyError, TypeError) as error:
            raise SealingStopped(f"the state file {file} cannot be read; restore it from a backup") from error

    def write(self) -> None:
        """Keep the state, durably."""
        pending = self.pending and _seal_to_json(self.pending)
        write_whole(self.file, json.dumps({"published": self.published, "pending": pending}), mode=0o600)


@dataclass(slots=True)
class Sealer:
    """Seals one ledger. `state`: path of the local state file. `on_seal`: told of each published checkpoint.

    `alarm`: told of what a person must look at. `clock`: microseconds since 1970 UTC. `interval`: seconds.
    `on_rotation`: told of a new key, as vkey, and of the size of the checkpoint that both keys have signed.
    """

    ledger: Ledger
    keys: KeyFiles
    state_file: Path
    alarm: Raise
    clock: Callable[[], int]
    interval: float = 10.0
    on_seal: Sequence[OnSeal] = ()
    on_rotation: OnRotation = _ignore
    _tree: merkle.Tree | None = None
    _last: Seal | None = None
    _state: State | None = None
    _nexts: dict[bytes, tuple[int, bytes]] | None = None  # writer -> next sequence, leaf hash before it
    _refused: set[bytes] | None = None

    async def run(self) -> None:
        """Seal every `interval` seconds, sooner where much waits; until cancelled.

        Where sealing must stop, that is alarmed once; it is tried again, since a person may have mended it.
        """
        failing, stopped = 0.0, ""
        while True:
            try:
                while await self.seal() >= SEAL_MOST:
                    pass
                failing, stopped = 0.0, ""
            except OutcomeError as error:  # the database does not answer now
                self._tree = None
                failing += self.interval
                if failing - self.interval < STALLED_SECONDS <= failing:
                    await self.alarm(Alarm("sealing-stalled", error.issues[0].text))
            except (SealingStopped, DamagedLedger, BadKeyFile) as error:
                self._tree = None
                if str(error) != stopped:
                    stopped = str(error)
                    await self.alarm(Alarm("sealing-stopped", stopped))
            await asyncio.sleep(self.interval)

    async def seal(self) -> int:
        """Seal what waits, at most SEAL_MOST events; the number of events sealed.

        Raises SealingStopped, DamagedLedger, Unavailable.
        """
        if self._tree is None:
            await self._load()
        runs, leaves, nexts = await self._collect()
        if not leaves:
            return 0
        assert self._tree is not None  # noqa: S101 set by _load
        tree = self._tree.copy()
        tree.extend(leaves)
        seal = self._signed(tree, self._tree.size, tuple(runs))
        if not await self._publish(seal):
            self._tree = None  # another sealer was first: begin again after it
            return 0
        self._tree, self._last = tree, seal
        (self._nexts or {}).update(nexts)
        await StoredTree(self.ledger, tree.size).store_tiles()
        for hook in self.on_seal:
            await hook(seal)
        return len(leaves)

    # --- one checkpoint

    async def _collect(self) -> tuple[list[Run], list[bytes], dict[bytes, tuple[int, bytes]]]:
        """The good runs that wait, writers in byte order; their leaf hashes; where each writer then stands."""
        nexts, refused = await self._writers()
        waiting = await self.ledger.waiting({w: place[0] for w, place in nexts.items() if w not in refused})
        size = self._tree.size if self._tree else 0
        runs: list[Run] = []
        leaves: list[bytes] = []
        after: dict[bytes, tuple[int, bytes]] = {}
        for w in sorted(waiting):
            room = min(RUN_MOST, SEAL_MOST - len(leaves))
            if room <= 0:
                break
            s, p = nexts[w]
            good, fault = self._good(await self.ledger.run(w, s, room), s, p)
            if good:
                runs.append(Run(w, s, len(good), size + len(leaves)))
                leaves += [event.h for event in good]
                after[w] = (s + len(good), good[-1].h)
            if fault:
                refused.add(w)
                await self.ledger.refuse_writer(w, s + len(good), fault, self.clock())
                await self.alarm(
                    Alarm(
                        "integrity", f"writer {w.hex()}: {fault} at sequence {s + len(good)}; left unsealed"
                    )
                )
        return runs, leaves, after

    def _good(self, events: Sequence[Recorded], s: int, p: bytes) -> tuple[list[Recorded], str]:
        """The events up to the first that is not in order, and what is wrong with that one."""
        good: list[Recorded] = []
        key = self.keys.ingest_key()
        for event in events:
            if event.s != s:
                return good, "an event is missing"
            if event.p != p:
                return good, "an event does not follow the one before it"
            if leaf(entry(event.w, s, p, event.raw)) != event.h:
                return good, "an event was modified"
            if not is_authentic(key, event.h, event.mac):
                return good, "an event was not recorded by this server"
            good.append(event)
            s, p = s + 1, event.h
        return good, ""

    async def _writers(self) -> tuple[dict[bytes, tuple[int, bytes]], set[bytes]]:
        nexts = self._nexts if self._nexts is not None else {}
        refused = self._refused if self._refused is not None else set()
        for w in await self.ledger.writers():
            if w not in nexts:
                s = await self.ledger.next_of(w)
                nexts[w] = (s, await self._leaf_of(w, s - 1) if s else START)
        self._nexts, self._refused = nexts, refused
        return nexts, refused

    async def _leaf_of(self, w: bytes, s: int) -> bytes:
        """The leaf hash of a sealed event; the event itself may have been purged."""
        events = await self.ledger.between(w, s, s + 1)
        if events:
            return events[0].h
        place = await self.ledger.place(w, s)
        if place is None or self._tree is None:
            raise DamagedLedger(f"the last sealed event of writer {w.hex()} is missing")
        return await StoredTree(self.ledger, self._tree.size).complete(0, place)

    def _signed(self, tree: merkle.Tree, prev: int, runs: tuple[Run, ...]) -> Seal:
        moment = datetime.fromtimestamp(self.clock() // 1_000_000, UTC)
        checkpoint = Checkpoint(self.keys.origin, tree.size, tree.root(), f"{moment:%Y-%m-%dT%H:%M:%SZ}")
        return Seal(tree.size, prev, runs, sign(checkpoint.text(), self.keys.signers()))

    async def _publish(self, seal: Seal) -> bool:
        state = self._state or State.read(self.state_file)
        state.pending = seal
        await asyncio.to_thread(state.write)
        done = await self.ledger.publish(seal)
        if done:
            state.published = seal.note
        state.pending = None
        await asyncio.to_thread(state.write)
        if done and len(self.keys.signers()) > 1:
            self.keys.end_rotation(seal.size)
            await self.on_rotation(self.keys.signers()[0].verifier.vkey(), seal.size)
        return done

    # --- the state to begin from

    async def _load(self) -> None:
        """Take up the newest checkpoint, after checking that it continues what this machine has published."""
        self._nexts = self._refused = None
        self.keys.known()  # writes keys.txt where it is missing
        self._state = state = State.read(self.state_file)
        last = await self.ledger.newest()
        size = last.size if last else 0
        tree = await StoredTree(self.ledger, size).peaks()
        if last is not None and _root_of(last.note, size, self.keys) != tree.root():
            raise SealingStopped("the newest checkpoint is not the root of the stored events")
        if state.published is not None:
            await self._check_continues(state.published, size)
        self._tree, self._last = tree, last
        if state.pending is not None and state.pending.prev == size:
            await self._republish(state.pending)
        await StoredTree(self.ledger, self._tree.size).store_tiles()

    async def _check_continues(self, published: str, size: int) -> None:
        known = Checkpoint.parse(split_note(published)[0])
        if known.size > size:
            raise SealingStopped(
                f"the database was set back: it ends at size {size}, but size {known.size} was sealed here before"
            )
        before = await StoredTree(self.ledger, size).peaks(known.size)
        if before.root() != known.root:
            raise SealingStopped(f"the events up to size {known.size} are not those that were sealed here")

    async def _republish(self, pending: Seal) -> None:
        """Publish what a sealer had written down when it died."""
        assert self._tree is not None  # noqa: S101 set by _load
        tree = self._tree.copy()
        for run in pending.runs:
            tree.extend(event.h for event in await self.ledger.between(run.w, run.s0, run.s0 + run.n))
        if tree.size != pending.size or tree.root() != _root_of(pending.note, pending.size, self.keys):
            raise SealingStopped(
                f"events that were about to be sealed (up to size {pending.size}) have changed"
            )
        if await self._publish(pending):
            self._tree, self._last = tree, pending


def _root_of(note: str, size: int, keys: KeyFiles) -> bytes:
    """The root that a trusted key has signed for `size`. Raises SealingStopped."""
    try:
        signers = trusted_signers(note, size, keys.known())
        checkpoint = Checkpoint.parse(split_note(note)[0])
    except BadNote as error:
        raise SealingStopped("the newest checkpoint is damaged") from error
    if not signers or checkpoint.origin != keys.origin or checkpoint.size != size:
        raise SealingStopped(
            "the newest checkpoint is not signed by a key of this server (keys.txt) for the origin of its settings"
        )
    return checkpoint.root


def _seal_to_json(seal: Seal) -> dict[str, Any]:
    runs = [[run.w.hex(), run.s0, run.n, run.i0] for run in seal.runs]
    return {"size": seal.size, "prev": seal.prev, "runs": runs, "note": seal.note}


def _seal_from_json(data: dict[str, Any]) -> Seal:
    runs = tuple(Run(bytes.fromhex(w), s0, n, i0) for w, s0, n, i0 in data["runs"])
    return Seal(data["size"], data["prev"], runs, data["note"])
