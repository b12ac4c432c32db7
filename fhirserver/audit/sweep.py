"""The sweeper: what a write still owes the log, because its process died or could not wait, is made up for.

Each version says which events it owes (`au`); one worker looks at versions that are old enough for their events to be
stored, and makes those that are not. It also tells of processes that ended without a word. Source:
docs/explanation/audit.md
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fhirserver.audit.event import Event
from fhirserver.audit.rest import RestEvents
from fhirserver.audit.system import SystemEvents, lost_id, stop_id
from fhirserver.outcome import OutcomeError
from fhirserver.store.audit import AuditLog
from fhirserver.store.leases import Leases
from fhirserver.store.owed import OwedVersions

GRACE = 30_000_000  # microseconds until the events of a write must be stored
EVERY = 30.0  # seconds between two sweeps
ALIVE_SECONDS = 60.0
_LOG = logging.getLogger("fhirserver.audit")
Commit = Callable[[Sequence[Event]], Awaitable[None]]


@dataclass(slots=True)
class Sweeper:
    """Sweeps one database. `clock`: microseconds since 1970. `grace`: age from which a version is looked at."""

    log: AuditLog
    owed: OwedVersions
    events: RestEvents
    system: SystemEvents
    commit: Commit
    leases: Leases
    clock: Callable[[], int]
    grace: int = GRACE
    _closed: set[bytes] = field(default_factory=set)

    async def run(self) -> None:
        """Sweep now and again, for ever; what fails is tried in the next round."""
        while True:
            with suppress(OutcomeError):
                await self.sweep()
                await self.find_lost_once()
            await asyncio.sleep(EVERY)

    async def sweep(self) -> int:
        """Make the missing events of all versions since the last sweep; how many. Raises OutcomeError."""
        until = self.clock() - self.grace
        made = 0
        async for batch in self.owed.batches(until):
            known = await self.log.known([id for owing in batch for id, _ in owing.version.events])
            missing = [
                event
                for owing in batch
                if any(id not in known for id, _ in owing.version.events)
                for event in self.events.of_write(owing.record, owing.version, recovered=True)
                if event.id not in known
            ]
            if missing:
                _LOG.warning("audit events recovered", extra={"count": len(missing)})
                await self.commit(missing)
                made += len(missing)
        await self.owed.done(until)
        return made

    async def find_lost_once(self) -> None:
        """The same as find_lost, unless another worker is at it. Raises OutcomeError."""
        if await self.leases.take("audit-lost", EVERY):
            await self.find_lost()
            await self.leases.release("audit-lost")

    async def find_lost(self) -> int:
        """Tell of processes that ended without a word; how many. Raises OutcomeError."""
        writers = [row for row in await self.log.writers() if row["_id"] not in self._closed]
        known = await self.log.known([make(row["_id"]) for row in writers for make in (stop_id, lost_id)])
        lost = 0
        for row in writers:
            writer: bytes = row["_id"]
            if {stop_id(writer), lost_id(writer)} & known:
                self._closed.add(writer)
            elif not await self._is_alive(row):
                await self.commit([self.system.lost(writer)])
                self._closed.add(writer)
                lost += 1
        return lost

    async def _is_alive(self, row: dict[str, Any]) -> bool:
        """Whether the process of a writer runs: on this machine by its number and start, elsewhere by its lease."""
        if row.get("host") == socket.gethostname() and row.get("began") is not None:
            return bool(process_start(row["pid"]) == row["began"])
        return await self.leases.holder(lease_name(row["_id"])) is not None


def about_process() -> dict[str, Any]:
    """What a writer's registration tells of its process."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "began": process_start(os.getpid())}


def process_start(pid: int) -> str | None:
    """When the kernel started process `pid`, in its own ticks; None where there is none. Source: proc(5)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


def lease_name(writer: bytes) -> str:
    """The lease that shows that a writer's process is alive."""
    return f"audit-writer/{writer.hex()}"
