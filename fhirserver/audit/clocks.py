"""The clock of this machine, compared with others: the times in the log are worth what this clock is worth.

Source: RFC 5905 sections 6, 8 and 14 (a client that asks once, SNTP).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fhirserver.audit.disclosure.alerts import Alert
from fhirserver.outcome import OutcomeError

RULE = "clock-offset"
_TICK = 60.0
_LOG = logging.getLogger("fhirserver.audit")
_SECONDS = 2.0  # that an answer may take
_PORT = 123
_TO_1970 = 2_208_988_800  # seconds from 1900, NTP's epoch
_PACKET = struct.Struct(">BBbb3I4Q")
_CLIENT, _SERVER, _VERSION = 3, 4, 4
_UNSYNCHRONIZED = 3
Clock = Callable[[], int]


class NoTime(Exception):
    """The other clock does not answer, or answers that it does not know the time."""


@dataclass(frozen=True, slots=True)
class Offset:
    """How far another clock is ahead of ours, and how wrong that may be; microseconds."""

    ahead: int
    error: int


Source = Callable[[], Awaitable[Offset]]


def of_database(ask: Callable[[], Awaitable[int]], clock: Clock) -> Source:
    """Compares with a clock that is asked for its time. Raises OutcomeError where it does not answer."""

    async def compare() -> Offset:
        before = clock()
        theirs = await ask()
        after = clock()
        return Offset(theirs - (before + after) // 2, (after - before) // 2 + 1000)

    return compare


def of_ntp(server: str, clock: Clock) -> Source:
    """Compares with an NTP server, `host` or `host:port`. Raises NoTime."""
    host, _, port = server.partition(":")

    async def compare() -> Offset:
        try:
            async with asyncio.timeout(_SECONDS):
                return await _asked(host, int(port or _PORT), clock)
        except (OSError, TimeoutError, ValueError) as error:
            raise NoTime(server) from error

    return compare


async def _asked(host: str, port: int, clock: Clock) -> Offset:
    answer: asyncio.Future[tuple[bytes, int]] = asyncio.get_running_loop().create_future()

    class Protocol(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            if not answer.done():
                answer.set_result((data, clock()))

        def error_received(self, exc: Exception) -> None:
            if not answer.done():
                answer.set_exception(exc)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Protocol, remote_addr=(host, port))
    mark = secrets.randbits(64)  # instead of our time: nobody who does not see it can answer
    try:
        sent = clock()
        transport.sendto(_PACKET.pack(_VERSION << 3 | _CLIENT, 0, 0, 0, 0, 0, 0, 0, 0, 0, mark))
        data, got = await answer
    finally:
        transport.close()
    return _offset(data, mark, sent, got)


def _offset(data: bytes, mark: int, sent: int, got: int) -> Offset:
    if len(data) < _PACKET.size:
        raise ValueError(len(data))
    first, stratum, *_, origin, received, answered = _PACKET.unpack(data[: _PACKET.size])
    is_good = first & 7 == _SERVER and first >> 6 != _UNSYNCHRONIZED and 1 <= stratum <= 15
    if not is_good or origin != mark or not answered:
        raise ValueError(stratum)
    arrived, left = _microseconds(received), _microseconds(answered)
    ahead = (arrived - sent + left - got) // 2
    return Offset(ahead, max(0, (got - sent) - (left - arrived)) // 2 + 1)


def _microseconds(stamp: int) -> int:
    """An NTP time as microseconds since 1970."""
    return (stamp * 1_000_000 >> 32) - _TO_1970 * 1_000_000


@dataclass(frozen=True, slots=True)
class ClockWatch:
    """Compares the clock of this machine. `sources`: other clocks by name. `limit`: seconds that it may be off."""

    sources: Mapping[str, Source]
    limit: float
    put: Callable[[Sequence[Alert]], Awaitable[list[Alert]]]
    clock: Clock
    machine: str
    _silent: set[str] = field(default_factory=set)

    async def run(self) -> None:
        """Compare once a minute; for ever, until cancelled."""
        while True:
            with suppress(OutcomeError):
                await self.compare()
            await asyncio.sleep(_TICK)

    async def compare(self) -> list[Alert]:
        """Compare now; the alerts that were raised anew. Raises Unavailable where they cannot be recorded."""
        found = []
        for name, source in self.sources.items():
            try:
                offset = await source()
            except (OutcomeError, NoTime):  # what does not answer says nothing of our clock
                if name not in self._silent:
                    self._silent.add(name)
                    _LOG.warning("another clock does not answer: %s", name)
                continue
            self._silent.discard(name)
            if abs(offset.ahead) - offset.error > self.limit * 1_000_000:
                found.append(self._alert(name, offset))
        return await self.put(found) if found else []

    def _alert(self, name: str, offset: Offset) -> Alert:
        at = datetime.fromtimestamp(self.clock() / 1_000_000, UTC)
        seconds = f"{abs(offset.ahead) / 1_000_000:.1f}"
        figures = (("seconds", seconds), ("source", name), ("most", f"{self.limit:g}"))
        return Alert(RULE, f"{self.machine} ({name})", at, figures)
