"""A second authorization server for tests: its own keys, its own socket, tokens with any claims.

`Issuer.token(scope=..., roles=...)` signs an access token that a server started with `Issuer.settings()` accepts.
"""

from __future__ import annotations

import json
import secrets
import tempfile
import time
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from tests.kit.tls import certificate, tls_host

Key = RSAKey | ECKey


class Issuer:
    """Serves its key set on loopback while the block runs. `hits`: how often it was asked for."""

    def __init__(self) -> None:
        self.key: Key = RSAKey.generate_key(2048, {"kid": "rsa-1"})
        self.curve: Key = ECKey.generate_key("P-384", {"kid": "ec-1"})
        self.published: list[Key] = [self.key, self.curve]
        self.hits = 0
        self._stack = ExitStack()
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._pem = certificate(folder, "127.0.0.1")
        self._port = self._stack.enter_context(tls_host(self._pem, self._handler()))

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    def settings(self, **more: Any) -> dict[str, str]:
        """The settings of a server that trusts this issuer."""
        issuer = {"issuer": self.url, "jwks_url": f"{self.url}/jwks", "algorithms": ["RS256", "ES384"]} | more
        return {
            "issuers": json.dumps([issuer]),
            "outgoing__hosts": json.dumps([f"127.0.0.1:{self._port}"]),
            "outgoing__ca_file": str(self._pem),
            "open_mode": "false",
        }

    def claims(self, audience: str, scope: str, **more: Any) -> dict[str, Any]:
        """Claims of a good token; a None leaves one out."""
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": audience, "sub": "user-1", "client_id": "app", "scope": scope,
            "iat": now, "exp": now + 600, "jti": secrets.token_hex(8),
        } | more  # fmt: skip
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, audience: str, scope: str, **more: Any) -> str:
        """A good access token."""
        return self.signed(self.claims(audience, scope, **more))

    def signed(
        self,
        claims: dict[str, Any],
        key: Any = None,
        header: dict[str, Any] | None = None,
        alg: str = "RS256",
    ) -> str:
        """A JWT over `claims`; `header` adds to, or replaces in, that of a good token."""
        key = key or self.key
        head = {"alg": alg, "typ": "at+jwt", "kid": key.kid} | (header or {})
        registry = jws.JWSRegistry(algorithms=[head["alg"]], strict_check_header=False)
        return jws.serialize_compact(head, json.dumps(claims).encode(), key, registry=registry)

    def __enter__(self) -> Issuer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.hits += 1
                keys = [key.as_dict(private=False) for key in issuer.published]
                body = json.dumps({"keys": keys}).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: pytest shows the rest."""

        return Handler
