"""Clients, as an administrator or (where it is on) dynamic registration makes them. Source: RFC 7591."""

from __future__ import annotations

import uuid
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from fhirserver.access.oauth.clients import ClientRefused, check_client
from fhirserver.access.oauth.parts import digest, fresh_secret
from fhirserver.access.scopes import ALL, parse
from fhirserver.store.oauth import ClientRecord

if TYPE_CHECKING:
    from fhirserver.access.oauth.parts import Parts, Visit

_TEXTS = ("client_name", "token_endpoint_auth_method", "scope", "jwks_uri")
_LISTS = ("redirect_uris", "grant_types", "response_types", "allowed_origins", "launch_uris")
DEFAULT_GRANTS = ("authorization_code", "refresh_token")
_MOST = 20


def add(parts: Parts, visit: Visit, record: ClientRecord) -> tuple[ClientRecord, str | None]:
    """Check and keep a client; with its secret, which is told once. Raises ClientRefused, ClientExists."""
    check_scope(parts, record.scope)
    check_client(record)
    check_policy(parts, record.system_policy)
    secret = fresh_secret() if record.auth_method == "client_secret_basic" else None
    if secret is not None:
        record = replace(record, secret_hash=digest(secret))
    parts.store.clients.add(record)
    visit.note("client-changed", client=record.client_id, scope=record.scope)
    return record, secret


def change(parts: Parts, visit: Visit, record: ClientRecord, **values: Any) -> ClientRecord:
    """Check and keep another form of a client. Raises ClientRefused."""
    changed = replace(record, **values)
    check_scope(parts, changed.scope)
    check_client(changed)
    check_policy(parts, changed.system_policy)
    stored = {n: list(v) if isinstance(v, tuple) else v for n, v in asdict(changed).items() if n in values}
    parts.store.clients.change(record.client_id, **stored)
    visit.note("client-changed", client=record.client_id, scope=changed.scope)
    return changed


def new_secret(parts: Parts, visit: Visit, record: ClientRecord) -> str:
    """Another secret; the old one stops working. Raises ClientRefused."""
    if record.auth_method != "client_secret_basic":
        raise ClientRefused("client_secret", "this client has no secret")
    secret = fresh_secret()
    parts.store.clients.change(record.client_id, secret_hash=digest(secret))
    visit.note("client-changed", client=record.client_id)
    return secret


def check_scope(parts: Parts, scope: str) -> None:
    """Raises ClientRefused for a ceiling that is not understood whole."""
    parsed = parse(scope, parts.vocabulary)
    if parsed.dropped or not parsed:
        raise ClientRefused("scope", "SMART scopes, separated by blanks; each one must be known")


def check_policy(parts: Parts, policy: str | None) -> None:
    """Raises ClientRefused for a policy that would give a backend service nothing."""
    if policy is not None and not parts.roles.service_ceiling(policy):
        raise ClientRefused("system_policy", "the code of a role that reaches all resources of some types")


def register(parts: Parts, visit: Visit, body: Any) -> dict[str, Any]:
    """The answer to a dynamic registration. Raises ClientRefused.

    Whoever asks for `system/` scopes or wildcards waits for an administrator (status pending).
    """
    values = _values(body)
    grants = tuple(values.get("grant_types", DEFAULT_GRANTS))
    if values.get("response_types", ["code"]) != ["code"] and "authorization_code" in grants:
        raise ClientRefused("response_types", "code is the only response type")
    scope = values.get("scope", "")
    careful = any(s.level == "system" or s.type == ALL for s in parse(scope, parts.vocabulary).resources)
    record = ClientRecord(
        uuid.uuid4().hex,
        values.get("client_name", ""),
        values.get("token_endpoint_auth_method", "client_secret_basic"),
        parts.clock(),
        status="pending" if careful else "active",
        jwks=body.get("jwks"),
        jwks_uri=values.get("jwks_uri"),
        redirect_uris=tuple(values.get("redirect_uris", ())),
        launch_uris=tuple(values.get("launch_uris", ())),
        allowed_origins=tuple(values.get("allowed_origins", ())),
        grant_types=grants,
        scope=scope,
    )
    record, secret = add(parts, visit, record)
    return _answer(record, secret)


def _values(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise ClientRefused("body", "a JSON object of client metadata")
    for name in _TEXTS:
        if name in body and (not isinstance(body[name], str) or len(body[name]) > 8192):
            raise ClientRefused(name, "a text")
    for name in _LISTS:
        value = body.get(name, [])
        if not isinstance(value, list) or len(value) > _MOST or not all(isinstance(v, str) for v in value):
            raise ClientRefused(name, f"a list of at most {_MOST} texts")
    if body.get("jwks") is not None and not isinstance(body["jwks"], dict):
        raise ClientRefused("jwks", "a JWK Set")
    return {name: body[name] for name in (*_TEXTS, *_LISTS) if name in body}


def _answer(record: ClientRecord, secret: str | None) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "client_id": record.client_id,
        "client_id_issued_at": int(record.created.timestamp()),
        "client_name": record.name,
        "token_endpoint_auth_method": record.auth_method,
        "grant_types": list(record.grant_types),
        "redirect_uris": list(record.redirect_uris),
        "scope": record.scope,
        "status": record.status,
    }
    if "authorization_code" in record.grant_types:
        answer["response_types"] = ["code"]
    if secret is not None:
        answer |= {"client_secret": secret, "client_secret_expires_at": 0}
    for name in ("jwks", "jwks_uri"):
        if (value := getattr(record, name)) is not None:
            answer[name] = value
    return answer
