"""The committer of a worker: whoever hands it events goes on when they are durable, and not before.

What waits together is inserted together, one call at a time, so that this writer's chain becomes visible in order.
Nothing is delayed on purpose: a batch is what came in during the call before. Where the database does not confirm in
time, the caller is refused (`audit.on_failure=closed`) or the events go to a local file (`spool`); there is no way
to answer without a durable record. Source: docs/explanation/audit.md
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from fhirserver.audit.chain import Chain
from fhirserver.audit.event import Event
from fhirserver.outcome import IssueCode, OutcomeError, Unavailable
from fhirserver.store.batcher import Batcher, OnBatch, ignore_batch

MOST_REQUESTS = 500  # in one insert
HEAVIEST = 4 * 2**20  # bytes of events in one insert
WORTH_A_FLIGHT = 16  # requests that a further insert must bring while another is under way
HEAVIEST_QUEUE = 32 * 2**20  # bytes of events that wait
_SIZE_BESIDE = 2048  # bytes of a document beside its event
_LOG = logging.getLogger("fhirserver.audit")
Keep = Callable[[Sequence[Event]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Bounds:
    """`timeout`: seconds until a caller is refused. `events`: most that may wait."""

    timeout: float = 2.0
    events: int = 10_000


class Recorder:
    """Records events through `chains`: while one waits for its batch to be durable, another may send the next.

    `keep`: where they go while the log fails; None: callers are refused. `on_stop`: the event that tells, in the spool,
    that the log has failed.
    """

    def __init__(
        self,
        chains: Sequence[Chain],
        bounds: Bounds,
        *,
        keep: Keep | None = None,
        on_stop: Callable[[bytes], Event] | None = None,
        on_batch: OnBatch = ignore_batch,
    ) -> None:
        self.chains = tuple(chains)
        self._idle = list(chains)
        self._bounds = bounds
        self._keep = keep
        self._on_stop = on_stop
        self._events = 0
        self._bytes = 0
        self._stop_told = False
        self._later: set[asyncio.Task[None]] = set()
        self.failing_since: float | None = None
        self.failed_for = 0.0  # seconds of the outages that are over, until somebody tells of them
        self._batcher: Batcher[Sequence[Event], bool] = Batcher(
            "audit", self._flush, most=MOST_REQUESTS, heaviest=HEAVIEST, weigh=_weigh,
            flights=len(self.chains), worth=WORTH_A_FLIGHT, queue=bounds.events, on_batch=on_batch,
        )  # fmt: skip

    @property
    def is_failing(self) -> bool:
        """True from the first failure until events are stored again."""
        return self.failing_since is not None

    async def record(self, events: Sequence[Event]) -> None:
        """Come back when all `events` are durable. Raises Unavailable: they are not, or nobody knows.

        A caller that gives up loses only its own answer: what was handed over is still recorded.
        """
        if not events:
            return
        if self._keep is not None and self.is_failing:
            await self._spool(self._keep, events)
            return
        try:
            await self.commit(events)
        except OutcomeError:
            if self._keep is None:
                raise
            await self._spool(self._keep, events)

    async def _spool(self, keep: Keep, events: Sequence[Event]) -> None:
        first = []
        if self._on_stop is not None and not self._stop_told:
            self._stop_told = True
            first.append(self._on_stop(self.chains[0].writer))
        await keep([*first, *events])

    async def commit(self, events: Sequence[Event]) -> None:
        """The same through the log only."""
        weight = _weigh(events)
        if self._events + len(events) > self._bounds.events or self._bytes + weight > HEAVIEST_QUEUE:
            raise refusal(IssueCode.THROTTLED)
        self._events += len(events)
        self._bytes += weight
        try:
            async with asyncio.timeout(self._bounds.timeout):
                await self._batcher.submit(events)
        except (TimeoutError, OutcomeError) as error:
            if self.failing_since is None:
                self.failing_since = time.monotonic()
                _LOG.error("audit events cannot be stored")
            raise refusal() from error

    def submit(self, events: Sequence[Event]) -> None:
        """Record in the background, for an answer that gives nothing out because the store does not answer."""
        task = asyncio.get_running_loop().create_task(self._try(events), name="audit later")
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def _try(self, events: Sequence[Event]) -> None:
        with suppress(OutcomeError):
            await self.record(events)

    async def drain(self) -> None:
        """Wait until all that was handed over is stored or has failed."""
        while self._later:
            await asyncio.wait(self._later)
        await self._batcher.drain()

    async def _flush(self, batch: list[Sequence[Event]]) -> list[bool]:
        events = [event for each in batch for event in each]
        chain = self._idle.pop()
        try:
            await chain.append(events)
        finally:
            self._idle.append(chain)
            self._events -= len(events)
            self._bytes -= sum(map(_weigh, batch))
        if self.failing_since is not None:
            _LOG.warning("audit events are stored again")
            self.failed_for += time.monotonic() - self.failing_since
            self.failing_since = None
            self._stop_told = False
        return [True] * len(batch)


def refusal(issue_code: IssueCode = IssueCode.NO_STORE) -> Unavailable:
    """The answer in place of one whose events are not durable."""
    return Unavailable(
        "The access could not be recorded, so nothing is answered; try again.",
        code="audit-unavailable",
        issue_code=issue_code,
        retry_after=1,
    )


def _weigh(events: Sequence[Event]) -> int:
    return sum(len(event.raw) + _SIZE_BESIDE for event in events)
