"""Searches for identifiers that found nobody: how many different ones somebody has tried of late, across all workers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from fhirserver.store.client import Document, translated
from fhirserver.store.home import Database

MISSES = "identifier_misses"
_MOST = 10_000  # remembered of one caller


class Misses:
    """The tries of the callers of one tenant."""

    def __init__(self, database: Database, tenant: str) -> None:
        self._collection = database[MISSES]
        self._tenant = tenant

    async def add(self, caller: str, marks: Sequence[str], now: datetime, window: timedelta) -> int:
        """Remember what `marks` stand for; how many different ones `caller` has tried within `window`. Raises Unavailable."""
        recent: Document = {
            "$filter": {"input": {"$ifNull": ["$tried", []]}, "cond": {"$gt": ["$$this.at", now - window]}}
        }
        others: Document = {
            "$filter": {"input": recent, "cond": {"$not": {"$in": ["$$this.mark", list(marks)]}}}
        }
        fresh = [{"mark": mark, "at": now} for mark in marks]
        tried = {"$slice": [{"$concatArrays": [others, fresh]}, -_MOST]}
        with translated():
            row = await self._collection.find_one_and_update(
                {"_id": f"{self._tenant}/{caller}"},
                [{"$set": {"tried": tried, "end": now + window}}, {"$set": {"count": {"$size": "$tried"}}}],
                upsert=True,
                projection={"count": 1},
                return_document=True,
            )
        return int(row["count"]) if row else len(marks)
