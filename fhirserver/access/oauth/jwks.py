"""The public keys of clients: registered ones, or fetched from the address of the registration and kept for a while.

Kept as long as Cache-Control says and never longer; five minutes where it says nothing. Slow hosts wait in their own
lock, one call for each client. Source: hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fhirserver.access.oauth.clients import ClientRefused, check_jwks
from fhirserver.outgoing import AddressRefused, FetchFailed, Outgoing

if TYPE_CHECKING:
    from fhirserver.store.oauth import ClientRecord

SECONDS, MOST = 3.0, 64 * 2**10
_UNSAID = 300.0
_LONGEST = 24 * 3600.0
_AGAIN = 60.0
_AFTER_FAILURE = 10.0
_MOST_CLIENTS = 10_000


@dataclass(slots=True)
class _Kept:
    jwks: dict[str, Any] | None  # None: the last call failed
    fetched: float
    until: float


class JwksCache:
    """The keys of each client."""

    def __init__(
        self,
        outgoing: Outgoing | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outgoing = outgoing or Outgoing(seconds=SECONDS, most=MOST)
        self._clock = clock
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._locks: dict[tuple[str, str], threading.Lock] = {}

    def keys(self, client: ClientRecord, kid: str) -> list[dict[str, Any]]:
        """The client's JWKs; fetched again, at most once a minute, where none of them is named `kid`."""
        if client.jwks is not None:
            return list(client.jwks["keys"])
        if client.jwks_uri is None:
            return []
        place = (client.client_id, client.jwks_uri)
        if len(self._locks) > _MOST_CLIENTS:
            self._locks.clear()
            self._kept.clear()
        with self._locks.setdefault(place, threading.Lock()):
            kept = self._kept.get(place)
            now = self._clock()
            if kept is None or self._must_fetch(kept, kid, now):
                kept = self._kept[place] = self._fetched(client.jwks_uri, now)
        return [] if kept.jwks is None else list(kept.jwks["keys"])

    @staticmethod
    def _must_fetch(kept: _Kept, kid: str, now: float) -> bool:
        if kept.until <= now:
            return True
        return kept.jwks is not None and not _has(kept.jwks, kid) and now - kept.fetched >= _AGAIN

    def _fetched(self, uri: str, now: float) -> _Kept:
        try:
            answer = self._outgoing.get(uri, accept="application/json")
            jwks = json.loads(answer.body)
            check_jwks(jwks)
        except (AddressRefused, FetchFailed, ClientRefused, ValueError, RecursionError):
            return _Kept(None, now, now + _AFTER_FAILURE)
        return _Kept(jwks, now, now + lifetime(answer.headers.get("cache-control", "")))


def _has(jwks: dict[str, Any] | None, kid: str) -> bool:
    return jwks is not None and any(key.get("kid") == kid for key in jwks["keys"])


def lifetime(cache_control: str) -> float:
    """For how many seconds an answer with this Cache-Control may be kept."""
    said = cache_control.lower()
    if re.search(r"\bno-(store|cache)\b", said):
        return 0.0
    found = re.search(r'(?<![\w-])max-age="?(\d{1,9})', said)
    return min(float(found[1]), _LONGEST) if found else _UNSAID
