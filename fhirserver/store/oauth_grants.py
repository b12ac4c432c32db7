"""What was granted, and the tokens that stand for it. Revoking is one write on the grant. See store/oauth.py."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fhirserver.store.client import Document, translated

if TYPE_CHECKING:
    from pymongo.synchronous.database import Database

GRANTS, TOKENS, REFRESH = "oauth_grants", "oauth_tokens", "oauth_refresh"


@dataclass(frozen=True, slots=True)
class GrantRecord:
    """What a user (or, without one, an administrator) lets a client do.

    `client`: None for tokens of the command line. `context`: launch context, members of the token response.
    `audience`: the FHIR base; None for tokens of the command line, which are for whatever server runs on the database.
    `session`: digest of the sign-in that `online_access` depends on. `end`: nothing of it lives longer.
    """

    id: str
    client: str | None
    user: str | None
    scope: str
    audience: str | None
    created: datetime
    end: datetime
    context: dict[str, Any] = field(default_factory=dict)
    session: str | None = None
    auth_time: datetime | None = None
    revoked: datetime | None = None


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token as it is kept. `kind`: access or refresh. `expires`: when it ends by itself.

    `rotated`: a refresh token that was used; `used`: when it first was.
    """

    kind: str
    digest: str
    grant: str
    scope: str
    issued: datetime
    expires: datetime
    rotated: bool = False
    used: datetime | None = None


_GRANT = frozenset(one.name for one in fields(GrantRecord))


def _grant(row: Document | None) -> GrantRecord | None:
    return GrantRecord(**{n: v for n, v in row.items() if n in _GRANT}) if row else None


class Grants:
    """The grants of a tenant with their access and refresh tokens."""

    def __init__(self, database: Database[Document], tenant: str) -> None:
        self._grants = database[GRANTS]
        self._tokens = database[TOKENS]
        self._refresh = database[REFRESH]
        self._tenant = tenant

    def add(self, record: GrantRecord) -> None:
        """Keep a grant."""
        with translated():
            self._grants.insert_one({"_id": self._key(record.id), "t": self._tenant, **asdict(record)})

    def get(self, id: str, now: datetime) -> GrantRecord | None:
        """The grant, if it stands."""
        with translated():
            row = self._grants.find_one({"_id": self._key(id), "revoked": None, "end": {"$gt": now}})
        return _grant(row)

    def of_user(self, user: str, now: datetime) -> list[GrantRecord]:
        """The standing grants of a user, newest first, each of which has a token that lives."""
        standing = {"t": self._tenant, "user": user, "revoked": None, "end": {"$gt": now}}
        with translated():
            rows = list(self._grants.find(standing).sort("created", -1))
            keys = [row["_id"] for row in rows]
            living = {"grant": {"$in": keys}, "end": {"$gt": now}}
            alive = {row["grant"] for row in self._tokens.find(living, {"grant": 1})}
            alive |= {row["grant"] for row in self._refresh.find({**living, "rotated": False}, {"grant": 1})}
        return [grant for row in rows if row["_id"] in alive and (grant := _grant(row)) is not None]

    def revoke(self, id: str, now: datetime, user: str | None = None) -> bool:
        """End a grant and with it all its tokens; `user`: only where it is theirs. False where nothing ended."""
        which: Document = {"_id": self._key(id), "revoked": None}
        if user is not None:
            which["user"] = user
        with translated():
            done = self._grants.update_one(which, {"$set": {"revoked": now}})
        return done.modified_count == 1

    def revoke_of_user(self, user: str, now: datetime, *, keep: str | None = None) -> int:
        """End the grants of a user; how many. `keep`: those with this scope stand."""
        which: Document = {"t": self._tenant, "user": user, "revoked": None, "end": {"$gt": now}}
        if keep is not None:
            which["scope"] = {"$not": re.compile(f"(^| ){re.escape(keep)}( |$)")}
        with translated():
            done = self._grants.update_many(which, {"$set": {"revoked": now}})
        return done.modified_count

    def put_access(self, digest: str, grant: str, scope: str, issued: datetime, expires: datetime) -> None:
        """Keep an access token."""
        row = {"t": self._tenant, "grant": self._key(grant), "scope": scope, "issued": issued, "end": expires}
        with translated():
            self._tokens.insert_one({"_id": self._key(digest), **row})

    def put_refresh(self, digest: str, grant: str, issued: datetime, expires: datetime) -> None:
        """Keep a refresh token."""
        row = {"t": self._tenant, "grant": self._key(grant), "issued": issued, "end": expires}
        with translated():
            self._refresh.insert_one({"_id": self._key(digest), "rotated": False, **row})

    def find(self, digest: str) -> TokenRow | None:
        """The token of this digest, of either kind, ended or not."""
        with translated():
            access = self._tokens.find_one({"_id": self._key(digest)})
            refresh = None if access else self._refresh.find_one({"_id": self._key(digest)})
        row = access or refresh
        if row is None:
            return None
        return TokenRow(
            "access" if access else "refresh",
            digest,
            row["grant"].partition("/")[2],
            row.get("scope", ""),
            row["issued"],
            row["end"],
            row.get("rotated", False),
            row.get("used"),
        )

    def claim_refresh(self, digest: str, now: datetime) -> bool:
        """Use up a refresh token; False where another call did."""
        with translated():
            done = self._refresh.update_one(
                {"_id": self._key(digest), "rotated": False}, {"$set": {"rotated": True, "used": now}}
            )
        return done.modified_count == 1

    def drop_access(self, digest: str) -> None:
        """End one access token."""
        with translated():
            self._tokens.delete_one({"_id": self._key(digest)})

    def _key(self, id: str) -> str:
        return f"{self._tenant}/{id}"
