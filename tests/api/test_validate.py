"""$validate. Source: hl7.org/fhir/R4/resource-operation-validate.html."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.kit.client import JSON, Fhir, assert_outcome, unique
from tests.kit.wait import eventually

Json = dict[str, Any]
R4 = "http://hl7.org/fhir/StructureDefinition/"
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">Ana</div>'
PATIENT: Json = {
    "resourceType": "Patient",
    "text": {"status": "generated", "div": DIV},
    "name": [{"family": "Souza"}],
}
HEIGHT: Json = {
    "resourceType": "Observation",
    "text": {"status": "generated", "div": DIV},
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "8302-2"}]},
    "subject": {"reference": "Patient/1"},
    "effectiveDateTime": "2026-01-05",
    "valueQuantity": {"value": 1.6, "unit": "cm", "system": "http://unitsofmeasure.org", "code": "cm"},
}


def asked(fhir: Fhir, url: str, body: Any = None) -> httpx.Response:
    headers = {"content-type": JSON}
    if isinstance(body, bytes):
        return fhir.post(url, content=body, headers=headers)
    return fhir.post(url, json=body, headers=headers)


def issues(response: httpx.Response) -> set[tuple[str, str, str]]:
    """(severity, code, expression) of the outcome of an answered question."""
    assert response.status_code == 200, response.text
    assert response.json()["resourceType"] == "OperationOutcome"
    return {
        (i["severity"], i["details"]["coding"][0]["code"], i.get("expression", [""])[0])
        for i in response.json()["issue"]
    }


ALL_OK = {("information", "valid", "")}


def test_a_valid_resource_is_all_ok(fhir: Fhir) -> None:
    assert issues(asked(fhir, "/Patient/$validate", PATIENT)) == ALL_OK


def test_what_is_wrong_is_listed_with_200(fhir: Fhir) -> None:
    found = issues(asked(fhir, "/Patient/$validate", PATIENT | {"gender": "x"}))
    assert found == {("error", "code-not-in-value-set", "Patient.gender")}


def test_the_resource_may_come_in_parameters(fhir: Fhir) -> None:
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": "resource", "resource": PATIENT | {"active": 1}}],
    }
    assert issues(asked(fhir, "/Patient/$validate", body)) == {("error", "wrong-json-type", "Patient.active")}


def test_a_parameters_resource_can_itself_be_validated(fhir: Fhir) -> None:
    body = {"resourceType": "Parameters", "parameter": [{"name": "a", "valueString": ""}]}
    assert ("error", "empty-string", "Parameters.parameter[0].value") in issues(
        asked(fhir, "/Parameters/$validate", body)
    )


@pytest.mark.parametrize("body", [b"{", b'{"resourceType": "Patient", "active": tru', b'["x"'])
def test_a_body_that_cannot_be_read_is_an_answer_too(fhir: Fhir, body: bytes) -> None:
    found = issues(asked(fhir, "/Patient/$validate", body))
    assert {severity for severity, _, _ in found} == {"error"}
    assert_outcome(asked(fhir, "/Patient", body), 400, "invalid", next(code for _, code, _ in found))


def test_another_type_than_the_url_names_is_an_issue(fhir: Fhir) -> None:
    assert issues(asked(fhir, "/Observation/$validate", PATIENT)) == {
        ("error", "wrong-resource-type", "Patient.resourceType")
    }


def test_xml_is_validated_like_json(fhir: Fhir) -> None:
    body = b'<Patient xmlns="http://hl7.org/fhir"><gender value="x"/></Patient>'
    response = fhir.post("/Patient/$validate", content=body, headers={"content-type": "application/fhir+xml"})
    assert ("error", "code-not-in-value-set", "Patient.gender") in issues(response)


def test_a_profile_is_asked_for_by_query_or_parameter(fhir: Fhir) -> None:
    wrong = {("error", "missing-element", "Observation.category")}
    assert wrong <= issues(asked(fhir, f"/Observation/$validate?profile={R4}bodyheight", HEIGHT))
    parameters = [
        {"name": "resource", "resource": HEIGHT},
        {"name": "profile", "valueCanonical": R4 + "bodyheight"},
    ]
    body = {"resourceType": "Parameters", "parameter": parameters}
    assert wrong <= issues(asked(fhir, "/Observation/$validate", body))
    assert not wrong & issues(asked(fhir, "/Observation/$validate", HEIGHT))


def test_a_claimed_profile_is_checked_without_asking(fhir: Fhir) -> None:
    claiming = HEIGHT | {"meta": {"profile": [R4 + "bodyheight"]}}
    assert ("error", "missing-element", "Observation.category") in issues(
        asked(fhir, "/Observation/$validate", claiming)
    )
    assert_outcome(fhir.create(claiming), 422, "required", "missing-element", "Observation.category")


def test_an_unknown_profile_cannot_be_asked_for(fhir: Fhir) -> None:
    response = asked(fhir, "/Patient/$validate?profile=https://nowhere.example/p", PATIENT)
    assert_outcome(response, 404, "not-found", "profile-unknown")


def test_must_support_elements_are_reported_on_request(fhir: Fhir) -> None:
    url = f"/Observation/$validate?profile={R4}bodyheight"
    absent = ("information", "must-support-absent", "Observation.dataAbsentReason")
    assert absent in issues(asked(fhir, url + "&mustSupport=true", HEIGHT))
    assert absent not in issues(asked(fhir, url, HEIGHT))


def test_the_entries_of_a_bundle_are_validated(fhir: Fhir) -> None:
    claiming = HEIGHT | {"meta": {"profile": [R4 + "bodyheight"]}}
    body = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": PATIENT}, {"resource": claiming}],
    }
    found = issues(asked(fhir, "/Bundle/$validate", body))
    assert ("error", "missing-element", "Bundle.entry[1].resource.category") in found
    assert not any("entry[0]" in expression for _, _, expression in found)


def test_a_stored_resource_is_validated_by_get_and_post(fhir: Fhir) -> None:
    stored = fhir.made(PATIENT)
    url = f"/Patient/{stored['id']}/$validate"
    assert issues(fhir.get(url)) == ALL_OK
    assert issues(fhir.post(url)) == ALL_OK
    assert_outcome(fhir.get(f"/Patient/{unique('none')}/$validate"), 404, "not-found", "resource-unknown")


def test_mode_update_wants_the_id_of_the_url(fhir: Fhir) -> None:
    stored = fhir.made(PATIENT)
    url = f"/Patient/{stored['id']}/$validate?mode=update"
    assert issues(asked(fhir, url, stored)) == ALL_OK
    assert issues(asked(fhir, url, PATIENT)) == {("error", "id-mismatch", "Patient.id")}


def test_mode_create_says_that_the_id_is_ignored(fhir: Fhir) -> None:
    found = issues(asked(fhir, "/Patient/$validate?mode=create", PATIENT | {"id": "x"}))
    assert found == {("information", "id-ignored", "Patient.id")}


def test_mode_delete_asks_about_a_stored_resource(fhir: Fhir) -> None:
    stored = fhir.made(PATIENT)
    assert issues(fhir.get(f"/Patient/{stored['id']}/$validate?mode=delete")) == ALL_OK
    assert_outcome(
        fhir.get(f"/Patient/{unique('none')}/$validate?mode=delete"), 404, "not-found", "resource-unknown"
    )


@pytest.mark.parametrize(
    ("url", "body", "code"),
    [
        ("/Patient/$validate?mode=guess", PATIENT, "validate-mode"),
        ("/Patient/$validate?mode=update", PATIENT, "validate-mode"),
        ("/Patient/$validate?mode=delete", PATIENT, "validate-mode"),
        ("/Patient/$validate", {"resourceType": "Parameters", "parameter": [{"name": "mode", "valueCode": "create"}]}, "body-missing"),
    ],
)  # fmt: skip
def test_a_question_that_makes_no_sense_is_refused(fhir: Fhir, url: str, body: Json, code: str) -> None:
    response = asked(fhir, url, body)
    assert response.status_code == 400
    assert response.json()["issue"][0]["details"]["coding"][0]["code"] == code


def test_a_get_at_type_level_has_nothing_to_validate(fhir: Fhir) -> None:
    assert_outcome(fhir.get("/Patient/$validate"), 400, "invalid", "body-missing")


def test_the_operation_is_declared_for_every_type(fhir: Fhir) -> None:
    [rest] = fhir.get("/metadata").json()["rest"]
    declared = {
        resource["type"]: operation["definition"]
        for resource in rest["resource"]
        for operation in resource.get("operation", ())
        if operation["name"] == "validate"
    }
    assert {resource["type"] for resource in rest["resource"]} - set(declared) <= {"AuditEvent"}  # read only
    assert set(declared.values()) == {"http://hl7.org/fhir/OperationDefinition/Resource-validate"}


def test_a_profile_that_a_client_stores_takes_part(fhir: Fhir) -> None:
    url = f"https://fhirserver.example/StructureDefinition/{unique('own')}"
    definition = {
        "resourceType": "StructureDefinition",
        "url": url,
        "name": "Own",
        "status": "active",
        "kind": "resource",
        "abstract": False,
        "type": "Patient",
        "baseDefinition": R4 + "Patient",
        "derivation": "constraint",
        "differential": {"element": [{"id": "Patient.birthDate", "path": "Patient.birthDate", "min": 1}]},
    }
    stored = fhir.made(definition)
    question = f"/Patient/$validate?profile={url}"
    assert eventually(lambda: asked(fhir, question, PATIENT).status_code == 200)
    assert issues(asked(fhir, question, PATIENT)) == {("error", "missing-element", "Patient.birthDate")}
    assert fhir.delete(f"/StructureDefinition/{stored['id']}").status_code in (200, 204)
    assert eventually(lambda: asked(fhir, question, PATIENT).status_code == 404)
