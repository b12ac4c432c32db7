"""Backend services: bound by their scopes alone, or by a policy as well, and then by labels and consents like users.

Rules: smart.md 2 and 7.2 (system_policy); security.md C2, J4; docs/decisions/0022, 0037.
"""

from __future__ import annotations

from typing import Any

import pytest

from fhirserver.access.oauth import registering
from fhirserver.access.oauth.clients import ClientRefused
from tests.kit.builders import a_patient
from tests.kit.client import Fhir, assert_outcome
from tests.kit.oauth import App, Realm
from tests.security.clinic import CONFIDENTIALITY, encounter, observation, ref
from tests.security.test_labels_and_consent import SCOPE

VERY = {"meta": {"security": [{"system": CONFIDENTIALITY, "code": "V"}]}}


def client_of(realm: Realm, app: App, scope: str = "system/Patient.rus") -> Fhir:
    answer = app.credentials(scope)
    assert answer.status_code == 200, answer.text
    return realm.fhir(answer.json()["access_token"])


@pytest.fixture(scope="module")
def bound(realm: Realm) -> App:
    return realm.service("system/*.cruds", system_policy="reception")


@pytest.fixture(scope="module")
def free(realm: Realm) -> App:
    return realm.service("system/*.cruds")


def test_a_policy_narrows_what_is_granted_and_the_answer_says_so(bound: App, free: App) -> None:
    asked = "system/Patient.cruds system/Observation.rs"
    assert bound.credentials(asked).json()["scope"] == "system/Patient.crus"
    assert bound.credentials("system/Observation.rs").json()["error"] == "invalid_scope"
    assert free.credentials(asked).json()["scope"] == asked


def test_labels_bind_a_service_with_a_policy(realm: Realm, bound: App, free: App) -> None:
    with client_of(realm, free, "system/*.cruds") as able, client_of(realm, bound) as narrow:
        id = able.made(a_patient() | VERY)["id"]
        plain = able.made(a_patient())["id"]
        assert narrow.get(f"Patient/{id}").status_code == 404
        assert narrow.get(f"Patient?_id={id}&_summary=count").json()["total"] == 0
        assert narrow.get(f"Patient?_id={plain}&_summary=count").json()["total"] == 1
        labelled = narrow.update(narrow.get(f"Patient/{plain}").json() | VERY)
        assert_outcome(labelled, 403, "forbidden", "labels-kept")
        assert able.update(able.get(f"Patient/{plain}").json() | VERY).status_code == 200
        assert able.get(f"Patient/{id}").status_code == 200


def test_masks_bind_a_service_with_a_policy(realm: Realm, bound: App, free: App) -> None:
    with (
        client_of(realm, free, "system/*.cruds") as able,
        client_of(realm, bound, "system/Encounter.cruds") as narrow,
    ):
        patient = able.made(a_patient())["id"]
        visit = {k: v for k, v in encounter("x", patient).items() if k != "id"}
        id = able.made(visit | {"reasonCode": [{"text": "Canaryword"}]})["id"]
        for url in (f"Encounter/{id}", f"Encounter?_id={id}", f"Encounter/{id}/_history"):
            shown, whole = narrow.get(url), able.get(url)
            assert shown.status_code == 200
            assert "Canaryword" not in shown.text
            assert "SUBSETTED" in shown.text
            assert "Canaryword" in whole.text
        assert narrow.update(narrow.get(f"Encounter/{id}").json()).status_code in (403, 422)
        assert "Canaryword" in able.get(f"Encounter/{id}").text


def test_consents_bind_a_service_with_a_policy(realm: Realm, bound: App, free: App) -> None:
    with client_of(realm, free, "system/*.cruds") as able, client_of(realm, bound) as narrow:
        id = able.made(a_patient())["id"]
        assert narrow.get(f"Patient/{id}").status_code == 200
        consent: dict[str, Any] = {
            "resourceType": "Consent", "status": "active", "scope": SCOPE, "patient": ref(f"Patient/{id}"),
            "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
            "policy": [{"uri": "https://clinic.example/policy"}], "provision": {"type": "deny"},
        }  # fmt: skip
        made = able.made(consent)
        for url in (f"Patient/{id}", f"Patient/{id}/_history"):
            assert narrow.get(url).status_code == 404
        assert narrow.get(f"Patient?_id={id}&_summary=count").json()["total"] == 0
        assert able.get(f"Patient/{id}").status_code == 200  # the institution's own work
        assert able.update(made | {"status": "inactive"}).status_code == 200
        assert narrow.get(f"Patient/{id}").status_code == 200


def test_a_policy_binds_tokens_that_were_issued_before_it(realm: Realm) -> None:
    app = realm.service("system/*.cruds")
    with (
        client_of(realm, app, "system/Observation.cs") as before,
        client_of(realm, app, "system/Observation.cs") as later,
    ):
        made = observation("x", "p", subject={"display": "nobody"})
        assert before.create(made).status_code == 201
        registering.change(realm.parts, realm.visit, app.record, system_policy="reception")
        assert_outcome(later.create(made), 403, "forbidden", "scope-insufficient")


def test_a_policy_that_is_no_longer_a_role_opens_nothing(realm: Realm) -> None:
    app = realm.service("system/*.cruds")
    with client_of(realm, app) as client:
        realm.store.clients.change(app.id, system_policy="gone")
        assert client.get("Patient").status_code == 403
    assert app.credentials("system/Patient.rs").json()["error"] == "invalid_scope"


@pytest.mark.parametrize("policy", ["", "king", "patient"])
def test_a_policy_is_a_role_that_reaches_all_of_something(realm: Realm, policy: str) -> None:
    if policy == "patient":  # of patients: a service has none
        policies = realm.parts.roles.service_ceiling(policy)
        assert policies == ()
    with pytest.raises(ClientRefused) as refused:
        realm.service(system_policy=policy)
    assert refused.value.field == "system_policy"
