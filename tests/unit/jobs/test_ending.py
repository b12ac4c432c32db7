"""Tasks are ended also where a cancellation is lost on its way, as the driver loses some."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from fhirserver.jobs.ending import end

pytestmark = pytest.mark.anyio


async def losing(times: int) -> None:
    """A loop that loses its first cancellations."""
    for _ in range(times):
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    await asyncio.Event().wait()


async def failing() -> None:
    raise ValueError


async def begun(*work: asyncio.Task[None]) -> None:
    """Let the tasks run up to where they wait."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_tasks_end_although_a_cancellation_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhirserver.jobs.ending.AGAIN_SECONDS", 0.01)
    tasks = [asyncio.ensure_future(losing(times)) for times in (0, 1, 3)] + [asyncio.ensure_future(failing())]
    await begun(*tasks)
    await end(tasks)
    assert [task.cancelled() for task in tasks] == [True, True, True, False]
    assert isinstance(tasks[-1].exception(), ValueError)
    assert await end([]) == set()


async def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhirserver.jobs.ending.AGAIN_SECONDS", 0.01)
    stubborn = asyncio.ensure_future(losing(20))
    await begun(stubborn)
    assert await end([stubborn], 0.0) == {stubborn}
    await end([stubborn])
    assert stubborn.cancelled()


async def test_whoever_is_cancelled_while_it_ends_tasks_ends_them_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fhirserver.jobs.ending.AGAIN_SECONDS", 0.01)
    task = asyncio.ensure_future(losing(2))
    ending = asyncio.ensure_future(end([task]))
    await begun(task, ending)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert task.cancelled()
