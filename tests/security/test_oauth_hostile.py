"""Hostile input to the endpoints, and what must never get out. Rules: smart.md S30, S32; security.md B4, B17, H1, I5."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import httpx
import pytest

from tests.kit.oauth import PASSWORD, Person, Realm, code_of, tokens_of, told, web
from tests.kit.wait import eventually

POSTS = (
    "/auth/token", "/auth/revoke", "/auth/introspect", "/auth/authorize", "/auth/login", "/auth/factor", "/auth/consent",
    "/auth/logout", "/auth/apps/x/revoke", "/auth/launch", "/auth/register", "/auth/renew", "/auth/password",
)  # fmt: skip
FORM = "application/x-www-form-urlencoded"


def sane(response: httpx.Response) -> None:
    assert 400 <= response.status_code < 500, (response.status_code, response.text[:300])
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "Traceback" not in response.text


BODIES: dict[str, tuple[str, bytes]] = {
    "empty": (FORM, b""),
    "no type": ("", b"grant_type=client_credentials"),
    "json": ("application/json", b'{"username":{"$ne":null},"password":{"$ne":null}}'),
    "broken json": ("application/json", b"{"),
    "deep json": ("application/json", b"[" * 5000),
    "multipart": (
        "multipart/form-data; boundary=x",
        b"--x\r\ncontent-disposition: form-data; name=a\r\n\r\nb\r\n--x--",
    ),
    "xml": ("application/xml", b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>"),
    "bytes": (FORM, bytes(range(256))),
    "bad utf-8": (FORM, b"grant_type=%ff%fe&client_id=%c3%28"),
    "null": (FORM, b"grant_type=refresh_token&refresh_token=%00&client_id=a%00b"),
    "repeated": (FORM, b"grant_type=refresh_token&grant_type=client_credentials"),
    "operators": (FORM, b"client_id[$ne]=x&username[$gt]=&csrf[]=1"),
    "many fields": (FORM, b"&".join(b"a%d=1" % n for n in range(200))),
    "surrogates": (FORM, b"grant_type=refresh_token&refresh_token=%ed%a0%80"),
    "not ascii": (FORM, "grant_type=ção&client_id=ção&scope=ção&code=ção".encode()),
    "quotes": (FORM, b"client_id=%22&redirect_uri=%5C&response_type=%22&grant_type=%22%5C"),
    "huge value": (FORM, b"client_id=" + b"x" * 60_000),
}


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("body", BODIES, ids=lambda name: name.replace(" ", "-"))
def test_strange_bodies_are_refused(realm: Realm, path: str, body: str) -> None:
    kind, content = BODIES[body]
    response = web().post(
        realm.server.root + path, content=content, headers={"content-type": kind} if kind else {}
    )
    sane(response)


@pytest.mark.parametrize("path", ["/auth/token", "/auth/authorize", "/auth/login", "/auth/launch"])
def test_a_body_beyond_the_limit_is_refused(realm: Realm, path: str) -> None:
    token = realm.token("__launch.create")
    headers = {"content-type": FORM, "authorization": f"Bearer {token}"}
    response = web().post(realm.server.root + path, content=b"a=" + b"x" * 70_000, headers=headers)
    assert response.status_code == 413


def test_random_requests_never_break_the_server(realm: Realm) -> None:
    chance = random.Random(7)
    names = ["client_id", "redirect_uri", "scope", "state", "response_type", "code_challenge", "aud", "launch", "txn",
             "grant_type", "code", "token", "csrf", "username", "password", "client_assertion", "prompt"]  # fmt: skip
    app = realm.app()
    with httpx.Client(base_url=realm.server.root) as client:
        for _ in range(150):
            form = dict(app.request()) if chance.random() < 0.5 else {}
            for name in chance.sample(names, chance.randint(1, 6)):
                form[name] = "".join(
                    chr(chance.choice((9, 34, 92, 233, 0x1F600, 65))) for _ in range(chance.randint(0, 40))
                )
            path = chance.choice(POSTS[:8])
            response = client.request(chance.choice(("GET", "POST")), path, **(
                {"data": form} if chance.random() < 0.7 else {"params": form}
            ))  # fmt: skip
            assert response.status_code < 500, (path, form)
    assert web().get(f"{realm.server.root}/readyz").status_code == 200


@pytest.mark.parametrize("path", ["/auth/continue", "/auth/continue?txn=", "/auth/continue?txn=%00%ff", "/auth/authorize",
                                  "/auth/authorize?" + "a=1&" * 200, "/auth/authorize?client_id=%ff"])  # fmt: skip
def test_pages_of_requests_that_do_not_exist_say_so(realm: Realm, path: str) -> None:
    response = web().get(realm.server.root + path)
    sane(response)
    assert response.headers["content-type"].startswith("text/html")


def test_other_methods_are_not_allowed(realm: Realm) -> None:
    for method, path in (
        ("GET", "/auth/token"),
        ("PUT", "/auth/token"),
        ("DELETE", "/auth/authorize"),
        ("PATCH", "/auth/login"),
    ):
        assert web().request(method, realm.server.root + path).status_code == 405


# B4, B17


def test_a_token_in_the_url_counts_for_nothing(realm: Realm) -> None:
    token = realm.token()
    url = f"{realm.server.fhir}/Patient"
    assert web().get(url, params={"access_token": token}).status_code == 401
    assert web().get(url, headers={"authorization": f"Bearer {token}"}).status_code == 200
    user = realm.user()
    userinfo = f"{realm.server.root}/auth/userinfo"
    bearer = realm.token("openid", user=user.name)
    assert web().get(userinfo, params={"access_token": bearer}).status_code == 401
    assert web().get(userinfo, headers={"authorization": f"Bearer {bearer}"}).status_code == 200


def test_two_or_huge_authorization_headers_are_refused(realm: Realm) -> None:
    user = realm.user()
    bearer = f"Bearer {realm.token('openid', user=user.name)}"
    userinfo = f"{realm.server.root}/auth/userinfo"
    two = [("authorization", bearer), ("authorization", bearer)]
    assert web().get(userinfo, headers=two).status_code == 401
    assert web().get(userinfo, headers={"authorization": "Bearer " + "x" * 64 * 1024}).status_code in (
        400,
        401,
        431,
    )
    form = {"grant_type": "client_credentials"}
    assert web().post(f"{realm.server.root}/auth/token", data=form, headers=two).status_code == 401


# S32


def test_no_secret_gets_into_logs_errors_or_redirects(realm: Realm, patients: tuple[str, str]) -> None:
    app = realm.app("client_secret_basic")
    user = realm.user("patient", fhir_user=f"Patient/{patients[0]}")
    doctor = realm.user("practitioner")
    service = realm.service()
    assertion = service.assertion()
    service.post(
        "/auth/token",
        {"client_assertion": assertion, "grant_type": "client_credentials", "scope": "system/*.rs"},
    )
    replay = service.post("/auth/token", {"client_assertion": assertion, "grant_type": "client_credentials"})
    person = Person(app.root)
    person.open(app.url("openid launch/patient patient/*.rs offline_access"))
    person.send(username=user.name, password="typed wrong but secret")
    person.sign_in(user)
    code = told(person.approve(patients[0]))["code"]
    tokens = app.redeem(code).json()
    refused = [app.redeem(code), app.refresh(tokens["refresh_token"]), replay]
    code_2 = code_of(doctor.totp or "")
    factor = Person(app.root)
    factor.open("/auth/apps")
    factor.send(username=doctor.name, password=PASSWORD)
    factor.send(code=code_2)
    secrets = [code, tokens["access_token"], tokens["refresh_token"], tokens["id_token"], app.secret or "", PASSWORD,
               "typed wrong but secret", assertion, app.verifier, doctor.totp or "",
               *person.http.cookies.values(), *factor.http.cookies.values()]  # fmt: skip
    routes = (
        "/auth/authorize",
        "/auth/continue",
        "/auth/login",
        "/auth/factor",
        "/auth/consent",
        "/auth/token",
    )
    wanted = [f'"route":"{route}"' for route in routes]
    assert eventually(lambda: all(line in realm.server.log.read_text(encoding="utf-8") for line in wanted))
    log = realm.server.log.read_text(encoding="utf-8")
    for secret in secrets:
        assert secret not in log
        assert all(secret not in response.text for response in refused)
    # beside it: the database holds none of them in clear either
    for name in ("txns", "codes", "sessions", "tokens", "refresh", "clients", "users", "jti"):
        rows = json.dumps(list(realm.store._client["fhir"][f"oauth_{name}"].find()), default=str)
        for secret in secrets:
            assert secret not in rows, name


def test_events_for_the_audit_carry_facts_and_no_secrets(realm: Realm, patients: tuple[str, str]) -> None:
    from fhirserver.access.oauth.parts import Visit
    from fhirserver.access.oauth.request import SmartRequest
    from fhirserver.access.oauth.server import SmartServer

    app = realm.app()
    user = realm.user("patient", fhir_user=f"Patient/{patients[0]}")
    person = Person(app.root)
    person.open(app.url("launch/patient patient/*.rs offline_access"))
    person.sign_in(user)
    code = told(person.approve(patients[0]))["code"]
    visit = Visit("192.0.2.1")
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": app.record.redirect_uris[0],
            "code_verifier": app.verifier, "client_id": app.id}  # fmt: skip
    server = SmartServer(realm.parts)
    for _ in range(2):
        server.token(SmartRequest("POST", form, visit))
    kinds = [event.kind for event in visit.events]
    assert kinds == ["token-issued", "reuse-detected", "token-refused"]
    issued = visit.events[0]
    assert (issued.client, issued.user, issued.patient) == (app.id, user.id, patients[0])
    assert all(event.address == "192.0.2.1" for event in visit.events)
    assert visit.events[2].error == "invalid_grant"
    assert code not in repr(visit.events)


# I5 and smart.md 9


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://spa.example", True), ("https://always.example", True), ("https://evil.example", False), ("null", False),
        ("https://spa.example.evil.example", False), ("https://SPA.example", False), ("http://spa.example", False),
    ],
)  # fmt: skip
def test_pages_of_registered_origins_and_no_others_may_call(
    realm: Realm, spa: Any, origin: str, allowed: bool
) -> None:
    expected = origin if allowed else None
    headers = {"origin": origin}
    refused = spa.refresh("nonsense").status_code
    assert refused == 400
    token = f"{realm.server.root}/auth/token"
    form = {"grant_type": "refresh_token", "refresh_token": "x", "client_id": spa.id}
    for response in (
        web().post(token, data=form, headers=headers),
        web().options(token, headers=headers | {"access-control-request-method": "POST"}),
        web().get(f"{realm.server.fhir}/Patient", headers=headers),
    ):
        assert response.headers.get("access-control-allow-origin") == expected
        assert "access-control-allow-credentials" not in response.headers
        assert "Origin" in response.headers["vary"]
    for path in ("/auth/introspect", "/auth/launch", "/auth/authorize", "/auth/login"):
        response = web().post(realm.server.root + path, headers=headers)
        assert "access-control-allow-origin" not in response.headers
    for path in ("/fhir/.well-known/smart-configuration", "/auth/jwks", "/.well-known/openid-configuration"):
        response = web().get(realm.server.root + path, headers=headers)
        assert response.headers["access-control-allow-origin"] == "*"


@pytest.fixture(scope="module")
def spa(realm: Realm) -> Any:
    """An app whose origin the server has taken up."""
    app = realm.app(allowed_origins=("https://spa.example",))
    until = time.monotonic() + 30  # the server looks for new ones every two seconds
    while time.monotonic() < until:
        response = web().options(f"{realm.server.root}/auth/token", headers={"origin": "https://spa.example"})
        if "access-control-allow-origin" in response.headers:
            break
    return app


def test_the_token_answer_is_for_the_origin_of_its_own_client(realm: Realm, spa: Any) -> None:
    other = realm.app("client_secret_basic")
    form = {"grant_type": "refresh_token", "refresh_token": "x"}
    response = other.post("/auth/token", form, headers={"origin": "https://spa.example"})
    assert response.json()["error"] == "invalid_grant"
    assert "access-control-allow-origin" not in response.headers
    own = spa.post("/auth/token", form, headers={"origin": "https://spa.example"})
    assert own.headers["access-control-allow-origin"] == "https://spa.example"


def test_a_whole_sign_in_works_beside_all_this(realm: Realm) -> None:
    assert "access_token" in tokens_of(realm.app(), realm.user(), "openid user/Patient.rs")
