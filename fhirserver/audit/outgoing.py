"""Feeds: the sealed events on their way to a receiver outside, each at least once, in the order of the ledger.

One machinery for every kind of receiver. A feed reads the ledger by index from a stored position, so it is never ahead of
what is durable and sealed; an outage delays and loses nothing. Source: docs/explanation/ledger.md
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fhirserver.audit.alarms import Alarm, Raise
from fhirserver.outcome import OutcomeError
from fhirserver.store.ledger import Ledger, Recorded
from fhirserver.store.positions import Positions

PATIENCE = 10.0
"""Seconds for connecting, and for the receiver to take what it was sent."""


class Broken(Exception):
    """The receiver does not take events now; the text says why, without anything of their content."""


class Line(Protocol):
    """A connection to a receiver. Both raise OSError, TimeoutError, Broken when it is of no use any more."""

    async def send(self, events: Sequence[Recorded], note: str | None) -> None:
        """Send `events`, and the checkpoint `note` that covers them, where there is one."""
        ...

    async def wait(self, seconds: float) -> None:
        """Let so many seconds pass; less where the receiver hangs up."""
        ...


class Outlet(Protocol):
    """A receiver. `name`: of its position, and its alarms. `batch`: events that are sent before it is kept.

    `confirms`: what was sent without a failure is safe there. Otherwise the position stays one batch behind, so that what
    was under way when a connection broke is sent again.
    """

    @property
    def name(self) -> str:
        """A short word."""
        ...

    @property
    def batch(self) -> int:
        """How many at a time."""
        ...

    @property
    def confirms(self) -> bool:
        """Whether it says that it has what was sent."""
        ...

    def connect(self) -> AbstractAsyncContextManager[Line]:
        """A line to it."""
        ...


@dataclass(slots=True)
class Feed:
    """Sends the sealed events of `ledger` to `outlet`. `interval`: seconds between looks for more, or tries."""

    ledger: Ledger
    positions: Positions
    outlet: Outlet
    alarm: Raise
    interval: float = 5.0
    _failing: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Send what is sealed; for ever, until cancelled. Each outage is alarmed once and waited out."""
        while True:
            try:
                await self.serve()
            except (OSError, TimeoutError, ssl.SSLError, OutcomeError, KeyError, Broken) as error:
                await self._failed(error)
            await asyncio.sleep(self.interval)

    async def serve(self) -> None:
        """Serve one connection until it breaks."""
        name = self.outlet.name
        at = await self.positions.get(name)
        async with self.outlet.connect() as line:
            while True:
                events, note = await self._next(at)
                if not events:
                    await line.wait(self.interval)
                    continue
                await line.send(events, note)
                self._failing = False
                taken = at + len(events)
                if self.outlet.confirms:
                    await self.positions.keep(name, taken)
                elif at:
                    await self.positions.keep(name, at)
                at = taken

    async def _next(self, at: int) -> tuple[Sequence[Recorded], str | None]:
        """The next events from leaf `at` on, and the newest checkpoint where they lead to it."""
        newest = await self.ledger.newest()
        if newest is None or newest.size <= at:
            return (), None
        end = min(at + self.outlet.batch, newest.size)
        return await self.ledger.at(at, end), newest.note if end == newest.size else None

    async def _failed(self, error: Exception) -> None:
        if self._failing:
            return
        self._failing = True
        why = str(error) if isinstance(error, Broken) else type(error).__name__
        await self.alarm(Alarm.of(f"{self.outlet.name}-feed", error=why))


def tls(ca_file: Path | None, cert_file: Path | None, key_file: Path | None) -> ssl.SSLContext:
    """TLS that checks the receiver's name and certificate. `ca_file`: what that must descend from, None: the system's.

    `cert_file`, `key_file`: our own certificate, where the receiver asks for one.
    """
    context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert_file is not None:
        context.load_cert_chain(str(cert_file), str(key_file) if key_file else None)
    return context
