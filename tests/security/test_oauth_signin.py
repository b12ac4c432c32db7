"""Signing in: guessing, second factor, sessions, forged forms. Rules: security.md B10, B11, B12, B14-B16, B18; smart.md S26."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import Any

import httpx
import pyotp
import pytest

from fhirserver.access.oauth.lockout import WINDOW
from fhirserver.access.oauth.parts import digest
from fhirserver.store.oauth_users import UserRecord
from tests.kit.oauth import PASSWORD, App, Person, Realm, code_of, tokens_of, told, web
from tests.kit.server import Server

SIGNED_IN = "Apps with access"


def at_login(realm: Realm, address: str = "") -> Person:
    """A browser at the sign-in form; `address`: where a trusted proxy says it is."""
    headers = {"x-forwarded-for": address} if address else {}
    person = Person(realm.server.root, **headers)
    person.open("/auth/apps")
    return person


def try_password(realm: Realm, name: str, password: str, address: str = "") -> httpx.Response:
    return at_login(realm, address).send(username=name, password=password)


# B10


def test_the_sixth_try_is_not_looked_at_but_the_owner_gets_in_from_elsewhere(realm: Realm) -> None:
    user = realm.user()
    for _ in range(5):
        assert try_password(realm, user.name, "wrong wrong wrong", "198.51.100.7").status_code == 401
    sixth = try_password(realm, user.name, PASSWORD, "198.51.100.7")
    assert sixth.status_code == 429
    assert int(sixth.headers["retry-after"]) >= 1
    assert SIGNED_IN in try_password(realm, user.name, PASSWORD, "198.51.100.8").text


def test_an_address_that_tries_many_names_is_slowed_down(realm: Realm) -> None:
    user, address = realm.user(), "198.51.100.20"
    now = realm.parts.clock()
    for _ in range(18):  # tries that need no argon2 here
        realm.store.attempts.count(f"address|{address}", now, now + WINDOW, slides=False)
    answers = [try_password(realm, f"nobody-{n}", "wrong wrong wrong", address) for n in range(3)]
    assert [answer.status_code for answer in answers] == [401, 401, 429]
    assert try_password(realm, user.name, PASSWORD, address).status_code == 429
    assert SIGNED_IN in try_password(realm, user.name, PASSWORD, "198.51.100.21").text


def test_success_forgives_earlier_failures(realm: Realm) -> None:
    user, address = realm.user(), "198.51.100.30"
    for _ in range(2):
        for _ in range(4):
            assert try_password(realm, user.name, "wrong wrong wrong", address).status_code == 401
        assert SIGNED_IN in try_password(realm, user.name, PASSWORD, address).text


# B11


def test_a_wrong_password_and_an_unknown_name_look_the_same(realm: Realm) -> None:
    known, disabled = realm.user(), realm.user()
    realm.store.users.change(disabled.id, disabled=True)
    bodies = []
    for name, password in (
        (known.name, "wrong wrong wrong"),
        ("nobody", PASSWORD),
        (disabled.name, PASSWORD),
    ):
        response = try_password(realm, name, password, "198.51.100.40")
        assert response.status_code == 401
        text = re.sub(r'(name="(txn|csrf)" value=")[^"]*', r"\1", response.text)
        bodies.append(re.sub(r"txn=[^&\"]*", "", text).replace(name, "NAME"))
    assert bodies[0] == bodies[1] == bodies[2]
    assert SIGNED_IN in try_password(realm, known.name, PASSWORD, "198.51.100.41").text


# B12


def test_passwords_are_kept_as_argon2id_and_hashed_anew_when_parameters_grow(realm: Realm) -> None:
    from argon2 import PasswordHasher

    user = realm.user()
    found = re.fullmatch(r"\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$.+", user.password)
    assert found is not None
    assert int(found[1]) >= 19 * 1024
    assert int(found[2]) >= 2
    weak = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1).hash(PASSWORD)
    realm.store.users.change(user.id, password=weak)
    assert SIGNED_IN in try_password(realm, user.name, PASSWORD).text
    renewed = realm.store.users.get(user.id)
    assert renewed is not None
    assert renewed.password != weak
    for other in ("plain:" + PASSWORD, "", "$2b$12$" + "a" * 53):
        realm.store.users.change(user.id, password=other)
        assert try_password(realm, user.name, PASSWORD, "198.51.100.50").status_code == 401


# B14


@pytest.fixture
def doctor(realm: Realm) -> UserRecord:
    return realm.user("practitioner")


def at_factor(realm: Realm, user: UserRecord, address: str = "") -> Person:
    person = at_login(realm, address)
    assert 'name="code"' in person.send(username=user.name, password=PASSWORD).text
    return person


def test_a_code_is_good_once(realm: Realm, doctor: UserRecord) -> None:
    code = code_of(doctor.totp or "")
    assert SIGNED_IN in at_factor(realm, doctor).send(code=code).text
    assert at_factor(realm, doctor).send(code=code).status_code == 401


def test_a_code_of_ninety_seconds_ago_or_ahead_is_no_good(realm: Realm, doctor: UserRecord) -> None:
    totp = pyotp.TOTP(doctor.totp or "")
    now = int(time.time())
    for moment in (now - 95, now + 65):
        assert at_factor(realm, doctor).send(code=totp.at(moment)).status_code == 401
    assert SIGNED_IN in at_factor(realm, doctor).send(code=code_of(doctor.totp or "")).text


def test_five_wrong_codes_end_the_sign_in(realm: Realm, doctor: UserRecord) -> None:
    person = at_factor(realm, doctor, "198.51.100.60")
    for _ in range(5):
        assert person.send(code="000000").status_code == 401
    refused = person.send(code=code_of(doctor.totp or ""))
    assert refused.status_code == 429
    assert SIGNED_IN in at_factor(realm, doctor, "198.51.100.61").send(code=code_of(doctor.totp or "")).text


@pytest.mark.parametrize("role", ["practitioner", "manager", "auditor", "custodian", "admin"])
def test_without_the_second_factor_nobody_of_these_roles_gets_in(realm: Realm, role: str) -> None:
    user = realm.user(role)
    person = at_factor(realm, user)
    page = person.open("/auth/apps")
    assert SIGNED_IN not in page.text
    app = realm.app()
    assert 'name="code"' in person.open(app.url("openid")).text


def test_enrolment_ends_after_a_week_and_totp_reset_opens_it_again(realm: Realm) -> None:
    from fhirserver.access.oauth.accounts import Accounts

    user = realm.user("auditor", totp=False)
    realm.store.users.change(user.id, enrol_until=realm.parts.clock() - timedelta(seconds=1))
    page = try_password(realm, user.name, PASSWORD)
    assert "time to set up the second step is over" in page.text
    Accounts(realm.parts, realm.visit).reset_totp(user)
    assert "<svg" in try_password(realm, user.name, PASSWORD).text


# B15


def session_of(realm: Realm, person: Person) -> str:
    return f"{realm.store.tenant}/{digest(person.http.cookies['fhirserver-session'])}"


@pytest.mark.parametrize("end", ["idle", "end"])
def test_a_session_ends_when_idle_or_old(realm: Realm, end: str) -> None:
    user = realm.user()
    person = at_login(realm)
    person.sign_in(user)
    assert SIGNED_IN in person.open("/auth/apps").text
    rows = realm.store.sessions._rows  # the clock of the server is its own: the row is what can be moved
    past = realm.parts.clock() - timedelta(seconds=1)
    assert rows.update_one({"_id": session_of(realm, person)}, {"$set": {end: past}}).modified_count == 1
    assert 'name="password"' in person.open("/auth/apps").text


def test_a_session_is_as_long_as_the_settings_say(realm: Realm) -> None:
    user = realm.user()
    person = at_login(realm)
    person.sign_in(user)
    row = realm.store.sessions._rows.find_one({"_id": session_of(realm, person)})
    assert row is not None
    now = realm.parts.clock()
    assert timedelta(minutes=14) < row["idle"] - now <= timedelta(minutes=15)
    assert timedelta(hours=11, minutes=59) < row["end"] - now <= timedelta(hours=12)


@pytest.mark.parametrize("change", ["password", "disable", "roles", "totp"])
def test_changes_of_the_account_end_its_sessions(realm: Realm, change: str) -> None:
    from fhirserver.access.oauth.accounts import Accounts

    user = realm.user()
    person = at_login(realm)
    person.sign_in(user)
    accounts = Accounts(realm.parts, realm.visit)
    match change:
        case "password":
            accounts.password(user, "outra frase bem comprida 9")
        case "disable":
            accounts.disable(user, True)
        case "roles":
            accounts.roles(user, ["billing"], fhir_user=None, acts_for=[])
        case "totp":
            accounts.reset_totp(user)
    assert 'name="password"' in person.open("/auth/apps").text


def test_online_access_ends_with_the_session(realm: Realm) -> None:
    user, app = realm.user(), realm.app()
    person = Person(app.root)
    person.open(app.url("openid user/Patient.rs online_access"))
    person.sign_in(user)
    tokens = app.redeem(told(person.approve())["code"]).json()
    assert tokens["expires_in"] <= 15 * 60
    again = app.refresh(tokens["refresh_token"])
    assert again.status_code == 200
    person.open("/auth/logout")
    person.send()
    assert app.refresh(again.json()["refresh_token"]).json()["error"] == "invalid_grant"


def test_tokens_of_a_disabled_user_end_at_once(realm: Realm) -> None:
    user, app = realm.user(), realm.app()
    tokens = tokens_of(app, user, "openid user/Patient.rs offline_access")
    realm.store.users.change(user.id, disabled=True)
    assert app.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"
    info = web().get(
        f"{app.root}/auth/userinfo", headers={"authorization": f"Bearer {tokens['access_token']}"}
    )
    assert info.status_code == 401


def test_the_cookie_changes_at_every_step(realm: Realm, doctor: UserRecord) -> None:
    person = at_login(realm)
    person.http.cookies.set("fhirserver-session", "planted", domain="127.0.0.1")
    person.send(username=doctor.name, password=PASSWORD)
    first = person.http.cookies.get("fhirserver-session", domain="127.0.0.1", path="/")
    person.send(code=code_of(doctor.totp or ""))
    second = [
        c.value for c in person.http.cookies.jar if c.name == "fhirserver-session" and c.value != "planted"
    ]
    assert "planted" not in second
    assert first not in second


# B16, S26


@pytest.fixture
def asked(realm: Realm, patients: tuple[str, str]) -> tuple[App, Person]:
    """Ana, signed in, before the consent page of an app."""
    app, user = realm.app(), realm.user("patient", fhir_user=f"Patient/{patients[0]}")
    person = Person(app.root)
    person.open(app.url("launch/patient patient/Observation.rs"))
    person.sign_in(user)
    return app, person


def test_a_form_without_its_token_does_nothing(asked: tuple[App, Person], patients: Any) -> None:
    _, person = asked
    page = person.page
    for fields in ({"csrf": "x" * 64}, {"csrf": ""}, {"csrf": "é"}):
        person.page = page
        assert person.approve(patients[0], **fields).status_code == 403
    person.page = page
    assert person.send(drop=("csrf",), decision="approve", patient=patients[0]).status_code == 403
    person.page = page
    assert "code" in told(person.approve(patients[0]))


def test_a_form_from_another_site_brings_no_cookies_and_does_nothing(asked: tuple[App, Person]) -> None:
    _, person = asked
    form = dict(person.form["fields"]) | {"decision": "approve"}
    assert web().post(f"{person.root}/auth/consent", data=form).status_code == 403


def test_another_browser_cannot_answer_a_request(
    realm: Realm, asked: tuple[App, Person], patients: Any
) -> None:
    _, person = asked
    other = Person(realm.server.root)
    other.open("/auth/apps")
    other.sign_in(realm.user("patient", fhir_user=f"Patient/{patients[1]}"))
    other.open("/auth/logout")
    number = dict(person.form["fields"])["txn"]
    response = other.http.post(
        f"{other.root}/auth/consent",
        data={"txn": number, "csrf": dict(other.form["fields"])["csrf"], "decision": "approve"},
    )
    assert response.status_code == 400
    assert "location" not in response.headers
    assert other.open(f"/auth/continue?txn={number}").status_code == 400
    assert "code" in told(person.approve(patients[0]))


def test_a_patient_that_was_not_offered_cannot_be_posted(asked: tuple[App, Person], patients: Any) -> None:
    _, person = asked
    assert told(person.approve(patients[1]))["error"] == "access_denied"


def test_a_scope_that_was_not_offered_cannot_be_posted(asked: tuple[App, Person], patients: Any) -> None:
    _, person = asked
    response = person.send(scopes=["patient/*.rs", "launch/patient"], decision="approve", patient=patients[0])
    assert response.status_code == 400
    assert "location" not in response.headers


def test_a_request_is_answered_once(asked: tuple[App, Person], patients: Any) -> None:
    _, person = asked
    page = person.page
    assert "code" in told(person.approve(patients[0]))
    person.page = page
    assert person.approve(patients[0]).status_code == 400


def test_a_user_without_patients_is_told_to_the_app(realm: Realm) -> None:
    app, user = realm.app(), realm.user("patient", fhir_user="RelatedPerson/none")
    person = Person(app.root)
    person.open(app.url())
    assert told(person.sign_in(user))["error"] == "access_denied"


def test_choices_of_one_user_are_not_those_of_the_next(realm: Realm, patients: tuple[str, str]) -> None:
    for own, other in (patients, patients[::-1]):
        app, user = realm.app(), realm.user("patient", fhir_user=f"Patient/{own}")
        person = Person(app.root)
        person.open(app.url())
        page = person.sign_in(user)
        assert own in page.text
        assert other not in page.text
    reception = Person(realm.server.root)
    reception.open(realm.app().url("launch/patient patient/Appointment.rs"))
    reception.sign_in(realm.user())
    assert patients[1] in reception.send(decision="search", q="lima").text


def test_pages_cannot_be_framed_and_load_nothing(asked: tuple[App, Person]) -> None:
    _, person = asked
    assert person.page is not None
    policy = person.page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert policy.startswith("default-src 'none'")
    assert "form-action 'self' https://app.example" in policy
    assert person.page.headers["cache-control"] == "no-store"
    assert person.page.headers["referrer-policy"] == "no-referrer"
    assert "<script" not in person.page.text
    assert re.search(r'(src|href)="(https?:)?//', person.page.text) is None


def test_cookies_are_out_of_reach_of_scripts_and_other_sites(realm: Realm) -> None:
    cookies = at_login(realm).http.get(realm.server.root + "/auth/logout")
    fresh = web().get(realm.server.root + "/auth/logout").headers["set-cookie"]
    assert "set-cookie" not in cookies.headers
    for word in ("HttpOnly", "SameSite=lax", "Path=/"):
        assert word in fresh


# B18


def test_a_fresh_server_lets_nobody_in(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path_factory.mktemp("fresh") / "data"
    settings = {"base_url": "https://clinic.example", "open_mode": "false", "oauth__calls_per_minute": "20"}
    with Server(folder, **settings) as server:
        fresh = Realm(server)
        request.addfinalizer(fresh.store.close)
        assert list(fresh.store.users.all()) == []
        # the audit pages are the only app; it has no secret and lets nobody in without an account
        assert [(c.client_id, c.auth_method, c.first_party) for c in fresh.store.clients.all()] == [
            ("console", "none", True)
        ]
        assert web().get(f"{server.fhir}/Patient").status_code == 401
        for path in ("/docs", "/openapi.json", "/metrics"):  # I6: for this machine alone
            assert web().get(server.root + path).status_code == 404
        # beside it: behind https every cookie is bound to the host and to https
        response = web().get(f"{server.root}/auth/logout")
        assert response.headers["set-cookie"].startswith("__Host-fhirserver-browser=")
        assert "Secure" in response.headers["set-cookie"]
        assert "Domain" not in response.headers["set-cookie"]
        # and one address cannot call without end, here or at the pages that sign in through the server
        start = web().get(f"{server.root}/console/sign-in")
        assert start.headers["location"].startswith("/auth/authorize?")
        with httpx.Client(base_url=server.root) as client:
            answers = [client.post("/auth/token", data={"grant_type": "refresh_token"}) for _ in range(40)]
        assert {answer.status_code for answer in answers} == {400, 429}
        assert answers[-1].json()["error"] == "temporarily_unavailable"
        assert int(answers[-1].headers["retry-after"]) >= 1
        begun = fresh.store.console._rows.count_documents({})
        for path in ("/console/sign-in", "/console/callback?code=x&state=y"):
            slowed = web().get(server.root + path)
            assert slowed.status_code == 429
            assert int(slowed.headers["retry-after"]) >= 1
        assert fresh.store.console._rows.count_documents({}) == begun
        made = fresh.user("admin", totp=False)
        assert fresh.store.users.named(made.name.upper()) is not None
