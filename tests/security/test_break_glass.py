"""Break-glass: one patient, an hour, a practitioner, a reason; nothing else opens.

docs/explanation/access.md; threat C7.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.client import Fhir, assert_outcome
from tests.kit.tokens import Callers

REASON = "unconscious, no one else to ask"


def call(client: Fhir, patient: str = "Patient/p3", reason: str = REASON) -> Any:
    parameters = [
        {"name": "patient", "valueReference": {"reference": patient}},
        {"name": "reason", "valueString": reason},
    ]
    return client.post("/$break-glass", json={"resourceType": "Parameters", "parameter": parameters})


@pytest.fixture
def doctor(callers: Callers, request: pytest.FixtureRequest) -> Fhir:
    """A practitioner of this test's own, without any patient."""
    return callers.client("doctor", "user/*.cruds", sub=request.node.name, fhirUser="Practitioner/rec")


def test_the_record_of_one_patient_opens(doctor: Fhir, callers: Callers) -> None:
    assert_outcome(doctor.get("/Observation/lab3"), 404, "not-found", "resource-unknown")
    answer = call(doctor)
    assert answer.status_code == 200
    assert {p["name"] for p in answer.json()["parameter"]} == {"patient", "until"}
    assert doctor.get("/Observation/lab3").status_code == 200
    assert [e["resource"]["id"] for e in doctor.get("/Patient").json()["entry"]] == ["p3"]
    for url in ("/Patient/p2", "/Observation/lab2", "/Observation/lab1"):
        assert_outcome(doctor.get(url), 404, "not-found", "resource-unknown")
    other = callers.client("doctor", "user/*.cruds", sub="a colleague", fhirUser="Practitioner/rec")
    assert other.get("/Observation/lab3").status_code == 404


@pytest.mark.parametrize("reason", ["", "abc", "         x          ", "x" * 1001])
def test_a_reason_that_says_nothing_is_refused(doctor: Fhir, reason: str) -> None:
    assert_outcome(call(doctor, reason=reason), 400, "invalid", "break-glass-reason")
    headers = {"x-purpose-of-use": "BTG", "x-purpose-reason": reason.strip()}
    assert_outcome(doctor.get("/Patient/p3", headers=headers), 400, "invalid", "break-glass-reason")
    assert_outcome(
        doctor.get("/Patient/p3", headers={"x-purpose-of-use": "BTG"}), 400, "invalid", "break-glass-reason"
    )
    assert doctor.get("/Patient/p3").status_code == 404


@pytest.mark.parametrize(
    "person", ["reception", "billing", "manager", "auditor", "admin", "ana", "nobody", "system"]
)
def test_other_roles_open_nothing(callers: Callers, person: str) -> None:
    client = callers.client(person, "user/*.cruds system/*.cruds")
    assert_outcome(call(client), 403, "forbidden", "break-glass-role")
    headers = {"x-purpose-of-use": "BTG", "x-purpose-reason": REASON}
    assert_outcome(client.get("/Patient/p3", headers=headers), 403, "forbidden", "break-glass-role")


def test_a_request_may_open_the_record_that_it_names(doctor: Fhir) -> None:
    headers = {"x-purpose-of-use": "BTG", "x-purpose-reason": REASON}
    for url in (
        "/Observation",
        "/Observation/lab3",
        "/Patient",
        "/Observation?patient=p3&subject=Patient/p2",
        "/",
    ):
        assert_outcome(doctor.get(url, headers=headers), 400, "invalid", "break-glass-patient")
    assert (
        doctor.get("/Observation?patient=p3", headers=headers).json()["entry"][0]["resource"]["id"] == "lab3"
    )
    assert doctor.get("/Observation/lab3").status_code == 200
    assert doctor.get("/Patient/p2").status_code == 404


def test_scopes_and_labels_stand(callers: Callers, system: Fhir) -> None:
    narrow = callers.client("doctor", "user/Observation.rs", sub="narrow", fhirUser="Practitioner/rec")
    assert call(narrow, "Patient/p1").status_code == 200
    assert narrow.get("/Observation/lab1").status_code == 200
    assert narrow.get("/Patient/p1").status_code == 403
    wide = callers.client("doctor", "user/*.rs", sub="narrow", fhirUser="Practitioner/rec")
    assert wide.get("/Condition/con1").status_code == 200
    assert wide.get("/Condition/hiv1").status_code == 404


@pytest.mark.parametrize("patient", ["Patient/absent", "Patient/"])
def test_an_unknown_patient_opens_nothing(doctor: Fhir, patient: str) -> None:
    assert call(doctor, patient).status_code in (400, 404)
    answer = doctor.post("/$break-glass", json={"resourceType": "Parameters"})
    assert_outcome(answer, 400, "invalid", "parameters-invalid")
    assert doctor.get("/$break-glass").status_code == 405
