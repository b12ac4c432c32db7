"""Access tokens of foreign authorization servers: JWTs, verified with the keys that their configuration names.

Nothing that a token says of itself decides which key, algorithm or address is used. Sources: RFC 9068 (profile for access
tokens), RFC 8725 (best practice), RFC 7517 (key sets).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ipaddress
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard
from urllib.parse import urlsplit

import httpx
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

from fhirserver.access.scopes import Vocabulary, parse
from fhirserver.access.situation import FRESH
from fhirserver.access.tokens import check_context, digest, invalid_token
from fhirserver.context import Agent
from fhirserver.outcome import Unavailable
from fhirserver.r4.references import ID
from fhirserver.settings import Issuer

SKEW = 30  # seconds that clocks may differ by
_FAMILY = {"RS256": "RSA", "ES256": "EC", "ES384": "EC", "EdDSA": "OKP"}
_HEADER = frozenset(
    ("alg", "kid", "typ", "x5t", "x5t#S256", "cty")
)  # what may stand in a header, all unused but three
_KEEP, _AGAIN, _RETRY = 300.0, 60.0, 5.0
_SECONDS, _BYTES, _LONGEST = 3.0, 64 * 1024, 8192
_MOST = 10_000


@dataclass(slots=True)
class KeySource:
    """The public keys of one issuer: fetched when needed, kept five minutes, once a minute again for an unknown one."""

    url: str
    clock: Callable[[], float]
    _keys: Mapping[str, list[RSAKey | ECKey | OKPKey]] = field(default_factory=dict)
    _fetched: float = float("-inf")
    _next: float = float("-inf")
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def find(self, kid: str, family: str) -> RSAKey | ECKey | OKPKey | None:
        """The one key of that id and key type. Raises Unavailable where no keys could ever be had."""
        now = self.clock()
        if kid not in self._keys or self._fetched < now - _KEEP:
            async with self._lock:
                if self._next <= now:
                    await self._fetch(now)
        if not self._keys:
            raise Unavailable(
                "The keys of the token's issuer cannot be had now.", code="issuer-unavailable", retry_after=5
            )
        fitting = [key for key in self._keys.get(kid, ()) if key.key_type == family]
        return fitting[0] if len(fitting) == 1 else None

    async def _fetch(self, now: float) -> None:
        self._next = now + _RETRY
        try:
            keys = _public(await _download(self.url))
        except (httpx.HTTPError, ValueError, JoseError):
            return
        self._keys, self._fetched, self._next = keys, now, now + _AGAIN


async def _download(url: str) -> Any:
    async with (
        httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=_SECONDS) as client,
        client.stream("GET", url, headers={"accept": "application/json"}) as response,
    ):
        response.raise_for_status()
        data = b""
        async for part in response.aiter_bytes():
            data += part
            if len(data) > _BYTES:
                raise ValueError(url)
        return json.loads(data)


def _public(document: Any) -> dict[str, list[RSAKey | ECKey | OKPKey]]:
    """The asymmetric public keys of a key set, by id. Raises ValueError, JoseError for what is none."""
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ValueError("keys")  # noqa: TRY004 one kind of failure for all that a document may be
    found: dict[str, list[RSAKey | ECKey | OKPKey]] = {}
    usable = [
        key
        for key in document["keys"]
        if isinstance(key, dict)
        and key.get("kty") in ("RSA", "EC", "OKP")
        and isinstance(key.get("kid"), str)
    ]
    for key in KeySet.import_key_set({"keys": usable}).keys:
        if isinstance(key, (RSAKey, ECKey, OKPKey)) and not key.is_private and key.kid is not None:
            found.setdefault(key.kid, []).append(key)
    return found


class Issuers:
    """Finds the agent of a foreign token. `audience`: this server's FHIR base."""

    def __init__(
        self,
        issuers: Sequence[Issuer],
        vocabulary: Vocabulary,
        audience: str,
        *,
        insecure: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Raises ValueError for a key set that is not https. `insecure`: http on loopback may be used."""
        self._issuers = {issuer.issuer: issuer for issuer in issuers}
        for issuer in issuers:
            _check_url(issuer.jwks_url, insecure=insecure)
        self._sources = {issuer.issuer: KeySource(issuer.jwks_url, clock) for issuer in issuers}
        self._vocabulary = vocabulary
        self._audience = audience
        self._clock = clock
        self._seen: dict[str, tuple[float, Agent]] = {}

    def are_asked(self, token: str) -> bool:
        """True where `token` is a JWT and foreign issuers are configured at all."""
        return bool(self._issuers) and token.count(".") == 2

    async def agent(self, token: str) -> Agent:
        """Raises NotAuthenticated for a token that is not good, Unavailable where keys cannot be fetched."""
        name, now = digest(token), self._clock()
        seen = self._seen.get(name)
        if seen is not None and seen[0] > now:
            return seen[1]
        if len(token) > _LONGEST:
            raise invalid_token()
        issuer, claims = await self._verified(token)
        agent = self._agent(name, issuer, claims)
        if len(self._seen) >= _MOST:
            self._seen.clear()
        self._seen[name] = (min(now + FRESH, claims["exp"] + SKEW), agent)
        return agent

    async def _verified(self, token: str) -> tuple[Issuer, dict[str, Any]]:
        header, payload, _ = token.split(".")
        head, claims = _object(header), _object(payload)
        issuer = self._issuers.get(str(claims.get("iss")))
        alg, kid = head.get("alg"), head.get("kid")
        typ = str(head.get("typ", "")).lower().removeprefix("application/")
        if issuer is None or set(head) - _HEADER or typ not in issuer.types:
            raise invalid_token()
        if alg not in issuer.algorithms or not isinstance(kid, str):
            raise invalid_token()
        key = await self._sources[issuer.issuer].find(kid, _FAMILY[str(alg)])
        if key is None:
            raise invalid_token()
        registry = jws.JWSRegistry(algorithms=[str(alg)], strict_check_header=False)
        try:
            verified = jws.deserialize_compact(token, key, registry=registry)
        except (JoseError, ValueError) as error:
            raise invalid_token() from error
        if json.loads(verified.payload) != claims or not self._holds(issuer, claims):
            raise invalid_token()
        return issuer, claims

    def _holds(self, issuer: Issuer, claims: Mapping[str, Any]) -> bool:
        """Whether the claims are for this server and for now."""
        now = self._clock()
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        exp, starts = claims.get("exp"), [claims[name] for name in ("nbf", "iat") if name in claims]
        return (
            (issuer.audience or self._audience) in audiences
            and _is_number(exp)
            and exp > now - SKEW
            and all(_is_number(start) and start <= now + SKEW for start in starts)
            and isinstance(claims.get("sub"), str)
            and bool(claims["sub"])
        )

    def _agent(self, name: str, issuer: Issuer, claims: Mapping[str, Any]) -> Agent:
        def text(path: str) -> str | None:
            value = _claim(claims, path)
            return value if isinstance(value, str) and value else None

        scope = _claim(claims, issuer.scope)
        scopes = parse(scope if isinstance(scope, str) else " ".join(_texts(scope)), self._vocabulary)
        client, subject = text(issuer.client), claims["sub"]
        patient, fhir_user = text(issuer.patient), self._own_resource(text(issuer.fhir_user))
        acts_for = [*_texts(_claim(claims, issuer.acts_for)), *_own_patient(fhir_user)]
        user = None if subject == client else f"{issuer.issuer}|{subject}"  # RFC 9068 section 2.2
        roles = _texts(_claim(claims, issuer.roles)) if user is not None else ()  # a backend is no person
        agent = Agent(
            f"jwt:{name[:12]}",
            client=client,
            user=user,
            fhir_user=fhir_user,
            roles=frozenset(roles),
            scopes=scopes,
            patient=patient if patient is not None and ID.fullmatch(patient) else None,
            acts_for=frozenset(id for id in acts_for if ID.fullmatch(id)),
            policy=f"urn:ietf:params:oauth:jti:{claims['jti']}"
            if isinstance(claims.get("jti"), str)
            else None,
            key=name,
        )
        check_context(scopes, agent)
        return agent

    def _own_resource(self, reference: str | None) -> str | None:
        """`Type/id` of the user's own resource; None for one of another server."""
        parts = (reference or "").removeprefix(f"{self._audience}/").split("/")
        known = len(parts) == 2 and self._vocabulary.is_type(parts[0]) and ID.fullmatch(parts[1])
        return "/".join(parts) if known else None


def _own_patient(fhir_user: str | None) -> list[str]:
    type, _, id = (fhir_user or "").partition("/")
    return [id] if type == "Patient" else []


def _check_url(url: str, *, insecure: bool) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    try:
        loopback = ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        loopback = parts.hostname == "localhost"
    if not (insecure and loopback and parts.scheme == "http"):
        raise ValueError(f"issuers: {url} is not https")


def _object(part: str) -> dict[str, Any]:
    """A part of a JWT as a JSON object. Raises NotAuthenticated."""
    try:
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise invalid_token() from error
    if not isinstance(found, dict):
        raise invalid_token()
    return found


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """The claim of that name, or at that path of names with dots between."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return value.split()
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
