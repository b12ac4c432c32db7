"""Keys that all workers of a server share, kept in the database."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

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
    with translated():
        kept = await database[KEYS].find_one_and_update(
            {"_id": f"{settings.tenant}/cursor"},
            {"$setOnInsert": {"key": os.urandom(32)}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
    key: bytes = kept["key"]
    return key
