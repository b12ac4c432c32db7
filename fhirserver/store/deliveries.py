"""The outbox of alerts: what must be handed to the webhook, how often that was tried, and when it is tried again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pymongo.errors import DuplicateKeyError

from fhirserver.store.client import translated
from fhirserver.store.home import Database

DELIVERIES = "alert_deliveries"
KEPT_SECONDS = 30 * 86_400  # what was delivered, so that it is not delivered again


@dataclass(frozen=True, slots=True)
class Delivery:
    """One alert to hand over. `id`: of its AuditEvent. `attempts`: those that failed."""

    id: str
    body: bytes
    attempts: int


class Deliveries:
    """The outbox of one tenant."""

    def __init__(self, database: Database, tenant: str) -> None:
        self._collection = database[DELIVERIES]
        self._tenant = tenant

    def _key(self, id: str) -> str:
        return f"{self._tenant}/{id}"

    async def known(self, ids: Iterable[str]) -> set[str]:
        """Those of `ids` that are in the outbox, delivered or not. Raises Unavailable."""
        query = {"_id": {"$in": [self._key(id) for id in ids]}}
        with translated():
            rows = await self._collection.find(query, {"_id": 1}).to_list()
        return {row["_id"].partition("/")[2] for row in rows}

    async def put(self, id: str, body: bytes, at: datetime) -> None:
        """Take in an alert, to be delivered from `at` on; one that is there already stays as it is. Raises Unavailable."""
        row = {"_id": self._key(id), "t": self._tenant, "body": body, "attempts": 0, "next": at}
        with translated():
            try:
                await self._collection.insert_one(row)
            except DuplicateKeyError:
                return

    async def due(self, now: datetime, most: int) -> list[Delivery]:
        """What is to be tried now, that which waits longest first. Raises Unavailable."""
        query = {"t": self._tenant, "next": {"$lte": now}}
        with translated():
            rows = await self._collection.find(query).sort("next", 1).limit(most).to_list()
        return [Delivery(row["_id"].partition("/")[2], row["body"], row["attempts"]) for row in rows]

    async def done(self, id: str, now: datetime) -> None:
        """It was handed over. Raises Unavailable."""
        change = {"$set": {"sent": now}, "$unset": {"next": "", "body": ""}}
        with translated():
            await self._collection.update_one({"_id": self._key(id)}, change)

    async def failed(self, id: str, again: datetime) -> None:
        """It was not handed over; try again at `again`. Raises Unavailable."""
        change = {"$set": {"next": again}, "$inc": {"attempts": 1}}
        with translated():
            await self._collection.update_one({"_id": self._key(id)}, change)
