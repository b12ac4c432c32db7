"""Where access tokens are kept: by their hash, never in clear."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from fhirserver.store.client import translated
from fhirserver.store.lanes import Database

TOKENS = "access_tokens"


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """One access token that stands.

    `digest`: SHA-256, hex. `scope`: SMART scopes. `expires`: seconds since 1970. `client`, `user`, `fhir_user`, `roles`,
    `patient`, `acts_for`, `grant`: as in context.Agent. `audience`: the FHIR base it was issued for.
    """

    digest: str
    scope: str
    expires: float
    client: str | None = None
    user: str | None = None
    fhir_user: str | None = None
    roles: frozenset[str] = frozenset()
    patient: str | None = None
    acts_for: frozenset[str] = frozenset()
    grant: str | None = None
    audience: str | None = None


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
