"""Client authentication: what an attacker, or a careless client, may send. Rules: smart.md 4.1 and S23; security.md B8.

Source: hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html
"""

from __future__ import annotations

import base64
import hmac
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import pytest
from joserfc.jwk import RSAKey

from tests.kit.oauth import ASSERTION, App, Realm, new_key


@pytest.fixture(scope="module")
def service(realm: Realm) -> App:
    return realm.service()


def ask(app: App, assertion: Any, **more: Any) -> httpx.Response:
    form = {
        "grant_type": "client_credentials",
        "scope": "system/*.rs",
        "client_assertion_type": ASSERTION,
        "client_assertion": assertion,
    } | more
    return app.http.post(f"{app.root}/auth/token", data={n: v for n, v in form.items() if v is not None})


def refused(response: httpx.Response, status: int = 400) -> None:
    assert response.status_code == status, response.text
    assert response.json()["error"] == "invalid_client"
    assert "access_token" not in response.text
    assert ("www-authenticate" in response.headers) == (status == 401)


NOW = int(time.time())


@pytest.mark.parametrize(
    "claims",
    [
        {"jti": ""}, {"jti": None}, {"jti": {"a": 1}}, {"jti": ["a"]}, {"jti": 7}, {"jti": "j" * 256},
        {"exp": NOW + 3600}, {"exp": NOW - 10}, {"exp": str(NOW + 200)}, {"exp": None}, {"exp": True}, {"exp": 1e308},
        {"nbf": NOW + 600}, {"iat": NOW + 600}, {"nbf": "now"},
        {"aud": "https://other.example/auth/token"}, {"aud": None}, {"aud": []}, {"aud": 7},
        {"iss": "someone"}, {"sub": "someone"}, {"sub": 7}, {"sub": None}, {"iss": None}, {"sub": {"$ne": ""}},
    ],
)  # fmt: skip
def test_an_assertion_with_wrong_claims_is_refused(service: App, claims: dict[str, Any]) -> None:
    refused(ask(service, service.assertion(**claims)))


def test_an_audience_of_two_is_refused_and_of_one_is_not(service: App) -> None:
    token, issuer = f"{service.root}/auth/token", service.root
    refused(ask(service, service.assertion(aud=[token, issuer])))
    refused(ask(service, service.assertion(aud=f"{token}/")))
    for audience in (token, [token], issuer):
        assert ask(service, service.assertion(aud=audience)).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        {"kid": "unknown"}, {"kid": None}, {"kid": 7}, {"kid": "../../dev/null"}, {"typ": "at+jwt"},
        {"crit": ["exp"]}, {"jku": "https://evil.example/jwks"}, {"b64": False},
    ],
)  # fmt: skip
def test_an_assertion_with_a_wrong_header_is_refused(service: App, header: dict[str, Any]) -> None:
    head = {"alg": "RS384", "kid": service.key.kid, "typ": "JWT"} | header
    refused(ask(service, signed(service, {n: v for n, v in head.items() if v is not None})))


def signed(app: App, head: dict[str, Any], body: dict[str, Any] | None = None) -> str:
    """Signed by hand, so that no library refuses the header."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    claims = body or json.loads(_decoded(app.assertion().split(".")[1]))
    text = f"{_encoded(head)}.{_encoded(claims)}"
    algorithm = hashes.SHA256() if head.get("alg") == "RS256" else hashes.SHA384()
    signature = app.key.private_key.sign(text.encode(), padding.PKCS1v15(), algorithm)
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def _encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_unknown_header_members_and_no_typ_are_fine(service: App) -> None:
    for head in ({"kty": "RSA"}, {"typ": None}):
        whole = {"alg": "RS384", "kid": service.key.kid, "typ": "JWT"} | head
        whole = {n: v for n, v in whole.items() if v is not None}
        assert ask(service, signed(service, whole)).status_code == 200


def test_other_algorithms_are_refused(service: App) -> None:
    now = int(time.time())
    claims = {
        "iss": service.id, "sub": service.id, "aud": f"{service.root}/auth/token", "exp": now + 200, "jti": "one",
    }  # fmt: skip
    public = service.key.as_pem(private=False)
    text = f"{_encoded({'alg': 'HS384', 'kid': service.key.kid})}.{_encoded(claims)}"
    mac = hmac.digest(public, text.encode(), "sha384")
    hs384 = f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    rs256 = signed(service, {"alg": "RS256", "kid": service.key.kid}, claims)
    none = f"{_encoded({'alg': 'none', 'kid': service.key.kid})}.{_encoded(claims)}."
    for assertion in (hs384, rs256, none, none.replace("none", "nOnE")):
        refused(ask(service, assertion))
    good = signed(service, {"alg": "RS384", "kid": service.key.kid}, claims)
    for broken in (
        good[:-1],
        good[:-8],
        good + "A",
        good + ".x",
        good.replace(".", "..", 1),
        "a.b.c",
        "",
        "é",
    ):
        refused(ask(service, broken))
    assert ask(service, good).status_code == 200


def test_another_key_is_refused_also_when_the_header_brings_it(service: App) -> None:
    other = RSAKey.generate_key(2048, {"kid": service.key.kid})
    refused(ask(service, service.assertion(key=other)))
    claims = json.loads(_decoded(service.assertion().split(".")[1]))
    head = {"alg": "RS384", "kid": service.key.kid, "jwk": dict(other.as_dict(private=False))}
    forger = replace(service, key=other)
    refused(ask(service, signed(forger, head, claims)))
    assert ask(service, service.assertion()).status_code == 200


def test_an_assertion_is_good_once(service: App) -> None:
    one = service.assertion()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ask(service, one), range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]
    refused(ask(service, one))


def test_a_failed_signature_does_not_use_up_the_jti(service: App) -> None:
    other = RSAKey.generate_key(2048, {"kid": service.key.kid})
    refused(ask(service, service.assertion(key=other, jti="spoilt")))
    assert ask(service, service.assertion(jti="spoilt")).status_code == 200


@pytest.mark.parametrize("alg", ["RS384", "ES384"])
def test_a_backend_service_gets_a_short_token_without_refresh(realm: Realm, alg: str) -> None:
    app = realm.service("system/Patient.rs", alg)
    body = app.credentials("system/*.cruds").json()
    assert body["scope"] == "system/Patient.rs"
    assert body["expires_in"] <= 300
    assert "refresh_token" not in body
    with realm.fhir(body["access_token"]) as fhir:
        assert fhir.get("/Patient").status_code == 200
        assert fhir.get("/Observation").status_code == 403


@pytest.mark.parametrize(
    "scope",
    [None, "", "patient/*.rs", "user/*.rs", "system/*.rs user/*.rs", "system/Nothing.rs", "system/*.rs nonsense",
     "system/*.dus", "openid", "launch", "system/*.rs?", "SYSTEM/*.rs"],
)  # fmt: skip
def test_backend_services_get_system_scopes_or_nothing(service: App, scope: str | None) -> None:
    response = service.credentials(scope)
    assert response.status_code == 400
    assert response.json()["error"] == "invalid_scope"


def test_a_disabled_service_is_refused_and_its_token_ends(realm: Realm) -> None:
    app = realm.service()
    token = app.credentials().json()["access_token"]
    realm.store.clients.change(app.id, status="disabled")
    refused(app.credentials())
    with realm.fhir(token) as fhir:
        assert fhir.get("/Patient").status_code == 401


# the mechanism must be the registered one, and one


def test_mechanisms_are_not_mixed(realm: Realm, service: App) -> None:
    secret = realm.app("client_secret_basic")
    form = {"grant_type": "refresh_token", "refresh_token": "x"}
    url = f"{secret.root}/auth/token"
    basic = (secret.id, secret.secret or "")
    for more in ({"client_secret": secret.secret}, {"client_assertion": service.assertion()}):
        response = secret.http.post(url, data=form | more, auth=basic)
        assert response.json()["error"] == "invalid_request"
    refused(secret.http.post(url, data=form | {"client_id": secret.id}))
    refused(secret.http.post(url, data=form, auth=(secret.id, "wrong")), 401)
    refused(secret.http.post(url, data=form | {"client_id": "other"}, auth=basic), 401)
    refused(secret.http.post(url, data=form | {"client_id": secret.id, "client_secret": "wrong"}))
    public = realm.app()
    refused(public.http.post(url, data=form | {"client_id": public.id, "client_secret": "x"}))
    refused(ask(service, None, client_assertion_type=None, client_id=service.id))
    right = secret.http.post(url, data=form | {"client_id": secret.id, "client_secret": secret.secret})
    assert right.json()["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "header",
    ["Basic", "Basic !!!", "Basic " + base64.b64encode(b"\xff\xfe:x").decode(), "Basic bm9jb2xvbg==",
     "Bearer x", "Digest x", "Basic " + "A" * 20000],
)  # fmt: skip
def test_a_broken_authorization_header_is_refused(service: App, header: str) -> None:
    form = {"grant_type": "client_credentials"}
    response = service.http.post(f"{service.root}/auth/token", data=form, headers={"authorization": header})
    refused(response, 401)


def test_only_clients_with_keys_use_client_credentials(realm: Realm) -> None:
    app = realm.app("client_secret_basic")
    realm.store.clients.change(app.id, grant_types=["client_credentials"])
    assert app.credentials().json()["error"] == "unauthorized_client"


def test_two_keys_of_one_name_are_no_key(realm: Realm) -> None:
    app = realm.service()
    twin = RSAKey.generate_key(2048, {"kid": app.key.kid})
    keys = [dict(key.as_dict(private=False)) for key in (app.key, twin)]
    realm.store.clients.change(app.id, jwks={"keys": keys})
    refused(app.credentials())
    realm.store.clients.change(app.id, jwks={"keys": keys[:1]})
    assert app.credentials().status_code == 200


def test_keys_are_replaced(realm: Realm) -> None:
    app, key = realm.service(), new_key()
    realm.store.clients.change(app.id, jwks={"keys": [dict(key.as_dict(private=False))]})
    refused(app.credentials())
    app.key = key
    assert app.credentials().status_code == 200
