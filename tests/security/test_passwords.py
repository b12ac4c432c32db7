"""Passwords of one's own: changed by who knows the present one, chosen where somebody else set it.

Rules: security.md B10, B13, B15, B16; smart.md 5 (password change ends online access); brazil.md P-15 (classes, last three,
last sign-in).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher

from fhirserver.access.oauth import passwords
from fhirserver.access.oauth.accounts import Accounts
from fhirserver.access.oauth.changing import OwnPassword
from fhirserver.access.oauth.passwords import PasswordRefused
from fhirserver.access.oauth.signin import SignedIn, SignIn
from fhirserver.settings import OAuth
from fhirserver.store.oauth_users import SessionRecord, UserRecord
from tests.kit.client import unique
from tests.kit.oauth import OWN, PASSWORD, App, Person, Realm, code_of, tokens_of, told, web

SIGNED_IN = "Apps with access"
CHANGED = "The password was changed"
CHOOSE = "Choose your password"


def at_password(realm: Realm, user: UserRecord, language: str = "en", address: str = "") -> Person:
    """A signed-in browser before the form."""
    headers = {"x-forwarded-for": address} if address else {}
    person = Person(realm.server.root, language, **headers)
    person.open("/auth/password")
    person.sign_in(user)
    return person


def change(person: Person, current: str = PASSWORD, new: str = OWN, **more: str) -> httpx.Response:
    return person.send(current=current, password=new, **{"again": new} | more)


def signs_in(realm: Realm, user: UserRecord, password: str) -> bool:
    person = Person(realm.server.root)
    person.open("/auth/apps")
    return SIGNED_IN in person.send(username=user.name, password=password).text


def events_of(realm: Realm, user: UserRecord) -> list[dict[str, Any]]:
    """What the audit log holds of a user."""
    with realm.fhir(realm.token("system/AuditEvent.rs")) as fhir:
        found = fhir.get("AuditEvent", params={"agent:identifier": user.id, "_count": "100"}).json()
    return [entry["resource"] for entry in found.get("entry", [])]


def lives(app: App, tokens: dict[str, Any]) -> bool:
    headers = {"authorization": f"Bearer {tokens['access_token']}"}
    return web().get(f"{app.root}/auth/userinfo", headers=headers).status_code == 200


# changed by its owner


def test_a_wrong_present_password_changes_nothing_and_is_counted(realm: Realm) -> None:
    user = realm.user()
    person = at_password(realm, user, address="198.51.100.70")
    for _ in range(5):
        refused = change(person, current="wrong wrong wrong")
        assert refused.status_code == 401
        assert "present password is not right" in refused.text
    slowed = change(person)
    assert slowed.status_code == 429
    assert int(slowed.headers["retry-after"]) >= 1
    assert signs_in(realm, user, PASSWORD)


REFUSED = [
    ("curta 7", None, "fewer than 12"),
    ("x" * 257, None, "more than 256"),
    ("Senha12345678", None, "first that are tried"),
    (PASSWORD, None, "is the present one"),
    ("Wolfgangerlinger1", None, "must not be your own name"),
    (OWN, OWN + "x", "not the same"),
    ("", None, "fewer than 12"),
]


def test_a_password_that_breaks_the_policy_is_refused(realm: Realm) -> None:
    user = realm.user(display="Wolfgangerlinger Souza")
    person = at_password(realm, user)
    page = person.page
    for new, again, said in REFUSED:
        person.page = page
        refused = change(person, new=new, again=again or new)
        assert refused.status_code == 400, new
        assert said in refused.text
        assert new == "" or new not in refused.text
    assert signs_in(realm, user, PASSWORD)


def test_a_form_without_its_token_or_from_elsewhere_changes_nothing(realm: Realm) -> None:
    user = realm.user()
    person = at_password(realm, user)
    page = person.page
    assert change(person, csrf="x" * 64).status_code == 403
    person.page = page
    assert person.send(drop=("csrf",), current=PASSWORD, password=OWN, again=OWN).status_code == 403
    form = {"current": PASSWORD, "password": OWN, "again": OWN}
    assert web().post(f"{person.root}/auth/password", data=form).status_code == 403
    assert signs_in(realm, user, PASSWORD)


def test_nobody_changes_a_password_without_signing_in(realm: Realm) -> None:
    user = realm.user()
    person = at_password(realm, user)
    page = person.page
    person.http.cookies.delete("fhirserver-session")
    person.page = page
    assert 'action="/auth/login"' in change(person).text
    assert signs_in(realm, user, PASSWORD)


def test_a_change_ends_every_other_session_and_what_lives_by_one(realm: Realm) -> None:
    user, app = realm.user(), realm.app()
    kinds = {
        "plain": "openid user/Patient.rs",
        "online": "openid user/Patient.rs online_access",
        "offline": "openid user/Patient.rs offline_access",
    }
    tokens = {kind: tokens_of(app, user, scope) for kind, scope in kinds.items()}
    elsewhere, person = Person(app.root), at_password(realm, user)
    elsewhere.open("/auth/apps")
    elsewhere.sign_in(user)
    before = person.http.cookies["fhirserver-session"]
    assert CHANGED in change(person).text
    assert person.http.cookies["fhirserver-session"] != before
    assert SIGNED_IN in person.open("/auth/apps").text
    assert 'action="/auth/login"' in elsewhere.open("/auth/apps").text
    assert {kind: lives(app, each) for kind, each in tokens.items()} == {
        "plain": False, "online": False, "offline": True,
    }  # fmt: skip
    assert app.refresh(tokens["online"]["refresh_token"]).json()["error"] == "invalid_grant"
    assert app.refresh(tokens["offline"]["refresh_token"]).status_code == 200
    assert not signs_in(realm, user, PASSWORD)
    assert signs_in(realm, user, OWN)


def test_who_asks_for_it_withdraws_offline_access_too(realm: Realm) -> None:
    user, app = realm.user(), realm.app()
    tokens = tokens_of(app, user, "openid user/Patient.rs offline_access")
    other = tokens_of(app, realm.user(), "openid user/Patient.rs offline_access")
    assert CHANGED in change(at_password(realm, user), everywhere="1").text
    assert not lives(app, tokens)
    assert app.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"
    assert lives(app, other)


def test_the_second_factor_stays_and_a_change_is_audited(realm: Realm) -> None:
    user = realm.user("practitioner")
    person = at_password(realm, user)
    assert CHANGED in change(person).text
    events = events_of(realm, user)
    changed = [event for event in events if "110137" in str(event["subtype"])]
    assert len(changed) == 1
    assert {"type": "what", "valueString": "password"} in changed[0]["entity"][0]["detail"]
    for secret in (OWN, PASSWORD):
        assert secret not in str(events)
    again = Person(realm.server.root)
    again.open("/auth/apps")
    assert 'name="code"' in again.send(username=user.name, password=OWN).text


def test_the_brazilian_policy_knows_the_last_three(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)  # dozens of hashes, in this process
    monkeypatch.setattr(passwords, "_HASHER", quick)
    parts = replace(realm.parts, settings=OAuth(password_policy="br"))
    own = OwnPassword(parts, SignIn(parts))
    user = realm.user()
    kept = ["Nuvem lenta 7!", "Vento morno 4?", "Pedra fria 9#", "Folha seca 2$"]
    current = PASSWORD

    def to(password: str) -> None:
        nonlocal current
        now = parts.clock()
        present = parts.store.users.get(user.id)
        assert present is not None
        session = SessionRecord(unique("session"), user.id, "full", now, now, now)
        own.change(realm.visit, SignedIn(present, session), current, password, everywhere=False)
        current = password

    for password in kept[:3]:
        to(password)
    for password in kept[:2]:
        with pytest.raises(PasswordRefused, match="used"):
            to(password)
    with pytest.raises(PasswordRefused, match="classes"):
        to("nuvem lenta pinta 7")
    to(kept[3])
    to(kept[0])


# chosen where somebody else set it


@pytest.fixture
def newcomer(realm: Realm) -> tuple[UserRecord, str]:
    """An account as an administrator makes it, with its first password."""
    password = "senha inicial da maria 5"
    return Accounts(realm.parts, realm.visit).add(unique("new"), password, roles=("reception",)), password


def test_the_first_sign_in_leads_nowhere_before_an_own_password(
    realm: Realm, newcomer: tuple[UserRecord, str]
) -> None:
    user, password = newcomer
    app = realm.app()
    person = Person(realm.server.root)
    person.open(app.url("openid user/Patient.rs"))
    asking = person.page
    page = person.send(username=user.name, password=password)
    assert CHOOSE in page.text
    renewing = person.page
    for path in ("/auth/apps", "/auth/password", app.url("openid")):
        assert CHOOSE in person.open(path).text
    assert asking is not None
    number = dict(_fields(person, asking))["txn"]
    forged = {"txn": number, "csrf": dict(person.form["fields"])["csrf"], "decision": "approve"}
    answer = person.http.post(f"{person.root}/auth/consent", data=forged)
    assert answer.headers["location"].startswith("/auth/continue")
    for new in (password, "curta 7"):
        person.page = renewing
        assert person.send(password=new, again=new).status_code == 400
    person.page = renewing
    assert "not the same" in person.send(password=OWN, again=OWN + "x").text
    assert 'name="decision"' in person.send(password=OWN, again=OWN).text  # on to the app that asked
    assert "code" in told(person.approve())
    assert not signs_in(realm, user, password)
    assert signs_in(realm, user, OWN)


def _fields(person: Person, page: httpx.Response) -> list[tuple[str, str]]:
    present, person.page = person.page, page
    fields: list[tuple[str, str]] = person.form["fields"]
    person.page = present
    return fields


def test_a_password_that_an_administrator_sets_again_is_changed_again(realm: Realm) -> None:
    user, app = realm.user(), realm.app()
    online = tokens_of(app, user, "openid user/Patient.rs online_access")
    offline = tokens_of(app, user, "openid user/Patient.rs offline_access")
    Accounts(realm.parts, realm.visit).password(user, "senha nova do balcao 8")
    assert (lives(app, online), lives(app, offline)) == (False, True)
    person = Person(realm.server.root)
    person.open("/auth/apps")
    assert CHOOSE in person.send(username=user.name, password="senha nova do balcao 8").text
    assert SIGNED_IN in person.send(password=OWN, again=OWN).text
    assert signs_in(realm, user, OWN)


def test_the_second_factor_comes_before_the_own_password(realm: Realm) -> None:
    user = realm.user("auditor", must_change=True)
    person = Person(realm.server.root)
    person.open("/auth/apps")
    assert 'name="code"' in person.send(username=user.name, password=PASSWORD).text
    form = {**dict(person.form["fields"]), "password": OWN, "again": OWN}
    early = person.http.post(f"{person.root}/auth/renew", data=form)
    assert 'action="/auth/login"' in early.text
    assert not signs_in(realm, user, OWN)
    person = Person(realm.server.root)
    person.open("/auth/apps")
    person.send(username=user.name, password=PASSWORD)
    assert CHOOSE in person.send(code=code_of(user.totp or "")).text
    assert SIGNED_IN in person.send(password=OWN, again=OWN).text


def test_who_chose_the_password_is_not_asked(realm: Realm) -> None:
    assert signs_in(realm, realm.user(), PASSWORD)


# the pages


@pytest.mark.parametrize(
    ("language", "title", "rules"),
    [("pt", "Mudar a senha", "Pelo menos 12"), ("en", "Change password", "At least 12")],
)
def test_the_page_speaks_both_languages_and_needs_no_script(
    realm: Realm, language: str, title: str, rules: str
) -> None:
    person = at_password(realm, realm.user(), language)
    assert person.page is not None
    assert title in person.page.text
    assert rules in person.page.text
    assert "<script" not in person.page.text
    policy = person.page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_the_last_sign_in_is_told(realm: Realm) -> None:
    user = realm.user()
    person = Person(realm.server.root)
    person.open("/auth/apps")
    assert "Last sign-in" not in person.sign_in(user).text
    person = Person(realm.server.root)
    person.open("/auth/apps")
    assert "Last sign-in before this one" in person.sign_in(user).text
