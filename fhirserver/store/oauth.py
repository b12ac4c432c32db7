"""What the authorization server keeps: clients, users, sessions, launches, codes, grants, tokens, keys.

Synchronous, for worker threads: the library that runs the OAuth flows is. Every key starts with the tenant. Secrets are
kept as digests only, except the signing keys and the TOTP seeds, which must be read back: those are sealed (vault.py).
TTL indexes only clean up (once a minute): every query here tests the end itself. Source: docs/decisions/0031.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pymongo.errors import DuplicateKeyError

from fhirserver.store.client import BlockingClient, Document, connect_blocking, translated
from fhirserver.store.console import ConsoleSessions
from fhirserver.store.oauth_flow import Codes, Launches, Txns
from fhirserver.store.oauth_grants import Grants
from fhirserver.store.oauth_sealing import KEYS, Sealing
from fhirserver.store.oauth_users import Attempts, Sessions, Users
from fhirserver.store.vault import Vault, place

if TYPE_CHECKING:
    from pymongo.synchronous.database import Database

    from fhirserver.settings import Settings


class ClientExists(Exception):
    """A client of that id is there already."""


@dataclass(frozen=True, slots=True)
class ClientRecord:
    """An app or a backend service.

    `status`: active, disabled, or pending (waits for an administrator). `auth_method`: none, client_secret_basic or
    private_key_jwt. `secret_hash`: SHA-256 of a 256-bit random secret, hex. `scope`: the most it may be granted.
    `first_party`: the clinic's own, no consent is asked. `can_introspect`: may ask about every token. `system_policy`: the
    role that binds it where no user stands behind it; None: its scopes alone do.
    """

    client_id: str
    name: str
    auth_method: str
    created: datetime
    status: str = "active"
    secret_hash: str | None = None
    jwks: dict[str, Any] | None = None
    jwks_uri: str | None = None
    redirect_uris: tuple[str, ...] = ()
    launch_uris: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    grant_types: tuple[str, ...] = ()
    scope: str = ""
    first_party: bool = False
    can_introspect: bool = False
    system_policy: str | None = None


_CLIENT_LISTS = ("redirect_uris", "launch_uris", "allowed_origins", "grant_types")


def _client(row: Document) -> ClientRecord:
    known = {field.name for field in fields(ClientRecord)}
    values: dict[str, Any] = {name: value for name, value in row.items() if name in known}
    values |= {name: tuple(values[name]) for name in _CLIENT_LISTS}
    return ClientRecord(**values)


class Clients:
    """The registered clients of a tenant."""

    def __init__(self, database: Database[Document], tenant: str) -> None:
        self._rows = database["oauth_clients"]
        self._tenant = tenant

    def get(self, client_id: str) -> ClientRecord | None:
        """The client, whatever its status."""
        with translated():
            row = self._rows.find_one({"_id": f"{self._tenant}/{client_id}"})
        return _client(row) if row else None

    def add(self, record: ClientRecord) -> None:
        """Raises ClientExists."""
        row = {"_id": f"{self._tenant}/{record.client_id}", "t": self._tenant, **_document(record)}
        with translated():
            try:
                self._rows.insert_one(row)
            except DuplicateKeyError:
                raise ClientExists(record.client_id) from None

    def change(self, client_id: str, **values: Any) -> bool:
        """Set fields of ClientRecord; False where there is no such client."""
        with translated():
            done = self._rows.update_one({"_id": f"{self._tenant}/{client_id}"}, {"$set": values})
        return done.matched_count == 1

    def all(self) -> Iterator[ClientRecord]:
        """Every client, in the order of their ids."""
        with translated():
            yield from map(_client, self._rows.find({"t": self._tenant}).sort("_id", 1))

    def origins(self) -> frozenset[str]:
        """The origins of all active clients together."""
        with translated():
            found = self._rows.distinct("allowed_origins", {"t": self._tenant, "status": "active"})
        return frozenset(found)


def _document(record: ClientRecord) -> Document:
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in asdict(record).items()
    }


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A signing key. `jwk`: private, as a JWK. `retired`: when another took over; published until some time after."""

    kid: str
    jwk: dict[str, Any]
    created: datetime
    retired: datetime | None = None


class Keys:
    """The signing keys of a tenant, shared by all workers."""

    def __init__(self, database: Database[Document], tenant: str, vault: Vault) -> None:
        self._rows = database[KEYS]
        self._tenant = tenant
        self._vault = vault

    def add(self, record: KeyRecord) -> None:
        """Publish and sign with this key from now on; the others retire."""
        key = f"{self._tenant}/{record.kid}"
        sealed = self._vault.seal(json.dumps(record.jwk), place(KEYS, key, "jwk"))
        with translated():
            self._rows.insert_one({"_id": key, "t": self._tenant, **asdict(record), "jwk": sealed})
            self._rows.update_many(
                {"t": self._tenant, "kid": {"$ne": record.kid}, "retired": None},
                {"$set": {"retired": record.created}},
            )

    def all(self) -> list[KeyRecord]:
        """Every key, newest first. Raises Unavailable where one cannot be opened."""
        with translated():
            rows = list(self._rows.find({"t": self._tenant}).sort([("created", -1), ("_id", 1)]))
        return [KeyRecord(row["kid"], self._jwk(row), row["created"], row["retired"]) for row in rows]

    def _jwk(self, row: Document) -> dict[str, Any]:
        opened: dict[str, Any] = json.loads(self._vault.open(row["jwk"], place(KEYS, row["_id"], "jwk")))
        return opened

    def drop(self, retired_before: datetime) -> None:
        """Forget keys that retired before that time."""
        with translated():
            self._rows.delete_many({"t": self._tenant, "retired": {"$lt": retired_before}})


class OAuthStore:
    """All of it. `close` gives the connections back."""

    def __init__(self, client: BlockingClient, database: str, tenant: str, vault: Vault) -> None:
        self._client = client
        rows = client[database]
        self.tenant = tenant
        self.clients = Clients(rows, tenant)
        self.sealing = Sealing(rows, tenant, vault)
        self.keys = Keys(rows, tenant, vault)
        self.users = Users(rows, tenant, vault)
        self.sessions = Sessions(rows, tenant, vault)
        self.attempts = Attempts(rows, tenant)
        self.txns = Txns(rows, tenant)
        self.launches = Launches(rows, tenant)
        self.codes = Codes(rows, tenant)
        self.grants = Grants(rows, tenant)
        self.console = ConsoleSessions(rows, tenant)

    @classmethod
    def of(cls, settings: Settings) -> OAuthStore:
        """The store on the MongoDB of the settings, which must name one. Raises CannotStart."""
        uri = settings.mongodb_uri
        if uri is None:
            raise ValueError("no MongoDB URI")
        blocking = connect_blocking(uri.get_secret_value())
        return cls(blocking, settings.database, settings.tenant, Vault.of(settings))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
