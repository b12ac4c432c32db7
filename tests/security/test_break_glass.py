"""Break-glass: one patient, an hour, a practitioner, a reason; nothing else opens.

docs/explanation/access.md; threat C7.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.client import Fhir, assert_outcome, entry
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


def test_a_batch_about_one_patient_is_one_emergency(
    doctor: Fhir, system: Fhir, callers: Callers, request: pytest.FixtureRequest
) -> None:
    gets = [entry("GET", url) for url in ("Patient/p3", "Observation?patient=p3", "Patient/p3/Observation")]
    answer = doctor.bundle("batch", *gets, X_Purpose_Of_Use="BTG", X_Purpose_Reason=REASON)
    assert [each["response"]["status"][:3] for each in answer.json()["entry"]] == ["200"] * 3
    named = {"patient": "Patient/p3", "agent:identifier": f"{callers.issuer.url}|{request.node.name}"}
    begun = accesses(system, subtype="http://dicom.nema.org/resources/ontology/DCM|110127", **named)
    assert len(begun) == 1


def test_a_request_about_nobody_opens_nothing(
    doctor: Fhir, system: Fhir, callers: Callers, request: pytest.FixtureRequest
) -> None:
    """Otherwise emergencies that never were would wait for a review, and hide those that were."""
    headers = {"x-purpose-of-use": "BTG", "x-purpose-reason": REASON}
    gone = system.made({"resourceType": "Patient"})["id"]
    assert system.delete(f"/Patient/{gone}").status_code in (200, 204)
    for url in ("/Patient/bg-nobody", "/Observation?patient=bg-nobody", f"/Patient/{gone}/Observation"):
        assert_outcome(doctor.get(url, headers=headers), 404, "not-found", "resource-unknown")
    begun = {"subtype": "http://dicom.nema.org/resources/ontology/DCM|110127"}
    for patient, count in (("bg-nobody", 0), (gone, 0), ("p3", 1)):
        doctor.get(f"/Patient/{patient}", headers=headers)
        user = f"{callers.issuer.url}|{request.node.name}"
        named = {"patient": f"Patient/{patient}", "agent:identifier": user}
        assert len(accesses(system, **named, **begun)) == count, patient


def accesses(system: Fhir, **query: str) -> list[dict[str, Any]]:
    bundle = system.get("/AuditEvent", params={"_sort": "date", "_count": "200"} | query).json()
    return [entry["resource"] for entry in bundle.get("entry", [])]


def reports(auditor: Fhir, grant: str) -> dict[str, Any]:
    rows = auditor.get("/AuditEvent/$report", params={"kind": "break-glass"}).json()["rows"]
    (row,) = [row for row in rows if row["grant"] == grant]
    return dict(row)


def review(client: Fhir, event: str, note: str = "asked at the ward") -> Any:
    parameters = {"resourceType": "Parameters", "parameter": [{"name": "note", "valueString": note}]}
    return client.post(f"/AuditEvent/{event}/$review", json=parameters)


def test_every_access_under_an_emergency_is_marked_and_counted_and_somebody_else_reviews_it(
    doctor: Fhir, callers: Callers, system: Fhir, request: pytest.FixtureRequest
) -> None:
    call(doctor)
    doctor.get("/Observation/lab3")
    doctor.get("/Patient")
    assert doctor.get("/Patient/p2").status_code == 404
    doctor.get("/Practitioner/rec")
    user = f"{callers.issuer.url}|{request.node.name}"
    mine = accesses(system, **{"agent:identifier": user, "patient": "Patient/p3"})
    begun = next(event for event in mine if event["type"]["code"] == "110113")
    (grant,) = [
        entity["what"]["identifier"]["value"]
        for entity in begun["entity"]
        if entity["type"]["code"] == "break-glass-grant"
    ]
    assert grant.startswith("btg-")
    who = [agent["who"] for agent in begun["agent"] if agent["requestor"]]
    assert who[-1]["reference"] == "Practitioner/rec"
    under = accesses(system, **{"entity:identifier": grant})
    assert [event["subtype"][0]["code"] for event in under] == ["110127", "read", "search-type"]
    for event in under:
        assert event["purposeOfEvent"][0]["coding"][0]["code"] == "BTG"
        assert "Patient/p3" in str(event["entity"])
    beside = [event for event in accesses(system, **{"agent:identifier": user}) if event not in under]
    assert len(beside) >= 3  # the call itself, the other patient, the colleague
    assert not any("purposeOfEvent" in event for event in beside)

    auditor = callers.client("auditor", "user/AuditEvent.rs")
    row = reports(auditor, grant)
    assert (row["events"], row["review"], row["reason"]) == (2, "pending", REASON)
    # the same person as an auditor, under the same account or another one
    for more in ({"sub": request.node.name}, {"sub": "other account", "fhirUser": "Practitioner/rec"}):
        own = callers.client("auditor", "user/AuditEvent.rs", **more)
        assert_outcome(review(own, row["event"]), 403, "forbidden", "review-own")
    assert_outcome(review(auditor, row["event"], note=" "), 400, "invalid", "parameters-invalid")
    assert_outcome(review(doctor, row["event"]), 403, "forbidden", "scope-insufficient")
    assert reports(auditor, grant)["review"] == "pending"
    assert review(auditor, row["event"]).status_code == 200
    row = reports(auditor, grant)
    assert (row["events"], row["review"]) == (2, "reviewed")


def test_an_access_opened_by_a_request_itself_carries_the_grant_too(
    doctor: Fhir, system: Fhir, callers: Callers, request: pytest.FixtureRequest
) -> None:
    headers = {"x-purpose-of-use": "BTG", "x-purpose-reason": REASON}
    doctor.get("/Observation?patient=p3", headers=headers)
    user = f"{callers.issuer.url}|{request.node.name}"
    mine = accesses(system, **{"agent:identifier": user, "purpose": "BTG"})
    grants = [
        entity["what"]["identifier"]["value"]
        for event in mine
        for entity in event["entity"]
        if entity["type"]["code"] == "break-glass-grant"
    ]
    assert len(mine) == len(grants) == 2  # the begin and the search
    assert len(set(grants)) == 1
