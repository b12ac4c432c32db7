"""What the store's functions work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from fhirserver.store.documents import Clock, Indexer
from fhirserver.store.home import Home
from fhirserver.store.indexes import Collections
from fhirserver.store.lanes import Lane
from fhirserver.store.restrict import Restrictions
from fhirserver.store.turns import Turns

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a Store. `lane` is the transaction's own inside of one; all else is shared."""

    home: Home
    lane: Lane
    collections: Collections
    restrictions: Restrictions
    indexer: Indexer
    clock: Clock
    tenant: str
    turns: Turns

    async def alone(self, call: Callable[[], Awaitable[T]]) -> T:
        """The answer of `call`, which uses `lane.session`: in a transaction after and before all others."""
        if self.lane.session is None:
            return await call()
        answer: T = await self.lane.run("call", "", call)
        return answer
