"""Leases: one holder at a time, and another one when it gives up, dies or is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from fhirserver.jobs.leases import lead
from fhirserver.store import connect
from fhirserver.store.lanes import Database
from fhirserver.store.leases import LEASES, Leases
from tests.kit.teardown import ended

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def database(mongodb_uri: str, database_name: str, anyio_backend: str) -> AsyncIterator[Database]:
    client = connect(mongodb_uri)
    yield client[database_name]
    await ended(client.close())


async def end(database: Database, name: str) -> None:
    """As if the holder had not been heard of for long."""
    await database[LEASES].update_one({"_id": name}, [{"$set": {"until": {"$subtract": ["$$NOW", 1]}}}])


async def test_of_two_holders_one_has_the_lease_until_it_ends_or_is_given_up(database: Database) -> None:
    one, two = Leases(database, "one"), Leases(database, "two")
    assert await one.take("seal", 60)
    assert await one.take("seal", 60)  # renewed
    assert not await two.take("seal", 60)
    assert await two.take("other", 60)
    assert await two.holder("seal") == "one"
    await two.release("seal")  # not its own
    assert not await two.take("seal", 60)
    await end(database, "seal")
    assert await two.holder("seal") is None
    assert await two.take("seal", 60)
    assert not await one.take("seal", 60)
    await two.release("seal")
    assert await one.take("seal", 60)


async def test_of_many_that_come_at_once_one_gets_the_lease(database: Database) -> None:
    for _ in range(5):
        answers = await asyncio.gather(*(Leases(database, f"h{n}").take("seal", 60) for n in range(8)))
        assert sum(answers) == 1
        await database[LEASES].delete_many({})


class Work:
    """Counts how often it runs at the same time."""

    def __init__(self) -> None:
        self.running = self.most = self.begun = 0
        self.started = asyncio.Event()
        self.ended = asyncio.Event()

    async def __call__(self) -> None:
        self.running += 1
        self.begun += 1
        self.most = max(self.most, self.running)
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.running -= 1
            self.ended.set()


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_work_is_done_by_one_and_taken_over_when_its_worker_ends(database: Database) -> None:
    work = Work()
    tasks = [asyncio.create_task(lead(Leases(database, f"h{n}"), "job", work, seconds=0.3)) for n in range(2)]
    async with asyncio.timeout(20):
        await work.started.wait()
        await asyncio.sleep(0)
        assert work.running == 1
        work.started.clear()
        leader = await Leases(database, "looker").holder("job")
        await stop(tasks.pop(0 if leader == "h0" else 1))
        await work.started.wait()
    assert (work.most, work.begun) == (1, 2)
    await stop(tasks[0])
    assert work.running == 0


async def test_work_ends_when_its_lease_is_lost(database: Database) -> None:
    work = Work()
    task = asyncio.create_task(lead(Leases(database, "one"), "job", work, seconds=0.3))
    async with asyncio.timeout(20):
        await work.started.wait()
        await database[LEASES].update_one(
            {"_id": "job"}, [{"$set": {"holder": "two", "until": {"$add": ["$$NOW", 60_000]}}}]
        )
        await work.ended.wait()
    assert await Leases(database, "two").holder("job") == "two"
    await stop(task)


async def test_work_that_fails_is_begun_again(database: Database) -> None:
    begun = asyncio.Semaphore(0)

    async def fail() -> None:
        begun.release()
        raise RuntimeError("fault in the work")

    task = asyncio.create_task(lead(Leases(database, "one"), "job", fail, seconds=0.1))
    async with asyncio.timeout(20):
        await begun.acquire()
        await begun.acquire()
    await stop(task)


async def test_it_stops_also_while_work_that_lost_its_lease_is_ending(database: Database) -> None:
    ending, may_end = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            await may_end.wait()

    task = asyncio.create_task(lead(Leases(database, "one"), "job", work, seconds=0.3))
    async with asyncio.timeout(20):
        while await Leases(database, "two").holder("job") != "one":  # noqa: ASYNC110  - the database cannot tell us
            await asyncio.sleep(0.01)
        await database[LEASES].update_one(
            {"_id": "job"}, [{"$set": {"holder": "two", "until": {"$add": ["$$NOW", 60_000]}}}]
        )
        await ending.wait()
    task.cancel()
    asyncio.get_running_loop().call_soon(may_end.set)
    ended, _ = await asyncio.wait([task], timeout=5)
    assert task in ended
