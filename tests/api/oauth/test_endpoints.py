"""Discovery, introspection, revocation, registration, keys. Sources: RFC 7662, RFC 7009, RFC 7591, RFC 8414;
hl7.org/fhir/smart-app-launch/STU2.2/conformance.html
"""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from tests.kit.oauth import CALLBACK, Realm, new_key, tokens_of, web

SCOPE = "openid fhirUser launch/patient patient/*.rs offline_access"


@pytest.fixture
def tokens(realm: Realm, patients: tuple[str, str]) -> tuple[Any, Any, dict[str, Any]]:
    app = realm.app("client_secret_basic")
    user = realm.user("patient", fhir_user=f"Patient/{patients[0]}")
    return app, user, tokens_of(app, user, SCOPE, patient=patients[0])


def test_every_document_names_the_same_addresses(realm: Realm) -> None:
    root = realm.server.root
    smart = web().get(f"{root}/fhir/.well-known/smart-configuration", headers={"accept": "text/html"})
    assert smart.headers["content-type"] == "application/json"
    told = smart.json()
    assert told["code_challenge_methods_supported"] == ["S256"]
    assert "registration_endpoint" in told
    for path in ("openid-configuration", "oauth-authorization-server"):
        other = web().get(f"{root}/.well-known/{path}").json()
        shared = told.keys() & other.keys() - {"token_endpoint_auth_methods_supported"}
        assert {name: told[name] for name in shared} == {name: other[name] for name in shared}
        assert other["authorization_response_iss_parameter_supported"] is True
    security = web().get(f"{root}/fhir/metadata").json()["rest"][0]["security"]
    assert security["cors"] is True
    assert security["service"][0]["coding"][0]["code"] == "SMART-on-FHIR"
    addresses = {one["url"]: one["valueUri"] for one in security["extension"][0]["extension"]}
    assert addresses == {
        "authorize": told["authorization_endpoint"],
        "token": told["token_endpoint"],
        "introspect": told["introspection_endpoint"],
        "revoke": told["revocation_endpoint"],
        "manage": told["management_endpoint"],
    }


def test_every_address_of_the_documents_answers(realm: Realm) -> None:
    told = web().get(f"{realm.server.root}/.well-known/openid-configuration").json()
    for name, url in told.items():
        if name.endswith(("_endpoint", "_uri")):
            assert url.startswith(realm.server.root)
            assert web().get(url).status_code in (200, 303, 400, 401, 405), name


def test_a_client_learns_about_its_own_tokens(realm: Realm, tokens: Any, patients: tuple[str, str]) -> None:
    app, user, body = tokens
    told = app.post("/auth/introspect", {"token": body["access_token"]}).json()
    assert told["active"] is True
    assert told["scope"] == body["scope"]
    assert (told["client_id"], told["sub"], told["iss"]) == (app.id, user.id, app.root)
    assert told["patient"] == patients[0]
    assert told["aud"] == realm.server.fhir
    assert told["fhirUser"] == f"{realm.server.fhir}/Patient/{patients[0]}"
    assert isinstance(told["exp"], int)
    assert app.post("/auth/introspect", {"token": body["refresh_token"]}).json()["active"] is True


def test_other_tokens_are_told_to_none_but_those_who_may_know(realm: Realm, tokens: Any) -> None:
    _, _, body = tokens
    form = {"token": body["access_token"]}
    nosy, able = realm.app("client_secret_basic"), realm.app("client_secret_basic", can_introspect=True)
    assert nosy.post("/auth/introspect", form).json() == {"active": False}
    assert able.post("/auth/introspect", form).json()["active"] is True
    url = f"{realm.server.root}/auth/introspect"
    bearer = {"authorization": f"Bearer {realm.token('__introspect')}"}
    assert web().post(url, data=form, headers=bearer).json()["active"] is True
    wrong = {"authorization": f"Bearer {realm.token('system/*.rs')}"}
    for more in ({"headers": wrong}, {"auth": (able.id, "wrong")}, {}):
        refused = web().post(url, data=form, **more)
        assert refused.status_code == 401
        assert "www-authenticate" in refused.headers
    assert realm.app().post("/auth/introspect", form).status_code == 401


def test_nothing_is_told_of_tokens_that_do_not_stand(realm: Realm, tokens: Any) -> None:
    app, user, body = tokens
    assert app.post("/auth/introspect", {"token": "nonsense"}).json() == {"active": False}
    realm.store.users.change(user.id, disabled=True)
    assert app.post("/auth/introspect", {"token": body["access_token"]}).json() == {"active": False}


def test_revoking_the_refresh_token_ends_the_grant(tokens: Any) -> None:
    app, _, body = tokens
    revoked = app.post("/auth/revoke", {"token": body["refresh_token"], "token_type_hint": "nonsense"})
    assert revoked.status_code == 200
    for token in (body["access_token"], body["refresh_token"]):
        assert app.post("/auth/introspect", {"token": token}).json() == {"active": False}


def test_revoking_an_access_token_leaves_the_rest(tokens: Any) -> None:
    app, _, body = tokens
    assert app.post("/auth/revoke", {"token": body["access_token"]}).status_code == 200
    assert app.post("/auth/introspect", {"token": body["access_token"]}).json() == {"active": False}
    assert app.refresh(body["refresh_token"]).status_code == 200


def test_revoking_what_is_not_ones_own_has_no_effect_and_tells_nothing(realm: Realm, tokens: Any) -> None:
    app, _, body = tokens
    for token in (body["refresh_token"], body["access_token"], "nonsense"):
        assert realm.app().post("/auth/revoke", {"token": token}).status_code == 200
    assert app.post("/auth/introspect", {"token": body["access_token"]}).json()["active"] is True
    assert app.post("/auth/revoke", {}).json()["error"] == "invalid_request"


def test_a_public_app_refreshes_without_naming_itself_and_a_confidential_one_does_not(
    realm: Realm, tokens: Any, patients: tuple[str, str]
) -> None:
    public = realm.app()
    user = realm.user("patient", fhir_user=f"Patient/{patients[0]}")
    own = tokens_of(public, user, SCOPE, patient=patients[0])
    url = f"{realm.server.root}/auth/token"
    form = {"grant_type": "refresh_token", "refresh_token": own["refresh_token"]}
    assert web().post(url, data=form).status_code == 200
    refused = web().post(url, data=form | {"refresh_token": tokens[2]["refresh_token"]})
    assert refused.json()["error"] == "invalid_client"
    assert tokens[0].refresh(tokens[2]["refresh_token"]).status_code == 200


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"grant_type": "password", "username": "a", "password": "b"}, "unsupported_grant_type"),
        ({}, "unsupported_grant_type"),
        ({"grant_type": "authorization_code"}, "invalid_request"),
        ({"grant_type": "refresh_token"}, "invalid_request"),
    ],
)
def test_other_grants_are_refused(realm: Realm, form: dict[str, str], expected: str) -> None:
    response = realm.app().post("/auth/token", form)
    assert response.status_code == 400
    assert response.json()["error"] == expected


# registration


def register(realm: Realm, token: str = "r" * 40, **metadata: Any) -> httpx.Response:
    good = {
        "client_name": "New app",
        "redirect_uris": [CALLBACK],
        "scope": "launch/patient patient/Observation.rs",
    }
    return web().post(
        f"{realm.server.root}/auth/register",
        json=good | metadata,
        headers={"authorization": f"Bearer {token}"},
    )


def test_a_registered_app_works(realm: Realm, patients: tuple[str, str]) -> None:
    made = register(realm)
    assert made.status_code == 201
    body = made.json()
    assert body["status"] == "active"
    stored = realm.store.clients.get(body["client_id"])
    assert stored is not None
    from tests.kit.oauth import App

    app = App(realm.server.root, stored, body["client_secret"])
    user = realm.user("patient", fhir_user=f"Patient/{patients[0]}")
    assert (
        tokens_of(app, user, "launch/patient patient/Observation.rs", patient=patients[0])["patient"]
        == patients[0]
    )


@pytest.mark.parametrize("scope", ["system/Patient.rs", "patient/*.rs", "user/*.cruds"])
def test_whoever_wants_much_waits_for_an_administrator(realm: Realm, scope: str) -> None:
    body = register(realm, scope=scope).json()
    assert body["status"] == "pending"


PRIVATE = dict(new_key().as_dict(private=True))


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"redirect_uris": ["http://app.example/cb"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://app.example/*"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://app.example/cb#x"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://u:p@app.example/cb"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["http://127.0.0.1.evil.example/cb"]}, "invalid_redirect_uri"),
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"redirect_uris": [7]}, "invalid_redirect_uri"),
        ({"redirect_uris": "https://app.example/cb"}, "invalid_redirect_uri"),
        ({"scope": "nonsense"}, "invalid_client_metadata"),
        ({"client_name": ""}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "tls_client_auth"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "none", "grant_types": ["client_credentials"]}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [PRIVATE]}}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [{"kty": "oct", "k": "AA", "kid": "a"}]}},
         "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://127.0.0.1/jwks"},
         "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "http://app.example/jwks"},
         "invalid_client_metadata"),
    ],
)  # fmt: skip
def test_a_registration_that_breaks_a_rule_is_refused(
    realm: Realm, metadata: dict[str, Any], expected: str
) -> None:
    response = register(realm, **metadata)
    assert response.status_code == 400
    assert response.json()["error"] == expected


@pytest.mark.parametrize(
    "uri", ["com.example.app:/cb", "http://127.0.0.1:7777/cb", "http://[::1]/cb", "http://localhost/cb"]
)
def test_native_apps_and_loopback_may_register(realm: Realm, uri: str) -> None:
    assert register(realm, redirect_uris=[uri]).status_code == 201


def test_registration_needs_its_token(realm: Realm) -> None:
    for token in ("x", "r" * 39, realm.token()):
        assert register(realm, token).status_code == 401


# keys


def test_an_old_key_stays_published_and_the_new_one_signs(realm: Realm) -> None:
    from datetime import timedelta

    old = realm.parts.keys.signing().kid
    new = realm.parts.keys.rotate()
    assert {new, old} <= {key["kid"] for key in realm.parts.keys.published()["keys"]}
    assert realm.parts.keys.signing().kid == new
    published = realm.parts.keys.published()["keys"]
    assert all(key.keys().isdisjoint({"d", "p", "q"}) for key in published)
    past = realm.parts.clock() - timedelta(hours=25)
    realm.store.keys._rows.update_one({"kid": old}, {"$set": {"retired": past}})
    realm.parts.keys.rotate()
    assert old not in [key["kid"] for key in realm.parts.keys.published()["keys"]]


def test_the_audit_log_keeps_the_request_for_a_token_without_its_secrets(realm: Realm, tokens: Any) -> None:
    """audit.md 3.3, IHE ITI-71: the raw request; beside it one that was refused, which claims no pattern."""
    app, _, body = tokens
    assert app.refresh("x" * 43).status_code == 400
    with realm.fhir(realm.token("system/AuditEvent.rs")) as fhir:
        asked = {"agent:identifier": app.id, "type": "110114", "subtype": "ITI-71", "_sort": "date"}
        found = [entry["resource"] for entry in fhir.get("/AuditEvent", params=asked).json()["entry"]]
    requests = [base64.b64decode(event["entity"][0]["query"]).decode() for event in found]
    assert requests[0].startswith("POST /auth/token\n\n")
    assert "grant_type=authorization_code" in requests[0]
    assert "code=*" in requests[0]
    assert "grant_type=refresh_token" in requests[1]
    assert "x" * 43 not in requests[1]
    assert body["access_token"] not in str(found)
    assert [event["meta"].get("profile", []) for event in found] == [
        ["https://profiles.ihe.net/ITI/IUA/StructureDefinition/IHE.IUA.71"],
        [],
    ]
