"""The clock, compared with a real database and with an NTP server that tells what the test wants. security.md I7."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from fhirserver.audit.clocks import ClockWatch, NoTime, Source, of_database, of_ntp
from fhirserver.audit.disclosure.alerts import Alert
from fhirserver.outcome import OutcomeError, Unavailable
from fhirserver.store import connect
from fhirserver.store.clock import database_time

pytestmark = pytest.mark.anyio
SECOND = 1_000_000


def shifted(seconds: float = 0.0) -> int:
    """This machine's clock, off by so much."""
    return time.time_ns() // 1000 + round(seconds * SECOND)


@dataclass
class Book:
    raised: list[Alert] = field(default_factory=list)

    async def put(self, alerts: Sequence[Alert]) -> list[Alert]:
        self.raised += alerts
        return list(alerts)


async def compared(source: Source, clock: Any = shifted, name: str = "other") -> list[Alert]:
    return await ClockWatch({name: source}, 1.0, Book().put, clock, "server-1").compare()


@pytest.mark.parametrize(("off", "is_wrong"), [(60.0, True), (-60.0, True), (0.2, False), (-0.2, False)])
async def test_a_clock_that_is_off_the_databases_is_an_alert(
    mongodb_uri: str, off: float, *, is_wrong: bool
) -> None:
    client, clock = connect(mongodb_uri), partial(shifted, off)
    try:
        found = await compared(of_database(partial(database_time, client), clock), clock, "MongoDB")
    finally:
        await client.close()
    assert len(found) == is_wrong
    for alert in found:
        figures = dict(alert.figures)
        assert (alert.rule, alert.subject) == ("clock-offset", "server-1 (MongoDB)")
        assert (figures["source"], figures["most"]) == ("MongoDB", "1")
        assert 30 < float(figures["seconds"]) < 90


async def test_a_slow_answer_is_not_taken_for_a_wrong_clock() -> None:
    ticks = iter((0, 6 * SECOND, 6 * SECOND))

    async def ask() -> int:
        return 5 * SECOND  # true at its end, told when the question and the answer took six seconds

    assert await compared(of_database(ask, lambda: next(ticks))) == []


async def test_a_database_that_is_away_says_nothing_of_the_clock() -> None:
    async def ask() -> int:
        raise Unavailable("x", code="database-unavailable")

    source = of_database(ask, shifted)
    assert await compared(source) == []
    with pytest.raises(OutcomeError):
        await source()


@asynccontextmanager
async def an_ntp_server(**tells: Any) -> AsyncIterator[str]:
    """Answers with this machine's time and what `tells` changes of the packet."""

    class Protocol(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            stamp = ((shifted(tells.get("off", 0.0)) + 2_208_988_800 * SECOND) << 32) // SECOND
            origin = tells.get("origin", struct.unpack(">Q", data[40:48])[0])
            first = tells.get("leap", 0) << 6 | 4 << 3 | tells.get("mode", 4)
            answer = struct.pack(
                ">BBbb3I4Q",
                first,
                tells.get("stratum", 2),
                0,
                0,
                0,
                0,
                0,
                0,
                origin,
                stamp,
                tells.get("stamp", stamp),
            )
            self.transport.sendto(answer[: tells.get("length", 48)], addr)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Protocol, local_addr=("127.0.0.1", 0))
    try:
        yield f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    finally:
        transport.close()


@pytest.mark.parametrize(("off", "expected"), [(0.0, 0), (0.3, 0), (5.0, 1), (-5.0, 1)])
async def test_a_clock_that_is_off_an_ntp_servers_is_an_alert(off: float, expected: int) -> None:
    async with an_ntp_server(off=off) as server:
        assert len(await compared(of_ntp(server, shifted))) == expected


@pytest.mark.parametrize(
    "tells",
    [{"stratum": 0}, {"stratum": 16}, {"leap": 3}, {"mode": 3}, {"origin": 7}, {"length": 47}, {"stamp": 0}],
)
async def test_an_answer_that_is_none_is_not_believed(tells: dict[str, Any]) -> None:
    async with an_ntp_server(off=5.0, **tells) as server:
        with pytest.raises(NoTime):
            await of_ntp(server, shifted)()
        assert await compared(of_ntp(server, shifted)) == []


async def test_an_ntp_server_that_is_not_there_says_nothing() -> None:
    async with an_ntp_server() as server:
        pass
    assert await compared(of_ntp(server, shifted)) == []
    with pytest.raises(NoTime):
        await of_ntp("127.0.0.1:none", shifted)()
