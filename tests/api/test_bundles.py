"""batch and transaction. Source: hl7.org/fhir/R4/http.html#transaction"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.kit.builders import SYSTEM, a_patient, an_observation, identified
from tests.kit.client import JSON, Fhir, assert_outcome, entry, unique

URN = "urn:uuid:0b34b2f0-1b2c-4a3d-9e4f-000000000001"


def statuses(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [e["response"]["status"][:3] for e in response.json()["entry"]]


@pytest.mark.verifies("http-transaction-3")
def test_a_transaction_resolves_references_between_its_entries(fhir: Fhir) -> None:
    response = fhir.bundle(
        "transaction",
        entry("POST", "Observation", an_observation(URN)),
        entry("POST", "Patient", a_patient(), fullUrl=URN),
    )
    assert statuses(response) == ["201", "201"]
    body = response.json()
    assert body["type"] == "transaction-response"
    observation, patient = (e["response"]["location"].split("/_history")[0] for e in body["entry"])
    assert fhir.get(f"/{observation}").json()["subject"] == {"reference": patient}
    assert fhir.ids(f"/Observation?subject={patient}") == [observation]


def test_links_in_narrative_are_rewritten(fhir: Fhir) -> None:
    text = {
        "status": "generated",
        "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{URN}">who</a></div>',
    }
    response = fhir.bundle(
        "transaction",
        entry("POST", "Patient", a_patient(), fullUrl=URN),
        entry("POST", "Observation", an_observation(URN, text=text)),
    )
    patient, observation = (e["response"]["location"].split("/_history")[0] for e in response.json()["entry"])
    assert f'href="{patient}"' in fhir.get(f"/{observation}").json()["text"]["div"]


@pytest.mark.verifies("http-transaction-1")
def test_a_transaction_with_one_invalid_entry_does_nothing(fhir: Fhir) -> None:
    value = unique()
    response = fhir.bundle(
        "transaction",
        entry("POST", "Patient", identified(value)),
        entry("POST", "Patient", a_patient(gender="robot")),
        entry("POST", "Patient", a_patient(birthDate="yesterday")),
    )
    assert response.status_code == 422
    told = [e for issue in response.json()["issue"] for e in issue["expression"]]
    assert told == ["Bundle.entry[1].resource.gender", "Bundle.entry[2].resource.birthDate"]
    assert fhir.ids(f"/Patient?identifier={SYSTEM}|{value}") == []


@pytest.mark.verifies("http-transaction-1")
def test_a_transaction_that_fails_in_the_database_is_rolled_back(fhir: Fhir) -> None:
    value = unique()
    patient = fhir.made(a_patient())
    response = fhir.bundle(
        "transaction",
        entry("POST", "Patient", identified(value)),
        entry("PUT", f"Patient/{patient['id']}", patient | {"active": True}, ifMatch='W/"7"'),
    )
    assert_outcome(response, 412, "conflict", "version-mismatch", "Bundle.entry[1]")
    assert fhir.ids(f"/Patient?identifier={SYSTEM}|{value}") == []
    assert fhir.get(f"/Patient/{patient['id']}").json()["meta"]["versionId"] == "1"


@pytest.mark.verifies("http-transaction-2", "http-transaction-6")
def test_entries_run_in_the_order_of_the_specification(fhir: Fhir) -> None:
    id = unique("order")
    fhir.update(a_patient(id=id))
    response = fhir.bundle(
        "transaction",
        entry("GET", f"Patient/{id}"),
        entry("PUT", f"Patient/{id}-new", a_patient(id=f"{id}-new")),
        entry("GET", f"Patient?_id={id}-new"),
        entry("POST", "Patient", a_patient()),
    )
    assert statuses(response) == ["200", "201", "200", "201"]
    found = response.json()["entry"][2]["resource"]
    assert found["type"] == "searchset"
    assert [e["resource"]["id"] for e in found["entry"]] == [f"{id}-new"]


@pytest.mark.verifies("http-batch-1")
def test_a_batch_runs_each_entry_on_its_own(fhir: Fhir) -> None:
    id = fhir.made(a_patient())["id"]
    response = fhir.bundle(
        "batch",
        entry("GET", f"Patient/{id}"),
        entry("POST", "Patient", a_patient(gender="robot")),
        entry("GET", "Patient/nobody"),
        entry("GET", "Patient/" + "x" * 65),
        entry("DELETE", f"Patient/{fhir.made(a_patient())['id']}"),
        entry(
            "PATCH",
            f"Patient/{id}",
            {
                "resourceType": "Binary",
                "contentType": "application/json-patch+json",
                "data": "W3sib3AiOiJhZGQiLCJwYXRoIjoiL2FjdGl2ZSIsInZhbHVlIjp0cnVlfV0=",
            },
        ),
    )
    assert statuses(response) == ["200", "422", "404", "400", "204", "200"]
    told = response.json()["entry"]
    assert told[0]["resource"]["id"] == id
    assert told[1]["response"]["outcome"]["issue"][0]["expression"] == ["Patient.gender"]
    assert fhir.get(f"/Patient/{id}").json()["active"] is True


@pytest.mark.verifies("http-transaction-4")
def test_conditional_entries_and_references_are_resolved(fhir: Fhir) -> None:
    value = unique()
    known = fhir.made(identified(value))
    response = fhir.bundle(
        "transaction",
        entry("POST", "Patient", identified(value), fullUrl=URN, ifNoneExist=f"identifier={SYSTEM}|{value}"),
        entry("POST", "Observation", an_observation(URN)),
        entry("POST", "Observation", an_observation(f"Patient?identifier={SYSTEM}|{value}")),
        entry("PUT", f"Patient?identifier={SYSTEM}|{value}-new", identified(f"{value}-new")),
    )
    assert statuses(response) == ["200", "201", "201", "201"]
    assert len(fhir.ids(f"/Observation?subject=Patient/{known['id']}")) == 2


@pytest.mark.verifies("http-transaction-4")
def test_a_conditional_reference_without_a_match_refuses_the_whole(fhir: Fhir) -> None:
    response = fhir.bundle(
        "transaction", entry("POST", "Observation", an_observation(f"Patient?identifier={SYSTEM}|{unique()}"))
    )
    assert_outcome(response, 412, "conflict", "reference-no-match", "Bundle.entry[0]")


@pytest.mark.verifies("http-transaction-5")
def test_two_changes_of_one_resource_are_refused(fhir: Fhir) -> None:
    patient = fhir.made(a_patient())
    url = f"Patient/{patient['id']}"
    response = fhir.bundle("transaction", entry("PUT", url, patient), entry("DELETE", url))
    assert_outcome(response, 400, "invalid", "entry-overlap", "Bundle.entry[1]")


def test_parallel_transactions_with_the_same_criteria_create_once(fhir: Fhir) -> None:
    value = unique("race")
    body: dict[str, Any] = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            entry(
                "POST", "Patient", identified(value), fullUrl=URN, ifNoneExist=f"identifier={SYSTEM}|{value}"
            ),
            entry("POST", "Observation", an_observation(URN)),
        ],
    }

    def attempt(_: int) -> int:
        headers = {"content-type": "application/fhir+json"}
        return httpx.post(str(fhir.base_url), json=body, headers=headers, timeout=60).status_code

    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(attempt, range(20))) == [200] * 20
    patients = fhir.ids(f"/Patient?identifier={SYSTEM}|{value}")
    assert len(patients) == 1
    assert len(fhir.ids(f"/Observation?subject={patients[0]}")) == 20


def test_bundles_that_are_none_are_refused(fhir: Fhir) -> None:
    assert_outcome(fhir.bundle("collection"), 422, "processing", "bundle-type", "Bundle.type")
    response = fhir.bundle("batch", {"resource": a_patient()})
    assert response.status_code in (400, 422)
    nested = fhir.bundle("batch", entry("POST", "", {"resourceType": "Bundle", "type": "batch"}))
    assert nested.status_code in (400, 422)
    many = [entry("GET", "Patient/x")] * 1001
    assert_outcome(fhir.bundle("batch", *many), 413, "too-long", "bundle-too-large")
    empty = fhir.post(
        "", json={"resourceType": "Bundle", "type": "transaction"}, headers={"content-type": JSON}
    )
    assert empty.json() == {"resourceType": "Bundle", "type": "transaction-response"}


def test_prefer_representation_gives_the_resources_back(fhir: Fhir) -> None:
    plain = fhir.bundle("transaction", entry("POST", "Patient", a_patient()))
    assert "resource" not in plain.json()["entry"][0]
    full = fhir.bundle("transaction", entry("POST", "Patient", a_patient()), prefer="return=representation")
    assert full.json()["entry"][0]["resource"]["name"][0]["family"] == "Souza"
