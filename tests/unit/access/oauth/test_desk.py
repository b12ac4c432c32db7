"""Between HTTP and the logic: what is to be audited is recorded before the answer; slow hosts hold nobody up."""

from __future__ import annotations

import threading
from typing import Any

import anyio
import pytest
from starlette.requests import Request

from fhirserver.access.oauth.buckets import Buckets
from fhirserver.access.oauth.parts import Visit
from fhirserver.context import AuthEvent
from fhirserver.http.oauth_desk import THREADS, Desk
from fhirserver.outcome import Unavailable

REQUEST = Request({"type": "http", "client": ("192.0.2.7", 1), "headers": []})
NOBODY: Any = None


def a_desk(on_event: Any) -> Desk:
    return Desk(NOBODY, NOBODY, NOBODY, NOBODY, Buckets(1000), on_event)


def test_events_are_recorded_before_the_answer_also_when_the_work_fails() -> None:
    recorded: list[AuthEvent] = []

    async def record(event: AuthEvent) -> None:
        recorded.append(event)

    def refuse(visit: Visit) -> None:
        visit.note("login-failed", error="wrong")
        raise KeyError

    async def ask() -> None:
        desk = a_desk(record)
        assert await desk.run(REQUEST, lambda visit: visit.note("login", user="u")) is None
        assert recorded == [AuthEvent("login", user="u", address="192.0.2.7")]
        with pytest.raises(KeyError):
            await desk.run(REQUEST, refuse)
        assert recorded[1].error == "wrong"

    anyio.run(ask)


def test_without_its_record_nothing_is_answered() -> None:
    async def broken(event: AuthEvent) -> None:
        raise Unavailable("no audit", code="audit-unavailable")

    async def ask() -> None:
        with pytest.raises(Unavailable):
            await a_desk(broken).run(REQUEST, lambda visit: visit.note("token-issued"))
        assert await a_desk(broken).run(REQUEST, lambda visit: 7) == 7

    anyio.run(ask)


def test_blocked_work_holds_up_neither_the_loop_nor_other_threads() -> None:
    gate = threading.Event()

    async def ask() -> None:
        desk = a_desk(broken_never)
        async with anyio.create_task_group() as group:
            for _ in range(THREADS):
                group.start_soon(desk.run, REQUEST, lambda visit: gate.wait(30))
            assert await anyio.to_thread.run_sync(lambda: 7) == 7
            while desk.limiter.borrowed_tokens < THREADS:
                await anyio.lowlevel.checkpoint()
            gate.set()

    anyio.run(ask)


async def broken_never(event: AuthEvent) -> None:
    """Takes every event."""
