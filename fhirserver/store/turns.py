"""Queues by key within this process: those who want the same thing take turns instead of racing.

Only a courtesy: correctness rests on the database alone, so a turn that does not come in time is no error.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Queue:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Turns:
    """First come, first served, by key. `patience`: seconds after which one goes ahead without a turn."""

    def __init__(self, patience: float = 5.0) -> None:
        self._patience = patience
        self._queues: dict[str, _Queue] = {}

    def busy(self, key: str) -> bool:
        """True while someone has the turn for `key` or waits for it."""
        return key in self._queues

    @asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[None]:
        """Wait for the turn, give it back at the end."""
        queue = self._queues.setdefault(key, _Queue())
        queue.users += 1
        mine = False
        try:
            try:
                async with asyncio.timeout(self._patience):
                    mine = await queue.lock.acquire()
            except TimeoutError:
                pass
            yield
        finally:
            if mine:
                queue.lock.release()
            queue.users -= 1
            if not queue.users:
                del self._queues[key]
