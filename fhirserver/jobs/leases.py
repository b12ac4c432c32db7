"""Leading: of all workers, one at a time does a piece of work; any of them may die at any time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from fhirserver.jobs.ending import end
from fhirserver.outcome import OutcomeError
from fhirserver.store.leases import Leases

LEASE_SECONDS = 15.0

_log = logging.getLogger(__name__)


async def lead(
    leases: Leases, name: str, work: Callable[[], Awaitable[None]], *, seconds: float = LEASE_SECONDS
) -> None:
    """Do `work` whenever the lease `name` is ours; for ever, until cancelled.

    `work` runs until it is cancelled, which happens when the lease is lost; it is started again with the lease. What
    it raises is logged, and the lease is given up. A database that does not answer counts as a lost lease.
    `seconds`: how long a dead holder keeps others waiting.
    """
    while True:
        if await _take(leases, name, seconds):
            await _hold(leases, name, work, seconds)
        await asyncio.sleep(seconds / 3)


async def _hold(leases: Leases, name: str, work: Callable[[], Awaitable[None]], seconds: float) -> None:
    task = asyncio.ensure_future(work())
    try:
        while not task.done():
            await asyncio.wait([task], timeout=seconds / 3)
            if not task.done() and not await _take(leases, name, seconds):
                _log.warning("lease lost", extra={"job": name})
                break
    finally:
        try:
            await end([task])
        finally:
            if (
                not task.cancelled() and (error := task.exception()) is not None
            ):  # begun again with the next lease
                _log.error("leased work failed", extra={"job": name}, exc_info=error)
            with suppress(OutcomeError):
                await leases.release(name)


async def _take(leases: Leases, name: str, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds / 3):
            return await leases.take(name, seconds)
    except (OutcomeError, TimeoutError):
        return False
