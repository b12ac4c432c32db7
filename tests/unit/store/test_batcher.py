"""Group commit: what waits together travels together, and nobody suffers from another's fate."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from fhirserver.outcome import Conflict, Unavailable
from fhirserver.store.batcher import Batcher

pytestmark = pytest.mark.anyio


class Flusher:
    """Records its batches; each waits until `gate` opens."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.called = asyncio.Event()
        self.under_way = 0
        self.most_under_way = 0

    async def __call__(self, items: list[int]) -> Sequence[int | Exception]:
        self.batches.append(items)
        self.called.set()
        self.under_way += 1
        self.most_under_way = max(self.under_way, self.most_under_way)
        await self.gate.wait()
        self.under_way -= 1
        return [Conflict("odd", code="odd") if item == 13 else item * 10 for item in items]


async def test_what_arrives_during_a_flush_becomes_the_next_one() -> None:
    flush, sizes = Flusher(), []
    batcher = Batcher("test", flush, on_batch=lambda name, items, seconds: sizes.append((name, items)))
    first = asyncio.create_task(batcher.submit(1))
    await flush.called.wait()
    rest = [asyncio.create_task(batcher.submit(number)) for number in (2, 3, 4)]
    await asyncio.sleep(0)
    assert flush.batches == [[1]]
    flush.gate.set()
    assert await asyncio.gather(first, *rest) == [10, 20, 30, 40]
    assert flush.batches == [[1], [2, 3, 4]]
    assert sizes == [("test", 1), ("test", 3)]


async def test_an_error_of_one_item_is_its_own() -> None:
    flush = Flusher()
    flush.gate.set()
    batcher = Batcher("test", flush)
    results = await asyncio.gather(*(batcher.submit(n) for n in (12, 13, 14)), return_exceptions=True)
    assert results[0::2] == [120, 140]
    assert isinstance(results[1], Conflict)


async def test_what_the_flush_raises_is_each_waiters_own_copy() -> None:
    async def fail(_: list[int]) -> Sequence[int]:
        raise Unavailable("down", code="database-unavailable", retry_after=1)

    batcher = Batcher("test", fail)
    one, other = await asyncio.gather(batcher.submit(1), batcher.submit(2), return_exceptions=True)
    assert isinstance(one, Unavailable)
    assert isinstance(other, Unavailable)
    assert one is not other
    assert (one.retry_after, one.issues[0].code) == (1, "database-unavailable")
    with pytest.raises(Unavailable):
        await batcher.submit(3)


async def test_a_cancelled_waiter_harms_neither_the_flush_nor_its_neighbours() -> None:
    flush = Flusher()
    batcher = Batcher("test", flush)
    flying, neighbour = asyncio.create_task(batcher.submit(1)), asyncio.create_task(batcher.submit(2))
    await flush.called.wait()
    waiting, next = asyncio.create_task(batcher.submit(3)), asyncio.create_task(batcher.submit(4))
    await asyncio.sleep(0)
    flying.cancel()
    waiting.cancel()
    flush.gate.set()
    assert await neighbour == 20
    assert await next == 40
    gone = await asyncio.gather(flying, waiting, return_exceptions=True)
    assert [type(each) for each in gone] == [asyncio.CancelledError] * 2
    assert flush.batches == [[1, 2], [3, 4]], "what was submitted is flushed even if nobody waits for it"
    assert await batcher.submit(5) == 50


async def test_batches_are_bounded_by_number_and_by_weight() -> None:
    flush = Flusher()
    flush.gate.set()
    batcher = Batcher("test", flush, most=3, weigh=lambda item: item, heaviest=10)
    await asyncio.gather(*(batcher.submit(number) for number in (1, 2, 3, 4, 9, 50, 1)))
    assert flush.batches == [[1, 2, 3], [4], [9], [50], [1]]


async def test_a_full_queue_refuses_instead_of_growing() -> None:
    flush = Flusher()
    batcher = Batcher("test", flush, queue=2)
    tasks = [asyncio.create_task(batcher.submit(1))]
    await flush.called.wait()
    tasks += [asyncio.create_task(batcher.submit(number)) for number in (2, 3)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable) as caught:
        await batcher.submit(4)
    assert caught.value.issues[0].code == "busy"
    flush.gate.set()
    assert await asyncio.gather(*tasks) == [10, 20, 30]


async def test_no_more_flushes_are_under_way_than_allowed() -> None:
    flush = Flusher()
    batcher = Batcher("test", flush, flights=2, most=1)
    tasks = [asyncio.create_task(batcher.submit(number)) for number in range(5)]
    await flush.called.wait()
    flush.gate.set()
    await asyncio.gather(*tasks)
    assert flush.most_under_way == 2


async def test_a_flush_beside_others_waits_until_it_is_worth_it() -> None:
    flush = Flusher()
    batcher = Batcher("test", flush, flights=2, worth=3)
    tasks = [asyncio.create_task(batcher.submit(1))]
    await flush.called.wait()
    tasks += [asyncio.create_task(batcher.submit(number)) for number in (2, 3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert flush.batches == [[1]]
    tasks.append(asyncio.create_task(batcher.submit(4)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert flush.batches == [[1], [2, 3, 4]]
    flush.gate.set()
    assert await asyncio.gather(*tasks) == [10, 20, 30, 40]


async def test_drain_waits_for_all_that_was_accepted() -> None:
    flush = Flusher()
    batcher = Batcher("test", flush)
    task = asyncio.create_task(batcher.submit(1))
    await flush.called.wait()
    asyncio.get_running_loop().call_soon(flush.gate.set)
    await batcher.drain()
    assert await task == 10
