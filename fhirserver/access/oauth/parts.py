"""What the parts of the authorization server share: store, keys, addresses, clock; and one visit to it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fhirserver.context import AuthEvent

if TYPE_CHECKING:
    from fhirserver.access.compartments import Compartments
    from fhirserver.access.oauth.jwks import JwksCache
    from fhirserver.access.oauth.keys import SigningKeys
    from fhirserver.access.roles import Roles
    from fhirserver.access.scopes import Vocabulary
    from fhirserver.settings import OAuth
    from fhirserver.store.oauth import OAuthStore


def utc_now() -> datetime:
    """Now, cut to whole milliseconds, as the database keeps it."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def fresh_secret() -> str:
    """256 random bits, for URLs and headers."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """What is kept of a random secret: SHA-256, hex. Not for passwords."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Parts:
    """`issuer`: public base URL, also the OAuth issuer. `fhir_base`: the audience of every token."""

    settings: OAuth
    issuer: str
    fhir_base: str
    store: OAuthStore
    keys: SigningKeys
    jwks: JwksCache
    vocabulary: Vocabulary
    roles: Roles
    compartments: Compartments
    clock: Callable[[], datetime] = utc_now

    @property
    def token_endpoint(self) -> str:
        """The URL that client assertions are made for."""
        return f"{self.issuer}/auth/token"


@dataclass(slots=True)
class Visit:
    """One request to the authorization server. `address`: of the peer. `events`: what is to be audited of it."""

    address: str
    events: list[AuthEvent] = field(default_factory=list)

    def note(self, kind: str, **facts: Any) -> None:
        """Something happened; `facts` are fields of AuthEvent."""
        self.events.append(AuthEvent(kind, address=self.address, **facts))
