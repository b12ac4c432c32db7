"""Client authentication at the token, revocation and introspection endpoints.

The one mechanism that the request presents must be the one that the client is registered with. Sources: RFC 6749
section 2.3, RFC 7523, hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html
"""

from __future__ import annotations

import base64
import binascii
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from authlib.oauth2.rfc6749 import InvalidClientError, InvalidRequestError
from joserfc import jws, jwt
from joserfc.errors import JoseError

from fhirserver.access.oauth.clients import ClientRefused, SmartClient, load_public_key, secret_matches
from fhirserver.access.oauth.parts import digest

if TYPE_CHECKING:
    from fhirserver.access.oauth.parts import Parts
    from fhirserver.access.oauth.request import SmartRequest
    from fhirserver.store.oauth import ClientRecord

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS = {"RS384": "RSA", "ES384": "EC"}
LONGEST_LIFE, SKEW = 300, 5
_LONGEST_ASSERTION = 16 * 2**10
_LONGEST_JTI = 255
_REGISTRY = jws.JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False)


def authenticated(parts: Parts, request: SmartRequest) -> SmartClient:
    """The client that the request proves to come from (a public one: says to). Raises InvalidClientError,
    InvalidRequestError.
    """  # noqa: D205
    form = request.form
    presented = [
        request.authorization is not None,
        "client_secret" in form,
        "client_assertion" in form or "client_assertion_type" in form,
    ]
    if sum(presented) > 1:
        raise InvalidRequestError("Authenticate in one way, not in several.")
    if request.authorization is not None:
        method, record = "client_secret_basic", _by_basic(parts, request.authorization)
    elif "client_secret" in form:
        record = _by_secret(parts, form.get("client_id", ""), form["client_secret"])
        method = "client_secret_basic"
    elif presented[2]:
        method, record = "private_key_jwt", _by_assertion(parts, form)
    else:
        method, record = "none", parts.store.clients.get(form.get("client_id", ""))
    if record is None or record.status != "active" or record.auth_method != method:
        raise _failed(request)
    if form.get("client_id", record.client_id) != record.client_id:
        raise _failed(request)
    request.auth_method = method
    return SmartClient(record)


def _failed(request: SmartRequest) -> InvalidClientError:
    """401 with a challenge where the Authorization header was used, else 400 and none."""
    status = 401 if request.authorization is not None else 400
    return InvalidClientError("Client authentication failed.", status_code=status)


def _by_basic(parts: Parts, header: str) -> ClientRecord | None:
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        id, colon, secret = base64.b64decode(text.strip(), validate=True).decode("utf-8").partition(":")
        id, secret = unquote_plus(id, errors="strict"), unquote_plus(secret, errors="strict")
    except (binascii.Error, ValueError):
        return None
    return _by_secret(parts, id, secret) if colon else None


def _by_secret(parts: Parts, id: str, secret: str) -> ClientRecord | None:
    record = parts.store.clients.get(id)
    return record if record is not None and secret_matches(record, secret) else None


def _by_assertion(parts: Parts, form: dict[str, str]) -> ClientRecord | None:
    if form.get("client_assertion_type") != ASSERTION_TYPE:
        return None
    try:
        header, claims = _unverified(form.get("client_assertion", ""))
        record = parts.store.clients.get(claims["sub"]) if isinstance(claims.get("sub"), str) else None
        if record is None or record.auth_method != "private_key_jwt" or record.status != "active":
            return None
        _check_header(header, record)
        key = _key(parts, record, header)
        verified = jwt.decode(form["client_assertion"], key, registry=_REGISTRY).claims
        _check_claims(parts, record, verified)
    except (
        JoseError,
        _NoGood,
        ValueError,
        TypeError,
        KeyError,
        OverflowError,
        RecursionError,
        ClientRefused,
    ):
        return None
    return record


class _NoGood(Exception):
    """The assertion does not hold."""


def _demand(holds: bool) -> None:
    if not holds:
        raise _NoGood


def _unverified(assertion: str) -> tuple[dict[str, Any], dict[str, Any]]:
    _demand(0 < len(assertion) <= _LONGEST_ASSERTION)
    parsed = jws.extract_compact(assertion.encode("ascii"))
    claims = json.loads(parsed.payload)
    _demand(isinstance(claims, dict))
    return dict(parsed.headers()), claims


def _check_header(header: dict[str, Any], record: ClientRecord) -> None:
    _demand(header.get("alg") in ALGORITHMS and isinstance(header.get("kid"), str))
    _demand(header.get("typ", "JWT") == "JWT")
    _demand("crit" not in header and "b64" not in header)
    _demand("jku" not in header or (record.jwks_uri is not None and header["jku"] == record.jwks_uri))


def _key(parts: Parts, record: ClientRecord, header: dict[str, Any]) -> Any:
    """The only key of that name and kind; never one that the header brings along."""
    kid, kty = header["kid"], ALGORITHMS[header["alg"]]
    keys = [k for k in parts.jwks.keys(record, kid) if k.get("kid") == kid and k.get("kty") == kty]
    _demand(len(keys) == 1)
    return load_public_key(keys[0])


def _check_claims(parts: Parts, record: ClientRecord, claims: dict[str, Any]) -> None:
    _demand(claims.get("iss") == record.client_id and claims.get("sub") == record.client_id)
    audience = claims.get("aud")
    if isinstance(audience, list):
        _demand(len(audience) == 1)
        audience = audience[0]
    _demand(audience in (parts.token_endpoint, parts.issuer))
    now = parts.clock()
    stamp = now.timestamp()
    _demand(stamp < _number(claims.get("exp")) <= stamp + LONGEST_LIFE + SKEW)
    for name in ("nbf", "iat"):
        if (value := claims.get(name)) is not None:
            _demand(_number(value) <= stamp + SKEW)
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= _LONGEST_JTI:
        raise _NoGood
    until = now + timedelta(seconds=LONGEST_LIFE + 60)
    _demand(parts.store.codes.first_use(record.client_id, digest(jti), until))


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _NoGood
    return float(value)
