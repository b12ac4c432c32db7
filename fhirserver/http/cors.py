"""Cross-origin rules: an exact list of origins, never reflection, never credentials. Source: WHATWG Fetch, CORS protocol."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

_METHODS = b"GET, POST, PUT, PATCH, DELETE, OPTIONS, HEAD"
_REQUEST = b"authorization, content-type, accept, prefer, if-match, if-none-match, if-none-exist, if-modified-since, x-request-id"
_EXPOSED = b"etag, location, content-location, last-modified, www-authenticate, retry-after, x-progress, x-request-id"


@dataclass(frozen=True, slots=True)
class Cors:
    """`origins`: those that browsers may call from, exactly as a browser sends them; "*" alone allows every origin.

    `of_apps`: the origins of registered apps at present.
    """

    origins: frozenset[str]
    of_apps: Callable[[], Collection[str]] = tuple

    def headers(self, origin: str) -> list[tuple[bytes, bytes]]:
        """The headers of an actual answer to `origin`."""
        allowed = self._allowed(origin)
        vary = (b"vary", b"Origin")
        if allowed is None:
            return [vary]
        return [(b"access-control-allow-origin", allowed), (b"access-control-expose-headers", _EXPOSED), vary]

    def preflight(self, headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
        """The headers that answer an OPTIONS request."""
        allowed = self._allowed(headers.get("origin", ""))
        if allowed is None:
            return [(b"vary", b"Origin"), (b"allow", _METHODS)]
        return [
            (b"access-control-allow-origin", allowed),
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", _REQUEST),
            (b"access-control-max-age", b"600"),
            (b"vary", b"Origin"),
        ]

    def _allowed(self, origin: str) -> bytes | None:
        if "*" in self.origins and origin:
            return b"*"
        known = origin in self.origins or origin in self.of_apps()
        return origin.encode("latin-1") if known and origin != "null" else None
