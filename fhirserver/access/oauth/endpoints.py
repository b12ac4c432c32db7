"""Introspection, revocation, userinfo.

Sources: RFC 7662, RFC 7009, OpenID Connect Core section 5.3; hl7.org/fhir/smart-app-launch/STU2.2/token-introspection.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidClientError, InvalidRequestError

from fhirserver.access.oauth.authenticate import authenticated
from fhirserver.access.oauth.oidc import user_claims
from fhirserver.access.oauth.parts import digest
from fhirserver.access.scopes import parse

if TYPE_CHECKING:
    from fhirserver.access.oauth.clients import SmartClient
    from fhirserver.access.oauth.parts import Parts
    from fhirserver.access.oauth.request import SmartRequest
    from fhirserver.access.oauth.server import Triple
    from fhirserver.store.oauth_grants import GrantRecord, TokenRow

_JSON = [("Content-Type", "application/json"), ("Cache-Control", "no-store"), ("Pragma", "no-cache")]
INACTIVE = {"active": False}


def standing(parts: Parts, token: str, kind: str | None = None) -> tuple[TokenRow, GrantRecord] | None:
    """A token that stands: not ended, not used up, its grant, client and user in order."""
    now = parts.clock()
    row = parts.store.grants.find(digest(token))
    if row is None or row.expires <= now or row.rotated or (kind is not None and row.kind != kind):
        return None
    grant = parts.store.grants.get(row.grant, now)
    if grant is None:
        return None
    if grant.client is not None:
        client = parts.store.clients.get(grant.client)
        if client is None or client.status != "active":
            return None
    if grant.user is not None:
        user = parts.store.users.get(grant.user)
        if user is None or user.disabled:
            return None
    return row, grant


def introspect(parts: Parts, request: SmartRequest) -> Triple:
    """What stands behind a token, for those who may know."""
    try:
        client, whole = _asker(parts, request)
    except OAuth2Error as error:
        error.status_code = 401
        error.get_headers = lambda: _challenged(request)
        return error()  # type: ignore[no-any-return]
    if "token" not in request.form:
        return InvalidRequestError("The parameter token is missing.")()  # type: ignore[no-any-return]
    found = standing(parts, request.form["token"])
    asker = client.get_client_id() if client is not None else None
    if found is None or not (whole or found[1].client == asker):
        request.visit.note("introspected", client=asker, error="inactive")
        return 200, dict(INACTIVE), _JSON
    row, grant = found
    request.visit.note("introspected", client=asker, grant=grant.id, user=grant.user)
    return 200, _described(parts, row, grant), _JSON


def _challenged(request: SmartRequest) -> list[tuple[str, str]]:
    scheme = "Bearer" if (request.authorization or "").lower().startswith("bearer") else "Basic"
    return [*_JSON, ("WWW-Authenticate", f'{scheme} realm="introspection"')]


def _asker(parts: Parts, request: SmartRequest) -> tuple[SmartClient | None, bool]:
    """Who asks, and whether about any token. A public client proves nothing and may not ask."""
    scheme, _, bearer = (request.authorization or "").partition(" ")
    if scheme.lower() == "bearer":
        found = standing(parts, bearer.strip(), "access")
        if found is None or "__introspect" not in parse(found[0].scope, parts.vocabulary):
            raise InvalidClientError("The token does not allow introspection.")
        return None, True
    client = authenticated(parts, request)
    if client.is_public:
        raise InvalidClientError("Client authentication failed.")
    return client, client.record.can_introspect


def _described(parts: Parts, row: TokenRow, grant: GrantRecord) -> dict[str, Any]:
    scope = row.scope or grant.scope
    told: dict[str, Any] = {
        "active": True,
        "scope": scope,
        "client_id": grant.client,
        "exp": int(row.expires.timestamp()),
        "iat": int(row.issued.timestamp()),
        "aud": grant.audience or parts.fhir_base,
        "token_type": "Bearer" if row.kind == "access" else "refresh_token",
        **grant.context,
    }
    user = parts.store.users.get(grant.user) if grant.user else None
    if user is not None and "openid" in parse(scope, parts.vocabulary):
        told |= {"iss": parts.issuer, **user_claims(parts, user, scope)}
    return told


def revoke(parts: Parts, request: SmartRequest) -> Triple:
    """End a token of the asking client. What is not its own is left alone, and not told from what does not exist."""
    try:
        client = authenticated(parts, request)
        if "token" not in request.form:
            raise InvalidRequestError("The parameter token is missing.")
    except OAuth2Error as error:
        return error()  # type: ignore[no-any-return]
    row = parts.store.grants.find(digest(request.form["token"]))
    grant = parts.store.grants.get(row.grant, parts.clock()) if row is not None else None
    if row is not None and grant is not None and grant.client == client.get_client_id():
        if row.kind == "refresh":
            parts.store.grants.revoke(grant.id, parts.clock())
        else:
            parts.store.grants.drop_access(row.digest)
        request.visit.note("revoked", client=grant.client, user=grant.user, grant=grant.id)
    return 200, {}, _JSON


def userinfo(parts: Parts, token: str) -> dict[str, str] | None:
    """The claims about the user of an access token with openid; None where there is none."""
    found = standing(parts, token, "access")
    if found is None or found[1].user is None or "openid" not in parse(found[0].scope, parts.vocabulary):
        return None
    user = parts.store.users.get(found[1].user)
    return user_claims(parts, user, found[0].scope) if user is not None else None
