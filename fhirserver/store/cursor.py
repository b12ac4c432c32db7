"""Paging cursors: a position and the search that it belongs to, signed. They carry no right to see anything.

Form: base64url of 16 bytes of HMAC-SHA-256, then JSON. Source: hl7.org/fhir/R4/http.html#paging (links are
opaque).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

import orjson

from fhirserver.outcome import BadRequest

_MAC = 16
_LONGEST = 8192
LIFETIME = 86_400  # seconds


@dataclass(frozen=True, slots=True)
class Cursors:
    """Makes and reads cursors. `key`: secret bytes, the same for every worker."""

    key: bytes

    def write(self, fingerprint: str, position: Any, now: int) -> str:
        """The cursor for a position (JSON values). `now`: seconds since 1970."""
        payload = orjson.dumps([fingerprint, now + LIFETIME, position])
        return base64.urlsafe_b64encode(self._mac(payload) + payload).decode().rstrip("=")

    def read(self, text: str, fingerprint: str, now: int) -> Any:
        """The position in a cursor. Raises BadRequest (cursor-invalid, cursor-expired)."""
        try:
            if len(text) > _LONGEST:
                raise _invalid()
            data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            raise _invalid() from None
        mac, payload = data[:_MAC], data[_MAC:]
        if not hmac.compare_digest(mac, self._mac(payload)):
            raise _invalid()
        found, expiry, position = orjson.loads(payload)
        if found != fingerprint:
            raise _invalid()
        if now > expiry:
            raise BadRequest(
                "This page link is older than a day; start the search again.", code="cursor-expired"
            )
        return position

    def _mac(self, payload: bytes) -> bytes:
        return hmac.digest(self.key, payload, hashlib.sha256)[:_MAC]


def _invalid() -> BadRequest:
    return BadRequest(
        "The page link is not valid for this search; use the links of a page as they were given.",
        code="cursor-invalid",
    )
