"""Clients: the rules that a registration must keep, and a client as the grants see it.

Sources: RFC 6749 section 2, RFC 8252 section 7, RFC 9700; hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from authlib.oauth2.rfc6749 import ClientMixin
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from fhirserver.access.oauth.parts import digest
from fhirserver.outgoing import AddressRefused, check_url

if TYPE_CHECKING:
    from fhirserver.store.oauth import ClientRecord

AUTH_METHODS = ("none", "client_secret_basic", "private_key_jwt")
GRANT_TYPES = ("authorization_code", "refresh_token", "client_credentials")
_LOOPBACK = frozenset(("127.0.0.1", "localhost", "[::1]"))
_OWN_SCHEME = re.compile(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+")
_TEXT = re.compile(r"[!#-\[\]-~]{1,2000}")
_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_ORIGIN = re.compile(r"(https://[a-z0-9.-]+|http://(127\.0\.0\.1|localhost|\[::1\]))(:\d{1,5})?")
_LEAST_RSA = 2048


class ClientRefused(Exception):
    """A client cannot be like that. `field`: the metadata at fault; the text says why, without its value."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


def check_client(record: ClientRecord) -> None:
    """Raises ClientRefused for a registration that breaks a rule."""
    if not _ID.fullmatch(record.client_id):
        raise ClientRefused("client_id", "1 to 128 letters, digits, dots, dashes, underscores or tildes")
    if not record.name.strip() or len(record.name) > 100:
        raise ClientRefused("client_name", "a name of 1 to 100 characters, which users see")
    if record.auth_method not in AUTH_METHODS:
        raise ClientRefused("token_endpoint_auth_method", f"one of {', '.join(AUTH_METHODS)}")
    _check_grants(record)
    for uri in record.redirect_uris:
        check_redirect_uri(uri)
    for uri in record.launch_uris:
        if _parts(uri, "launch_uris").scheme not in ("https", "http"):
            raise ClientRefused("launch_uris", "an https URL, or http on loopback")
        check_redirect_uri(uri, "launch_uris")
    for origin in record.allowed_origins:
        if not _ORIGIN.fullmatch(origin):
            raise ClientRefused("allowed_origins", "scheme://host[:port] of https, or of http on loopback")
    if record.auth_method == "private_key_jwt":
        if (record.jwks is None) == (record.jwks_uri is None):
            raise ClientRefused("jwks", "private_key_jwt needs either keys or the address of keys")
    elif record.jwks is not None or record.jwks_uri is not None:
        raise ClientRefused("jwks", "keys are for private_key_jwt")
    if record.jwks is not None:
        check_jwks(record.jwks)
    if record.jwks_uri is not None:
        check_jwks_uri(record.jwks_uri)


def _check_grants(record: ClientRecord) -> None:
    grants = set(record.grant_types)
    if not grants or not grants <= set(GRANT_TYPES):
        raise ClientRefused("grant_types", f"at least one of {', '.join(GRANT_TYPES)}")
    if "client_credentials" in grants and record.auth_method != "private_key_jwt":
        raise ClientRefused("grant_types", "client_credentials is for clients with keys (private_key_jwt)")
    if "authorization_code" in grants and not record.redirect_uris:
        raise ClientRefused("redirect_uris", "authorization_code needs a redirect URI")
    if "refresh_token" in grants and "authorization_code" not in grants:
        raise ClientRefused("grant_types", "refresh_token goes with authorization_code")


def check_redirect_uri(uri: str, field: str = "redirect_uris") -> None:
    """https, http on loopback, or a scheme of the app's own in reverse domain form. Raises ClientRefused."""
    parts = _parts(uri, field)
    if "#" in uri or "*" in uri or "@" in parts.netloc:
        raise ClientRefused(field, "no fragment, no user name and no wildcard")
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http":
        if parts.netloc.rsplit(":", 1)[0] in _LOOPBACK or parts.netloc in _LOOPBACK:
            return
        raise ClientRefused(field, "https, or http on 127.0.0.1, [::1] or localhost")
    if not _OWN_SCHEME.fullmatch(parts.scheme) or parts.netloc:
        raise ClientRefused(
            field, "https, or an own scheme in reverse domain form: com.example.app:/callback"
        )


def _parts(uri: Any, field: str) -> SplitResult:
    if not isinstance(uri, str) or not _TEXT.fullmatch(uri):
        raise ClientRefused(field, "a URI of printable ASCII without quotes")
    try:
        parts = urlsplit(uri)
        parts.port  # noqa: B018 a property that raises
    except ValueError:
        raise ClientRefused(field, "a valid URI") from None
    return parts


def check_jwks_uri(uri: str) -> None:
    """Raises ClientRefused unless the address is one that this server would fetch from."""
    try:
        check_url(uri)
    except AddressRefused as refused:
        raise ClientRefused("jwks_uri", str(refused)) from None


def check_jwks(jwks: Any) -> None:
    """Raises ClientRefused unless all keys are public, RSA of 2048 bits or EC P-384, and named by `kid`."""
    keys = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(keys, list) or not 1 <= len(keys) <= 20:
        raise ClientRefused("jwks", "a JWK Set with 1 to 20 keys")
    for key in keys:
        load_public_key(key)
    ids = [(key["kid"], key["kty"]) for key in keys]
    if len(set(ids)) != len(ids):
        raise ClientRefused("jwks", "each key has a kid of its own")


def load_public_key(jwk: Any) -> RSAKey | ECKey:
    """The key of a JWK. Raises ClientRefused."""
    if not isinstance(jwk, dict) or not isinstance(jwk.get("kid"), str) or not jwk["kid"]:
        raise ClientRefused("jwks", "each key has a kid")
    if jwk.keys() & {"d", "p", "q", "dp", "dq", "qi", "k", "oth"}:
        raise ClientRefused("jwks", "public keys only: keep the private part to yourself and make a new key")
    try:
        if jwk.get("kty") == "RSA":
            key = RSAKey.import_key({name: jwk[name] for name in ("kty", "n", "e", "kid")})
            if key.raw_value.key_size >= _LEAST_RSA:
                return key
        elif jwk.get("kty") == "EC" and jwk.get("crv") == "P-384":
            return ECKey.import_key({name: jwk[name] for name in ("kty", "crv", "x", "y", "kid")})
    except (JoseError, ValueError, KeyError, TypeError):
        raise ClientRefused("jwks", "a key that can be read") from None
    raise ClientRefused("jwks", "RSA of at least 2048 bits, or EC P-384")


def secret_matches(record: ClientRecord, secret: str) -> bool:
    """True for the client's secret; compared by digest, in constant time."""
    return record.secret_hash is not None and hmac.compare_digest(record.secret_hash, digest(secret))


@dataclass(frozen=True, slots=True)
class SmartClient(ClientMixin):
    """A client as the grant classes see it."""

    record: ClientRecord

    def get_client_id(self) -> str:
        """Its id."""
        return self.record.client_id

    def get_default_redirect_uri(self) -> None:
        """There is none: a redirect URI is named in every request."""

    def get_allowed_scope(self, scope: str) -> str:
        """What is asked for; what of it is granted is decided with the user (see authorize.py)."""
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """True for a registered one, character by character."""
        return redirect_uri in self.record.redirect_uris

    def check_client_secret(self, client_secret: str) -> bool:
        """True for its secret."""
        return secret_matches(self.record, client_secret)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """True for the way that it is registered to authenticate."""
        return method == self.record.auth_method

    def check_response_type(self, response_type: str) -> bool:
        """True for code, where it may have codes."""
        return response_type == "code" and self.check_grant_type("authorization_code")

    def check_grant_type(self, grant_type: str) -> bool:
        """True for a grant type of its registration."""
        return grant_type in self.record.grant_types

    @property
    def is_public(self) -> bool:
        """True where it cannot keep a secret."""
        return self.record.auth_method == "none"


def schemes_and_hosts(uris: Iterable[str]) -> tuple[str, ...]:
    """The origins of redirect URIs, for the form-action rule of a page that ends in a redirect to them."""
    found = set()
    for uri in uris:
        parts = urlsplit(uri)
        found.add(f"{parts.scheme}://{parts.netloc}" if parts.netloc else f"{parts.scheme}:")
    return tuple(sorted(found))
