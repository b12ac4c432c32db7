"""What stands behind an access token, in one round trip: token, grant, client and user as they are now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from fhirserver.store.client import Document, translated
from fhirserver.store.lanes import Database
from fhirserver.store.oauth_grants import GRANTS, TOKENS


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
    """The access tokens of one tenant."""

    def __init__(self, database: Database, tenant: str) -> None:
        self._collection = database[TOKENS]
        self._tenant = tenant

    async def get(self, digest: str) -> TokenRecord | None:
        """What the token with this hash stands for.

        None where it is unknown, has ended or was revoked, or its client or user is disabled. Roles, own resource and
        the patients acted for are the user's present ones.
        """
        now = datetime.now(UTC)
        with translated():
            cursor = await self._collection.aggregate(_pipeline(self._tenant, digest, now))
            rows = await cursor.to_list(1)
        return _record(digest, rows[0]) if rows else None


def _pipeline(tenant: str, digest: str, now: datetime) -> list[Document]:
    def joined(collection: str, field: str) -> Document:
        key = {"$concat": [f"{tenant}/", {"$ifNull": [f"$g.{field}", ""]}]}
        return {
            "$lookup": {
                "from": f"oauth_{collection}",
                "let": {"key": key},
                "pipeline": [{"$match": {"$expr": {"$eq": ["$_id", "$$key"]}}}],
                "as": field,
            }
        }

    return [
        {"$match": {"_id": f"{tenant}/{digest}", "end": {"$gt": now}}},
        {"$lookup": {"from": GRANTS, "localField": "grant", "foreignField": "_id", "as": "g"}},
        {"$unwind": "$g"},
        {"$match": {"g.revoked": None, "g.end": {"$gt": now}}},
        joined("clients", "client"),
        joined("users", "user"),
        {"$match": {"$or": [{"g.client": None}, {"client.status": "active"}]}},
        {"$match": {"$or": [{"g.user": None}, {"user.disabled": False}]}},
    ]


def _record(digest: str, row: Document) -> TokenRecord:
    grant: Document = row["g"]
    user: Document = next(iter(row["user"]), {})
    client: Document = next(iter(row["client"]), {})
    policy = client.get("system_policy") if grant["user"] is None else None
    fhir_user: str | None = user.get("fhir_user")
    type, _, id = (fhir_user or "").partition("/")
    own = {id} if type == "Patient" else set()
    return TokenRecord(
        digest,
        row["scope"],
        row["end"].timestamp(),
        client=grant["client"],
        user=grant["user"],
        fhir_user=fhir_user,
        roles=frozenset((policy,) if policy is not None else user.get("roles", ())),
        patient=grant["context"].get("patient"),
        acts_for=frozenset(own | set(user.get("acts_for", ()))),
        grant=grant["id"],
        audience=grant["audience"],
    )
