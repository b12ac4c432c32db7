"""The keys that sign id_tokens: RS256, shared by all workers, rotated without a gap.

A new key is published and signs at once; the old one stays published for KEPT, longer than an id_token lives and than
clients cache the set. Sources: RFC 7517, openid.net/specs/openid-connect-core-1_0.html#RotateSigKeys
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from joserfc.jwk import RSAKey

from fhirserver.access.oauth.parts import utc_now
from fhirserver.store.oauth import KeyRecord

if TYPE_CHECKING:
    from fhirserver.store.oauth import Keys

KEPT = timedelta(hours=24)
_SEEN_FOR = 5.0
_BITS = 2048


class SigningKeys:
    """Signing and publishing."""

    def __init__(self, rows: Keys, clock: Callable[[], datetime] = utc_now) -> None:
        self._rows = rows
        self._clock = clock
        self._seen: tuple[float, list[KeyRecord]] = (0.0, [])

    def rotate(self) -> str:
        """Make a new key, which signs from now on; its id."""
        now = self._clock()
        self._rows.drop(now - KEPT)
        kid = f"{now:%Y%m%d}-{secrets.token_hex(4)}"
        jwk = RSAKey.generate_key(_BITS, {"kid": kid, "use": "sig", "alg": "RS256"}).as_dict(private=True)
        self._rows.add(KeyRecord(kid, dict(jwk), now))
        self._seen = (0.0, [])
        return kid

    def all(self) -> list[KeyRecord]:
        """Every key that is still published, newest first. The first call on a new database makes one."""
        since, keys = self._seen
        if time.monotonic() - since > _SEEN_FOR or not keys:
            oldest = self._clock() - KEPT
            keys = [key for key in self._rows.all() if key.retired is None or key.retired > oldest]
            if not keys:
                self.rotate()
                keys = self._rows.all()
            self._seen = (time.monotonic(), keys)
        return keys

    def signing(self) -> RSAKey:
        """The key that signs now."""
        return RSAKey.import_key(self.all()[0].jwk)

    def published(self) -> dict[str, Any]:
        """The JWK Set, public halves only."""
        return {"keys": [dict(RSAKey.import_key(key.jwk).as_dict(private=False)) for key in self.all()]}
