"""Leases: of many workers one does a piece of background work, and another takes over when it dies.

Time is the database's own, so the clocks of the workers do not matter. A lease is no proof that its holder is alone
after a pause: what it protects must bear two holders for a moment (the sealer has a unique index for that).
"""

from __future__ import annotations

from contextlib import suppress

from pymongo.errors import DuplicateKeyError

from fhirserver.store.client import Document, translated
from fhirserver.store.lanes import Database

LEASES = "leases"


class Leases:
    """The leases of one database, as `holder` sees them: a text that no other worker uses."""

    def __init__(self, database: Database, holder: str) -> None:
        self._collection = database[LEASES]
        self._holder = holder

    async def take(self, name: str, seconds: float) -> bool:
        """True where the lease `name` is ours for `seconds` from now: it was free, ended, or ours before.

        Raises Unavailable.
        """
        with translated():
            if await self._claim(name, seconds):
                return True
            if await self._collection.find_one({"_id": name}, {"_id": 1}) is not None:
                return False
            with suppress(DuplicateKeyError):  # the lease of a work that nobody ever did
                await self._collection.insert_one({"_id": name, "holder": None})
            return await self._claim(name, seconds)

    async def release(self, name: str) -> None:
        """Give up the lease `name` if it is ours. Raises Unavailable."""
        with translated():
            await self._collection.update_one(
                {"_id": name, "holder": self._holder}, {"$set": {"holder": None}, "$unset": {"until": 1}}
            )

    async def holder(self, name: str) -> str | None:
        """Who holds the lease `name` now, None where nobody does. Raises Unavailable."""
        with translated():
            row: Document | None = await self._collection.find_one(
                {"_id": name, "$expr": {"$gt": ["$until", "$$NOW"]}}
            )
        return row["holder"] if row else None

    async def _claim(self, name: str, seconds: float) -> bool:
        free = [{"holder": None}, {"holder": self._holder}, {"$expr": {"$lte": ["$until", "$$NOW"]}}]
        until = {"$add": ["$$NOW", round(seconds * 1000)]}
        done = await self._collection.update_one(
            {"_id": name, "$or": free}, [{"$set": {"holder": {"$literal": self._holder}, "until": until}}]
        )
        return done.matched_count == 1
