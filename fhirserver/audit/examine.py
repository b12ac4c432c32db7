"""Looking at the events of many runs, apart from the log around them: in this process, or in several side by side.

What comes out is the same (audit/stretches.py); a run that nobody could look at has no Stretch and is looked at by the
verification itself.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from fhirserver.audit.index_check import IndexCheck
from fhirserver.audit.stretches import Stretch, Stretches, stretch_of
from fhirserver.audit.verify_leaves import IndexFaults
from fhirserver.outcome import OutcomeError
from fhirserver.store.ledger import Ledger, Recorded, Run
from fhirserver.store.ledger_reader import LedgerReader


class Examiner(Protocol):
    """Looks at runs. `ahead`: how many windows of them it can use at a time."""

    ahead: int

    async def __call__(self, runs: Sequence[Run]) -> Stretches:
        """The Stretch of each run in which nothing is doubtful. Raises OutcomeError."""


class Here:
    """Looks at runs in a thread of this process: a server verifies beside its requests."""

    ahead = 1

    def __init__(self, ledger: Ledger, index_faults: IndexFaults | None) -> None:
        self._ledger = ledger
        self._index_faults = index_faults

    async def __call__(self, runs: Sequence[Run]) -> Stretches:
        """As Examiner."""
        found: dict[Run, Stretch] = {}
        for w, low, high, mine in _spans(runs):
            whole = self._index_faults is not None
            events = await self._ledger.between(w, low, high, whole=whole)
            found |= await asyncio.to_thread(_stretches, mine, events, self._index_faults)
        return found


@dataclass(frozen=True, slots=True)
class Source:
    """Where other processes find the events. `uri`: of the MongoDB. `tenant`, `fhir_base`: of the search fields to check.

    `index`: whether these are checked.
    """

    uri: str
    database: str
    tenant: str
    fhir_base: str
    index: bool


class Side:
    """Looks at runs in `count` processes of its own, while the context lasts."""

    def __init__(self, source: Source, count: int) -> None:
        self.ahead = count + 1
        self._pool = ProcessPoolExecutor(
            count, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(source,)
        )

    def __enter__(self) -> Side:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    async def __call__(self, runs: Sequence[Run]) -> Stretches:
        """As Examiner. Where the processes end, nobody has looked."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, _examine, list(runs))
        except BrokenProcessPool:
            return {}


_PROCESS: list[tuple[LedgerReader, IndexCheck | None]] = []  # what a process of Side works with


def _begin(source: Source) -> None:
    check = IndexCheck.of(source.tenant, source.fhir_base) if source.index else None
    _PROCESS.append((LedgerReader(source.uri, source.database), check))
    gc.collect()
    gc.freeze()  # what was loaded stays, and need not be looked through again


def _examine(runs: Sequence[Run]) -> dict[Run, Stretch]:
    (reader, check) = _PROCESS[0]
    found: dict[Run, Stretch] = {}
    try:
        for w, low, high, mine in _spans(runs):
            found |= _stretches(mine, reader.between(w, low, high, whole=check is not None), check)
    except OutcomeError:  # whoever asked looks itself, and says what is in the way
        return {}
    return found


def _spans(runs: Iterable[Run]) -> Iterator[tuple[bytes, int, int, list[Run]]]:
    """For each writer of `runs` the range of sequences that they cover, and those runs, in order."""
    by_writer: dict[bytes, list[Run]] = {}
    for run in runs:
        by_writer.setdefault(run.w, []).append(run)
    for w, mine in by_writer.items():
        mine.sort(key=_start)
        yield w, mine[0].s0, max(run.s0 + run.n for run in mine), mine


def _start(run: Run) -> int:
    return run.s0


def _stretches(
    runs: Sequence[Run], events: Sequence[Recorded], index_faults: IndexFaults | None
) -> dict[Run, Stretch]:
    """The Stretches of one writer's `runs`, out of its `events`; both in order."""
    found: dict[Run, Stretch] = {}
    at = 0
    for run in runs:
        while at < len(events) and events[at].s < run.s0:
            at += 1
        end = at
        while end < len(events) and events[end].s < run.s0 + run.n:
            end += 1
        stretch = stretch_of(run, events[at:end], index_faults)
        if stretch is not None:
            found[run] = stretch
        at = end
    return found
