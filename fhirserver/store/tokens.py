"""Where access tokens are kept: by their hash, never in clear."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from fhirserver.store.client import translated
from fhirserver.store.lanes import Database

TOKENS = "access_tokens"


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """One token. `digest`: SHA-256, hex. `scope`: SMART scopes. `expires`: seconds since 1970."""

    digest: str
    scope: str
    expires: float


class Tokens:
    """The tokens of one tenant."""

    def __init__(self, database: Database, tenant: str) -> None:
        self._collection = database[TOKENS]
        self._tenant = tenant

    async def put(self, record: TokenRecord) -> None:
        """Keep a token until some time after its end."""
        with translated():
            await self._collection.create_index("end", name="end", expireAfterSeconds=0)
            await self._collection.insert_one(
                {
                    "_id": f"{self._tenant}/{record.digest}",
                    "scope": record.scope,
                    "expires": record.expires,
                    "end": datetime.fromtimestamp(record.expires, UTC),
                }
            )

    async def get(self, digest: str) -> TokenRecord | None:
        """The token with this hash, ended or not; None where there is none."""
        with translated():
            row = await self._collection.find_one({"_id": f"{self._tenant}/{digest}"})
        return TokenRecord(digest, row["scope"], row["expires"]) if row else None
