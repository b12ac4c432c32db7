"""Codes, refresh tokens, PKCE, redirect URIs, launches: what an attacker tries with them.

Rules: smart.md section 11, S21, S22, S24, S25, S27; security.md B5, B6, B7, B9. Positive controls are in
tests/api/oauth/test_flow.py and last in each group here. Source: RFC 9700.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from fhirserver.access.oauth.parts import Visit, utc_now
from fhirserver.access.oauth.request import SmartRequest
from fhirserver.access.oauth.server import SmartServer
from fhirserver.settings import OAuth
from fhirserver.store.oauth_users import UserRecord
from tests.kit.oauth import CALLBACK, App, Person, Realm, challenge, tokens_of, told, web

SCOPE = "openid launch/patient patient/*.rs offline_access"


@pytest.fixture(scope="module")
def ana(realm: Realm, patients: tuple[str, str]) -> UserRecord:
    return realm.user("patient", fhir_user=f"Patient/{patients[0]}")


@pytest.fixture(scope="module")
def session(realm: Realm, ana: UserRecord) -> Person:
    """Ana's browser, signed in."""
    person = Person(realm.server.root)
    person.open("/auth/apps")
    person.sign_in(ana)
    return person


@pytest.fixture
def code(realm: Realm, session: Person, patients: tuple[str, str]) -> Callable[..., tuple[App, str]]:
    """A new app and a code for it."""

    def get(kind: str = "none", scope: str = SCOPE, **more: Any) -> tuple[App, str]:
        app = realm.app(kind)
        session.open(app.url(scope, **more))
        return app, told(session.approve(patients[0]))["code"]

    return get


def works(realm: Realm, token: str) -> bool:
    """Whether the FHIR API takes the token. A test's own look at it: no cache stands in between."""
    response = web().get(f"{realm.server.root}/auth/userinfo", headers={"authorization": f"Bearer {token}"})
    return response.status_code == 200


def error(response: httpx.Response) -> str:
    assert 400 <= response.status_code < 500, response.text
    assert response.headers["cache-control"] == "no-store"
    return str(response.json()["error"])


# S21, B6, B9


def test_a_code_shown_twice_ends_what_was_issued_for_it(realm: Realm, code: Any) -> None:
    app, one = code()
    tokens = app.redeem(one).json()
    assert works(realm, tokens["access_token"])
    assert error(app.redeem(one)) == "invalid_grant"
    assert not works(realm, tokens["access_token"])
    assert error(app.refresh(tokens["refresh_token"])) == "invalid_grant"


def test_of_parallel_redemptions_at_most_one_succeeds_and_the_grant_ends(realm: Realm, code: Any) -> None:
    app, one = code()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: app.redeem(one), range(4)))
    good = [answer for answer in answers if answer.status_code == 200]
    assert len(good) <= 1
    assert all(error(answer) == "invalid_grant" for answer in answers if answer not in good)
    assert not any(works(realm, answer.json()["access_token"]) for answer in good)


def test_of_parallel_refreshes_at_most_one_succeeds_and_the_grant_ends(realm: Realm, code: Any) -> None:
    app, one = code()
    refresh = app.redeem(one).json()["refresh_token"]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: app.refresh(refresh), range(4)))
    good = [answer for answer in answers if answer.status_code == 200]
    assert len(good) <= 1
    assert not any(works(realm, answer.json()["access_token"]) for answer in good)


def test_an_old_refresh_token_ends_the_family(realm: Realm, code: Any) -> None:
    app, one = code()
    first = app.redeem(one).json()
    second = app.refresh(first["refresh_token"]).json()
    assert error(app.refresh(first["refresh_token"])) == "invalid_grant"
    assert error(app.refresh(second["refresh_token"])) == "invalid_grant"
    assert not works(realm, second["access_token"])


def test_within_the_leeway_a_lost_answer_can_be_fetched_again_and_later_it_ends_the_family(
    realm: Realm, code: Any
) -> None:
    app, one = code()
    first = app.redeem(one).json()["refresh_token"]
    clock = [utc_now()]
    parts = replace(realm.parts, settings=OAuth(refresh_reuse_leeway_s=10), clock=lambda: clock[0])

    def refresh(token: str) -> tuple[int, Any]:
        form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": app.id}
        status, body, _ = SmartServer(parts).token(SmartRequest("POST", form, Visit("test")))
        return status, body

    answers = [refresh(first)]
    clock[0] += timedelta(seconds=9)
    answers.append(refresh(first))
    assert [status for status, _ in answers] == [200, 200]
    assert len({body["refresh_token"] for _, body in answers}) == 2
    assert all(works(realm, body["access_token"]) for _, body in answers)
    clock[0] += timedelta(seconds=2)
    status, body = refresh(first)
    assert (status, body["error"]) == (400, "invalid_grant")
    assert not any(works(realm, body["access_token"]) for _, body in answers)


def test_another_client_gets_nothing_for_a_code_or_refresh_token(realm: Realm, code: Any) -> None:
    app, one = code()
    other = realm.app()
    assert error(other.redeem(one)) == "invalid_grant"
    tokens = app.redeem(one).json()
    assert error(other.refresh(tokens["refresh_token"])) == "invalid_grant"
    assert app.refresh(tokens["refresh_token"]).status_code == 200


def test_refreshing_rotates_and_keeps_the_context(realm: Realm, code: Any, patients: tuple[str, str]) -> None:
    app, one = code()
    first = app.redeem(one).json()
    second = app.refresh(first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert second["patient"] == patients[0]
    assert "id_token" in second
    assert works(realm, second["access_token"])


# B7


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("patient/*.cruds", "invalid_scope"),
        ("system/*.rs", "invalid_scope"),
        ("user/*.rs", "invalid_scope"),
        ("patient/Observation.rs nonsense", "invalid_scope"),
        ("patient/Observation.r", None),
        ("patient/*.rs", None),
    ],
)
def test_a_refresh_narrows_by_meaning_and_never_widens(code: Any, asked: str, expected: str | None) -> None:
    app, one = code()
    refresh = app.redeem(one).json()["refresh_token"]
    response = app.refresh(refresh, scope=asked)
    if expected is None:
        assert response.json()["scope"] == asked
        again = app.refresh(response.json()["refresh_token"])
        assert "patient/*.rs" in again.json()["scope"].split()
    else:
        assert error(response) == expected
        assert app.refresh(refresh).status_code == 200


def test_scopes_beyond_client_and_role_are_not_granted(realm: Realm, session: Person, patients: Any) -> None:
    app = realm.app(scope="launch/patient patient/Observation.rs patient/Condition.cruds")
    session.open(app.url("launch/patient patient/*.rs patient/Condition.cruds system/*.rs offline_access"))
    answer = told(session.approve(patients[0]))
    granted = set(app.redeem(answer["code"]).json()["scope"].split())
    assert granted == {"launch/patient", "patient/Observation.rs", "patient/Condition.rs"}


def test_what_user_or_client_lost_is_gone_at_the_next_refresh(
    realm: Realm, session: Person, patients: Any
) -> None:
    app = realm.app()
    session.open(app.url("launch/patient patient/Observation.rs patient/Condition.rs offline_access"))
    tokens = app.redeem(told(session.approve(patients[0]))["code"]).json()
    realm.store.clients.change(app.id, scope="launch/patient patient/Condition.rs offline_access")
    assert "patient/Observation.rs" not in app.refresh(tokens["refresh_token"]).json()["scope"]


# S22, B6


@pytest.mark.parametrize(
    "wrong",
    [
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": None},
        {"code_challenge_method": "s256"},
        {"code_challenge": "short"},
        {"code_challenge": "x" * 129},
        {"code_challenge": "ç" * 43},
    ],
)
@pytest.mark.parametrize("kind", ["none", "client_secret_basic"])
def test_no_client_gets_by_without_pkce_s256(realm: Realm, wrong: dict[str, Any], kind: str) -> None:
    app = realm.app(kind)
    response = Person(app.root).open(app.url(**wrong))
    assert told(response)["error"] == "invalid_request"


@pytest.mark.parametrize("verifier", ["w" * 43, "v" * 42, "", None, "v" * 42 + "ç", challenge("v" * 43)])
@pytest.mark.parametrize("kind", ["none", "client_secret_basic"])
def test_a_wrong_verifier_gets_nothing_and_spends_the_code(
    code: Any, verifier: str | None, kind: str
) -> None:
    app, one = code(kind)
    assert error(app.redeem(one, code_verifier=verifier)) in ("invalid_grant", "invalid_request")
    well_formed = verifier is not None and len(verifier) >= 43 and verifier.isascii()
    assert (app.redeem(one).status_code == 200) is not well_formed


def test_another_redirect_uri_at_the_token_endpoint_spends_the_code(code: Any) -> None:
    app, one = code()
    assert error(app.redeem(one, redirect_uri="https://app.example/other")) == "invalid_grant"
    assert error(app.redeem(one)) == "invalid_grant"


# S24


@pytest.mark.parametrize(
    "wrong",
    [
        {"aud": None}, {"aud": "https://other.example/fhir"}, {"aud": "{fhir}/Patient"}, {"aud": "{fhir}//"},
        {"state": None}, {"prompt": "none login"}, {"prompt": "nonsense"},
    ],
)  # fmt: skip
def test_requests_for_another_audience_or_without_state_are_refused(
    realm: Realm, wrong: dict[str, Any]
) -> None:
    app = realm.app()
    given = {n: v.replace("{fhir}", realm.server.fhir) if v else v for n, v in wrong.items()}
    assert told(Person(app.root).open(app.url(**given)))["error"] == "invalid_request"


@pytest.mark.parametrize("name", ["aud", "resource"])
def test_the_audience_may_end_in_a_slash_and_be_called_resource(realm: Realm, name: str) -> None:
    app = realm.app()
    response = Person(app.root).open(app.url(**({"aud": None} | {name: f"{realm.server.fhir}/"})))
    assert 'name="password"' in response.text


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code token"}, "unsupported_response_type"),
        ({"scope": ""}, "invalid_scope"),
        ({"scope": "system/*.rs"}, "invalid_scope"),
        ({"scope": "nonsense"}, "invalid_scope"),
        ({"scope": "patient/Group.rs patient/Task.rs patient/Practitioner.cud"}, "invalid_scope"),
        ({"request": "x.y.z"}, "request_not_supported"),
        ({"request_uri": "https://a.example/r"}, "request_uri_not_supported"),
        ({"prompt": "none"}, "login_required"),
    ],
)
def test_other_wrong_requests_are_told_to_the_app(realm: Realm, wrong: dict[str, str], expected: str) -> None:
    app = realm.app()
    answer = told(Person(app.root).open(app.url(**wrong)))
    assert answer["error"] == expected
    assert answer["iss"] == app.root


@pytest.mark.parametrize("constraint", ["code:in=http://a.example/vs", "code:below=x", "subject.name=x"])
def test_a_constraint_with_a_modifier_is_refused_with_its_reason(realm: Realm, constraint: str) -> None:
    asked = f"Observation.rs?{constraint}"
    answer = told(Person(realm.server.root).open(realm.app().url(f"patient/{asked}")))
    assert answer["error"] == "invalid_scope"
    assert "without modifiers" in answer["error_description"]
    service = realm.service().credentials(f"system/{asked} system/Patient.rs").json()
    assert service["error"] == "invalid_scope"
    assert "without modifiers" in service["error_description"]
    plain = told(Person(realm.server.root).open(realm.app().url("system/Patient.rs")))
    assert "without modifiers" not in plain["error_description"]


def test_of_a_patient_scope_only_what_it_can_reach_is_granted_and_told(
    realm: Realm, patients: tuple[str, str]
) -> None:
    app, person = realm.app(), Person(realm.server.root)
    person.open(
        app.url("patient/Patient.cruds patient/Schedule.cruds patient/Group.rs patient/Coverage.cruds")
    )
    assert "patient/Group" not in person.sign_in(realm.user("reception")).text
    person.send(decision="search", q="souza")
    tokens = app.redeem(told(person.approve(patients[0]))["code"]).json()
    assert tokens["scope"] == "patient/Patient.rus patient/Schedule.rs patient/Coverage.crus"
    assert tokens["patient"] == patients[0]


def test_without_a_word_nothing_is_granted(realm: Realm, session: Person, patients: Any) -> None:
    app = realm.app(scope="openid patient/*.rs user/*.rs")
    assert told(session.open(app.url("openid", prompt="none")))["error"] == "consent_required"
    assert told(session.open(app.url("patient/*.rs", prompt="none")))["error"] == "interaction_required"
    own = realm.app(scope="openid", first_party=True)
    assert "code" in told(session.open(own.url("openid", prompt="none")))


def test_prompt_login_asks_for_the_password_again(realm: Realm, session: Person) -> None:
    app = realm.app(first_party=True)
    assert "code" in told(session.open(app.url("openid")))
    assert 'name="password"' in session.open(app.url("openid", prompt="login")).text
    number = dict(session.form["fields"])
    answer = {"txn": number["txn"], "csrf": number["csrf"], "decision": "approve", "scope": "openid"}
    skipped = session.http.post(f"{session.root}/auth/consent", data=answer)
    assert skipped.headers["location"].startswith("/auth/continue?txn=")


def test_a_client_that_may_not_use_codes_is_told_so(realm: Realm) -> None:
    app = realm.app()
    realm.store.clients.change(app.id, grant_types=["client_credentials"])
    assert told(Person(app.root).open(app.url()))["error"] == "unauthorized_client"


# S25, B5


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example.evil.example/cb", "https://app.example/cb/", "https://app.example/cb?x=1",
        "https://app.example/cb#x", "https://APP.example/cb", "https://app.example//cb", "https://app.example/c%62",
        "https://app.example", "http://app.example/cb", "https://app.example:443/cb", "javascript:alert(1)", "",
        "https://app.example/cb\"><script>", "https://app.example/cb\r\nSet-Cookie: a=b", None,
    ],
)  # fmt: skip
def test_any_other_redirect_uri_is_a_page_and_no_redirect(realm: Realm, uri: str | None) -> None:
    app = realm.app()
    response = Person(app.root).open(app.url(redirect_uri=uri))
    assert response.status_code == 400
    assert "location" not in response.headers
    assert "<script>" not in response.text
    assert response.headers["content-type"].startswith("text/html")


def test_texts_of_the_request_come_back_encoded(realm: Realm) -> None:
    app = realm.app()
    state = "a\r\nb&error=none#<x>\"'ç"
    response = Person(app.root).open(app.url(state=state, aud="https://x.example/\r\nX: y"))
    location = response.headers["location"]
    assert location.startswith(f"{CALLBACK}?")
    assert told(response)["state"] == state
    assert location.isascii()
    assert "\n" not in location


@pytest.mark.parametrize("status", ["disabled", "pending"])
def test_a_client_that_is_not_active_is_as_one_that_does_not_exist(realm: Realm, status: str) -> None:
    app = realm.app(status=status)
    response = Person(app.root).open(app.url())
    assert response.status_code == 400
    assert "location" not in response.headers


# S27


@pytest.fixture(scope="module")
def launcher(realm: Realm) -> str:
    service = realm.service("__launch.create")
    token: str = service.credentials("__launch.create").json()["access_token"]
    return token


def a_launch(realm: Realm, token: str, **body: Any) -> httpx.Response:
    return web().post(
        f"{realm.server.root}/auth/launch", json=body, headers={"authorization": f"Bearer {token}"}
    )


def test_a_launch_brings_its_context_once(realm: Realm, launcher: str, patients: Any) -> None:
    doctor = realm.user("reception")
    app = realm.app(launch_uris=("https://app.example/launch",))
    body = {"client_id": app.id, "user": doctor.name, "patient": patients[1], "intent": "order",
            "need_patient_banner": False, "fhirContext": [{"reference": "Task/1"}]}  # fmt: skip
    made = a_launch(realm, launcher, **body)
    assert made.status_code == 201
    assert made.json()["url"].startswith("https://app.example/launch?iss=http")
    number = made.json()["launch"]
    tokens = tokens_of(app, doctor, "launch patient/Appointment.rs", launch=number)
    assert tokens["patient"] == patients[1]
    assert tokens["intent"] == "order"
    assert tokens["need_patient_banner"] is False
    assert tokens["fhirContext"] == [{"reference": "Task/1"}]
    again = Person(app.root).open(app.url("launch patient/Appointment.rs", launch=number))
    assert told(again)["error"] == "invalid_request"


def test_a_launch_is_for_its_client_and_its_user(realm: Realm, launcher: str, patients: Any) -> None:
    app = realm.app(launch_uris=("https://app.example/launch",))
    doctor, other = realm.user("reception"), realm.user("reception")
    body = {"client_id": app.id, "user": doctor.id, "patient": patients[1]}
    number = a_launch(realm, launcher, **body).json()["launch"]
    scope = "launch patient/Appointment.rs"
    foreign = Person(app.root).open(realm.app().url(scope, launch=number))
    assert told(foreign)["error"] == "invalid_request"
    person = Person(app.root)
    person.open(app.url(scope, launch=number))
    assert told(person.sign_in(other))["error"] == "access_denied"
    assert tokens_of(app, doctor, scope, launch=number)["patient"] == patients[1]


@pytest.mark.parametrize("launch", [None, "", "nonsense", "x" * 5000])
def test_the_scope_launch_needs_a_launch(realm: Realm, launch: str | None) -> None:
    app = realm.app()
    response = Person(app.root).open(app.url("launch patient/*.rs", launch=launch))
    assert told(response)["error"] == "invalid_request"


@pytest.mark.parametrize(
    "wrong",
    [
        {"patient": "nobody"}, {"encounter": "e1"}, {"patient": "{p}", "encounter": "nothing"}, {"user": "nobody"},
        {"client_id": "nobody"}, {"client_id": 7}, {"fhirContext": [{}]}, {"fhirContext": [{"reference": "Patient/1"}]},
        {"fhirContext": [{"reference": "https://x.example/Task/1"}]}, {"need_patient_banner": "yes"}, {"x": 1},
    ],
)  # fmt: skip
def test_a_launch_that_makes_no_sense_is_refused(
    realm: Realm, launcher: str, patients: Any, wrong: dict[str, Any]
) -> None:
    app = realm.app(launch_uris=("https://app.example/launch",))
    body = {"client_id": app.id, "user": realm.store.users.all().__next__().id}
    given = {n: patients[0] if v == "{p}" else v for n, v in wrong.items()}
    assert a_launch(realm, launcher, **(body | given)).status_code == 400


def test_only_clients_with_the_scope_make_launches(realm: Realm, patients: Any) -> None:
    for token in (realm.token("system/*.cruds"), realm.token("__introspect"), "nonsense"):
        assert a_launch(realm, token, client_id="x").status_code == 401
