"""The sessions of the compliance officer's pages. Synchronous, like store/oauth.py."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from fhirserver.store.client import Document, translated

if TYPE_CHECKING:
    from pymongo.synchronous.database import Database


class ConsoleSessions:
    """What a session holds, by the digest of its cookie. The content is sealed by its owner: see console/session.py."""

    def __init__(self, database: Database[Document], tenant: str) -> None:
        self._rows = database["console_sessions"]
        self._tenant = tenant

    def add(self, digest: str, content: bytes, end: datetime) -> None:
        """Keep a session until `end`."""
        row = {"_id": f"{self._tenant}/{digest}", "t": self._tenant, "content": content, "end": end}
        with translated():
            self._rows.insert_one(row)

    def get(self, digest: str, now: datetime) -> bytes | None:
        """The content, None where there is no such session or it has ended."""
        with translated():
            row = self._rows.find_one({"_id": f"{self._tenant}/{digest}", "end": {"$gt": now}})
        return bytes(row["content"]) if row else None

    def take(self, digest: str, now: datetime) -> bytes | None:
        """The content, for the last time."""
        with translated():
            row = self._rows.find_one_and_delete({"_id": f"{self._tenant}/{digest}", "end": {"$gt": now}})
        return bytes(row["content"]) if row else None
