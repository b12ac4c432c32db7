"""The collections of the audit: events and writers, only ever found and inserted.

An event is durable when this says so: acknowledged by a majority, journaled. Source: docs/explanation/audit.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.errors import BulkWriteError, DuplicateKeyError
from pymongo.write_concern import WriteConcern

from fhirserver.search.types import date
from fhirserver.store.client import Document, translate, translated
from fhirserver.store.home import AUDIT_EVENTS, Database

WRITERS = "audit_writers"
_DUPLICATE_KEY = 11000


class AuditLog:
    """The stored events of one tenant. `confirm_ms`: how long an insert waits for its majority."""

    def __init__(self, database: Database, tenant: str, confirm_ms: int) -> None:
        durable = WriteConcern(w="majority", j=True, wtimeout=confirm_ms)
        self._events = database.get_collection(AUDIT_EVENTS, write_concern=durable)
        self._writers = database.get_collection(WRITERS, write_concern=durable)
        self.tenant = tenant

    def document(
        self,
        id: str,
        ts: int,
        raw: bytes,
        ix: Mapping[str, Any],
        x: Mapping[str, Any],
        link: Mapping[str, Any],
    ) -> Document:
        """The stored form of an event. `link`: its place in a writer's chain, w s p h mac."""
        key = f"{self.tenant}/AuditEvent/{id}"
        found = {"_id": key, "t": self.tenant, "v": 1, "ts": ts, "m": "POST", "raw": raw, "ix": ix, **link}
        return found | ({"x": x} if x else {})

    async def append(self, documents: Sequence[Document]) -> bool:
        """Insert in order; False where one was there already, and then nothing after it was inserted.

        Raises OutcomeError: what of it was stored is not known then.
        """
        try:
            await self._events.insert_many(documents, ordered=True)
        except BulkWriteError as error:
            details = error.details or {}
            failed = details.get("writeErrors", ())
            if failed and failed[0].get("code") == _DUPLICATE_KEY and not details.get("writeConcernErrors"):
                return False
            raise translate(error) from error
        except Exception as error:
            raise translate(error) from error
        return True

    async def stored(self, ids: Sequence[str]) -> list[Document | None]:
        """What is stored under each `_id`: raw, w, s."""
        with translated():
            cursor = self._events.find({"_id": {"$in": list(ids)}}, {"raw": 1, "w": 1, "s": 1})
            found = {document["_id"]: document for document in await cursor.to_list()}
        return [found.get(id) for id in ids]

    async def register(self, writer: bytes, about: Mapping[str, Any]) -> None:
        """Make a writer known; it may be known already."""
        try:
            await self._writers.insert_one({"_id": writer, "t": self.tenant, **about})
        except DuplicateKeyError:
            return
        except Exception as error:
            raise translate(error) from error

    async def writers(self) -> list[Document]:
        """All writers that were ever registered, oldest first."""
        with translated():
            found = {"t": self.tenant, "_id": {"$type": "binData"}}
            return await self._writers.find(found).sort("at", 1).to_list()

    async def alerts(self, since: int) -> list[str]:
        """The ids of the alerts from `since` (microseconds) on, oldest first. Raises Unavailable."""
        query = {"t": self.tenant, "ix.alert": {"$exists": True}, "ix.date~s": {"$gte": date.sort_key(since)}}
        with translated():
            rows = await self._events.find(query, {"_id": 1}).sort("ix.date~s", 1).to_list()
        return [row["_id"].rpartition("/")[2] for row in rows]

    async def bodies(self, ids: Sequence[str]) -> list[bytes]:
        """The bytes of the events of these ids, in that order; of those that are stored. Raises Unavailable."""
        found = await self.stored([f"{self.tenant}/AuditEvent/{id}" for id in ids])
        return [document["raw"] for document in found if document is not None]

    async def known(self, ids: Sequence[str]) -> set[str]:
        """Which of these event ids are stored."""
        keys = [f"{self.tenant}/AuditEvent/{id}" for id in ids]
        with translated():
            rows = await self._events.find({"_id": {"$in": keys}}, {"_id": 1}).to_list()
        return {row["_id"].rpartition("/")[2] for row in rows}
