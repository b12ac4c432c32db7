"""How far a feed has come: one number for each name, kept by whoever holds the feed's lease."""

from __future__ import annotations

from fhirserver.store.client import translated
from fhirserver.store.home import Database

POSITIONS = "positions"


class Positions:
    """The positions in one database."""

    def __init__(self, database: Database) -> None:
        self._collection = database[POSITIONS]

    async def get(self, feed: str) -> int:
        """Where `feed` goes on; 0 before the first time. Raises Unavailable."""
        with translated():
            row = await self._collection.find_one({"_id": feed})
        return int(row["at"]) if row else 0

    async def keep(self, feed: str, at: int) -> None:
        """Remember that `feed` goes on at `at`. Raises Unavailable."""
        with translated():
            await self._collection.update_one({"_id": feed}, {"$set": {"at": at}}, upsert=True)
