"""Group commit: single operations that wait together travel together.

While one call to the database is in flight, what arrives is collected; when it ends, everything collected
becomes the next call. Nothing is delayed on purpose: a lone operation leaves at once.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from fhirserver.outcome import OutcomeError, Unavailable

Item = TypeVar("Item")
Answer = TypeVar("Answer")
OnBatch = Callable[[str, int, float], None]  # name, items, seconds


def ignore_batch(name: str, items: int, seconds: float) -> None:
    """The metric hook that does nothing."""


class Batcher(Generic[Item, Answer]):
    """Turns concurrent `submit(item)` into few calls of `flush(items)`.

    `flush` answers each item in order, with an Answer or an Exception for that item alone; what it raises is
    the answer of the whole batch. `most`: items in one call. `weigh`/`heaviest`: the same by size. `flights`:
    calls under way at once. `worth`: how many must wait for a call beside others. `queue`: waiting items, beyond
    which submit is refused as Unavailable. A caller that gives up (cancellation) loses only its own answer: what
    was submitted is still flushed. Bound to the event loop of its first use.
    """

    def __init__(
        self,
        name: str,
        flush: Callable[[list[Item]], Awaitable[Sequence[Answer | Exception]]],
        *,
        most: int = 500,
        heaviest: int = 24 * 2**20,
        weigh: Callable[[Item], int] | None = None,
        flights: int = 1,
        worth: int = 1,
        queue: int = 10_000,
        on_batch: OnBatch = ignore_batch,
    ) -> None:
        self._name = name
        self._flush = flush
        self._most = most
        self._heaviest = heaviest
        self._weigh = weigh
        self._flights = flights
        self._worth = worth
        self._queue = queue
        self._on_batch = on_batch
        self._waiting: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flying = (
            0  # counted in _run itself: a task stays in _tasks a moment after it has looked for work
        )

    async def submit(self, item: Item) -> Answer:
        """The answer of `flush` for `item`. Raises what flush raised, or Unavailable: the queue is full."""
        if len(self._waiting) >= self._queue:
            raise Unavailable("The server has too much to do now; try again.", code="busy", retry_after=1)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._flying < self._flights and (not self._flying or len(self._waiting) >= self._worth):
            self._fly()
        return await future

    async def drain(self) -> None:
        """Wait until everything that was submitted is answered."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _fly(self) -> None:
        task = asyncio.get_running_loop().create_task(self._run(), name=f"batcher {self._name}")
        self._flying += 1
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._run_batch()
        finally:
            self._flying -= 1

    async def _run_batch(self) -> None:
        batch = self._take()
        items = [item for item, _ in batch]
        start = time.perf_counter()
        answers: Sequence[Answer | Exception]
        try:
            answers = await self._flush(items)
            if len(answers) != len(items):
                raise RuntimeError(f"batcher {self._name}: {len(answers)} answers for {len(items)} items")
        except Exception as error:  # noqa: BLE001  - whatever it is, it is each waiter's to handle
            answers = [error] * len(items)
        except BaseException:
            for _, future in batch:
                future.cancel()
            raise
        self._on_batch(self._name, len(items), time.perf_counter() - start)
        _settle(batch, answers)

    def _take(self) -> list[tuple[Item, asyncio.Future[Answer]]]:
        if self._weigh is None and len(self._waiting) <= self._most:
            batch = list(self._waiting)
            self._waiting.clear()
            return batch
        batch, weight = [], 0
        while self._waiting and len(batch) < self._most:
            weight += self._weigh(self._waiting[0][0]) if self._weigh else 0
            if batch and weight > self._heaviest:
                break
            batch.append(self._waiting.popleft())
        return batch


def _settle(batch: list[tuple[Item, asyncio.Future[Answer]]], answers: Sequence[Answer | Exception]) -> None:
    for (_, future), answer in zip(batch, answers, strict=True):
        if future.done():  # its caller gave up
            continue
        if isinstance(answer, Exception):
            future.set_exception(_own(answer))
        else:
            future.set_result(answer)


def _own(error: Exception) -> Exception:
    """A copy for one waiter, so that each has its own traceback."""
    if not isinstance(error, OutcomeError):
        return error
    own = copy.copy(error)
    own.__cause__ = error.__cause__
    return own
