"""From the authorization request to the token. Source: hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html."""

from __future__ import annotations

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.kit.oauth import Person, Realm, tokens_of, told


def test_a_patient_signs_in_chooses_themself_and_the_app_reads(
    realm: Realm, patients: tuple[str, str]
) -> None:
    app, user = realm.app(), realm.user("patient", fhir_user=f"Patient/{patients[0]}")
    scope = "openid fhirUser launch/patient patient/Patient.rs offline_access"
    body = tokens_of(app, user, scope, patient=patients[0], nonce="n-1")
    assert body["patient"] == patients[0]
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 3600
    assert set(body["scope"].split()) == set(scope.split())
    keys = KeySet.import_key_set(app.http.get(f"{app.root}/auth/jwks").json())
    claims = jwt.decode(body["id_token"], keys, algorithms=["RS256"]).claims
    assert claims["iss"] == app.root
    assert claims["aud"] == app.id
    assert claims["sub"] == user.id
    assert claims["nonce"] == "n-1"
    assert claims["fhirUser"] == f"{app.root}/fhir/Patient/{patients[0]}"


def test_the_answer_names_state_and_issuer(realm: Realm, patients: tuple[str, str]) -> None:
    app, user = realm.app(), realm.user("patient", fhir_user=f"Patient/{patients[0]}")
    person = Person(app.root)
    person.open(app.url(state="a&b=ç"))
    person.sign_in(user)
    answer = told(person.approve())
    assert answer["state"] == "a&b=ç"
    assert answer["iss"] == app.root


def test_a_practitioner_signs_in_with_a_second_factor(realm: Realm) -> None:
    app, user = realm.app(), realm.user("practitioner", fhir_user="Practitioner/1")
    body = tokens_of(app, user, "openid user/Observation.rs")
    assert "patient" not in body
    assert "refresh_token" not in body


def test_reception_finds_a_patient_by_name(realm: Realm, patients: tuple[str, str]) -> None:
    app, user = realm.app(), realm.user("reception")
    person = Person(app.root)
    person.open(app.url("launch/patient patient/Appointment.rs"))
    page = person.sign_in(user)
    assert patients[0] not in page.text
    page = person.send(decision="search", q="nobody of that name")
    assert "Nobody found" in page.text
    page = person.send(decision="search", q="souza ana")
    assert "Ana Souza" in page.text
    assert "17 May 1980" in page.text
    answer = told(person.approve(patients[0]))
    assert app.redeem(answer["code"]).json()["patient"] == patients[0]


def test_without_a_chosen_patient_the_page_asks_again(realm: Realm, patients: tuple[str, str]) -> None:
    app, user = realm.app(), realm.user("reception")
    person = Person(app.root)
    person.open(app.url("launch/patient patient/Appointment.rs"))
    person.sign_in(user)
    page = person.approve()
    assert page.status_code == 400
    assert "Choose a person" in page.text


def test_unticked_scopes_are_not_granted(realm: Realm, patients: tuple[str, str]) -> None:
    app, user = realm.app(), realm.user("patient", fhir_user=f"Patient/{patients[0]}")
    person = Person(app.root)
    person.open(app.url("launch/patient patient/Observation.rs patient/Condition.rs"))
    person.sign_in(user)
    answer = told(person.send(scopes=["patient/Condition.rs"], decision="approve", patient=patients[0]))
    assert app.redeem(answer["code"]).json()["scope"] == "patient/Condition.rs"


def test_denial_is_told_to_the_app(realm: Realm, patients: tuple[str, str]) -> None:
    app, user = realm.app(), realm.user("patient", fhir_user=f"Patient/{patients[0]}")
    person = Person(app.root)
    person.open(app.url())
    person.sign_in(user)
    assert told(person.send(decision="deny"))["error"] == "access_denied"


def test_the_second_factor_is_set_up_at_the_first_sign_in(realm: Realm) -> None:
    import re

    from tests.kit.oauth import code_of

    app, user = realm.app(), realm.user("admin", totp=False)
    person = Person(app.root)
    person.open("/auth/apps")
    page = person.sign_in(user)
    assert "<svg" in page.text
    seed = re.search(r"<code>([A-Z2-7 ]+)</code>", page.text)
    assert seed is not None
    wrong = person.send(code="000000")
    assert wrong.status_code == 401
    page = person.send(code=code_of(seed[1].replace(" ", "")))
    assert "Apps with access" in page.text


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_request_may_come_by_get_or_post(realm: Realm, method: str) -> None:
    app = realm.app()
    response = app.http.request(method, f"{app.root}/auth/authorize", **(
        {"params": app.request()} if method == "GET" else {"data": app.request()}
    ))  # fmt: skip
    assert response.status_code == 303
    assert response.headers["location"].startswith("/auth/continue?txn=")


def test_apps_are_listed_and_withdrawn_one_by_one(realm: Realm, patients: tuple[str, str]) -> None:
    user = realm.user("patient", fhir_user=f"Patient/{patients[0]}")
    first, second = realm.app(name="First App"), realm.app(name="Second App")
    scope = "launch/patient patient/*.rs offline_access"
    kept = tokens_of(first, user, scope, patient=patients[0])
    gone = tokens_of(second, user, scope, patient=patients[0])
    person = Person(first.root)
    person.open("/auth/apps")
    page = person.sign_in(user)
    assert page.text.index("Second App") < page.text.index("First App")
    page = person.send()
    assert "Second App" not in page.text
    assert "First App" in page.text
    assert second.refresh(gone["refresh_token"]).json()["error"] == "invalid_grant"
    assert first.refresh(kept["refresh_token"]).status_code == 200


def test_signing_out_ends_the_session(realm: Realm) -> None:
    user = realm.user("reception")
    person = Person(realm.server.root)
    person.open("/auth/apps")
    assert "Apps with access" in person.sign_in(user).text
    person.open("/auth/logout")
    assert "signed out" in person.send().text
    assert 'name="password"' in person.open("/auth/apps").text
