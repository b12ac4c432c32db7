"""Ending tasks that use the database: below Python 3.12 a single cancellation may be lost.

`asyncio.wait_for`, with which the driver sends, returns normally where it is cancelled in the moment in which it is done
(python/cpython issue 86296). A loop that was cancelled just then goes on for ever, and whoever waits for it too.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Collection
from typing import Any

AGAIN_SECONDS = 0.5


async def end(tasks: Collection[asyncio.Task[Any]], patience: float = math.inf) -> set[asyncio.Task[Any]]:
    """Cancel `tasks` until all have ended, however they do; those that have not after `patience` seconds."""
    pending = set(tasks)
    cancelled = False
    until = time.monotonic() + patience
    while pending and time.monotonic() < until:
        for task in pending:
            task.cancel()
        try:
            _, pending = await asyncio.wait(pending, timeout=AGAIN_SECONDS)
        except asyncio.CancelledError:  # our own: it waits until they have ended
            cancelled = True
            pending = {task for task in pending if not task.done()}
    if cancelled:
        raise asyncio.CancelledError
    return pending
