"""Versions and the AuditEvents that they owe: each written version names them in `au`.

The place up to which all is settled is kept, so that a sweep looks at what is new and a little before it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

from fhirserver.context import JsonObject, Version
from fhirserver.store.client import translated
from fhirserver.store.documents import HISTORY, version_of
from fhirserver.store.home import AUDIT_TYPE, Home
from fhirserver.store.migrate import SERVER

_BATCH = 500
_AGAIN = 300_000_000  # microseconds before the settled place: clocks of other workers, slow transactions
_FIELDS = {"v": 1, "ts": 1, "m": 1, "pa": 1, "au": 1, "del": 1, "again": 1}


@dataclass(frozen=True, slots=True)
class Owing:
    """A version (without its bytes) with the events that it owes, and the record to make them from."""

    version: Version
    record: JsonObject


class OwedVersions:
    """The versions of one tenant that owe events."""

    def __init__(self, home: Home, tenant: str) -> None:
        self._home = home
        self._tenant = tenant
        self._place = f"{tenant}/audit-sweep"

    async def batches(self, until: int) -> AsyncIterator[list[Owing]]:
        """All versions made up to `until` (microseconds) that are not settled yet. Raises Unavailable."""
        with translated():
            record = await self._home.database[SERVER].find_one({"_id": self._place})
        since = record["ts"] - _AGAIN if record else 0
        times = {"$gt": since, "$lte": until}
        for type in await self._home.types():
            if type != AUDIT_TYPE:
                async for batch in self._find(type, {"ts": times, "t": self._tenant}):
                    yield batch
        async for batch in self._find(HISTORY, {"t": self._tenant, "ts": times}):
            yield batch

    async def done(self, until: int) -> None:
        """All versions up to `until` are settled. Raises Unavailable."""
        with translated():
            await self._home.database[SERVER].update_one(
                {"_id": self._place}, {"$max": {"ts": until}}, upsert=True
            )

    async def _find(self, collection: str, query: dict[str, Any]) -> AsyncIterator[list[Owing]]:
        fields = {**_FIELDS, "k": 1}
        batch: list[Owing] = []
        with translated():
            async for document in self._home[collection].find(query, fields, batch_size=_BATCH):
                if "au" in document:
                    batch.append(_owing(document))
                if len(batch) >= _BATCH:
                    yield batch
                    batch = []
        if batch:
            yield batch


def _owing(document: dict[str, Any]) -> Owing:
    _, type, id = document.get("k", document["_id"]).split("/", 2)
    record = dict(document["au"])
    events = tuple((event, patient) for event, patient in record.pop("e"))
    version = version_of(document if "del" in document else {**document, "raw": b""}, type, id)
    return Owing(replace(version, events=events), record)
