"""Keys that all workers of a server share, kept in the database, and the database's own name."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Any

from pymongo import ReturnDocument

from fhirserver.store.client import translated

if TYPE_CHECKING:
    from fhirserver.settings import Settings
    from fhirserver.store.lanes import Database

KEYS = "keys"


async def signing_key(database: Database, settings: Settings) -> bytes:
    """The key that signs paging cursors: the configured one, else one made at the first start and kept."""
    if settings.cursor_key is not None:
        return settings.cursor_key.get_secret_value().encode()
    key: bytes = await _kept(database, f"{settings.tenant}/cursor", os.urandom(32))
    return key


async def instance_id(database: Database, settings: Settings) -> str:
    """What tells this database from every other, also from one that was emptied: made at the first start."""
    id: str = await _kept(database, f"{settings.tenant}/instance", str(uuid.uuid4()))
    return id


async def _kept(database: Database, name: str, fresh: Any) -> Any:
    with translated():
        row = await database[KEYS].find_one_and_update(
            {"_id": name}, {"$setOnInsert": {"key": fresh}}, upsert=True, return_document=ReturnDocument.AFTER
        )
    return row["key"] if row is not None else fresh
