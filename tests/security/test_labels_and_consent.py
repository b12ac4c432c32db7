"""Security labels need clearance; privacy consents withhold; both hold in searches, counts, includes and history.

hl7.org/fhir/R4/security-labels.html, consent.html; docs/explanation/access.md; threats C2, C3, S33.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.kit.audit import events_of, subtypes
from tests.kit.client import Fhir, assert_outcome
from tests.kit.tokens import Callers
from tests.security.clinic import ACT_CODE, Json, condition, observation, ref

SCOPE = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
}
REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"


def ids(client: Fhir, url: str) -> set[str]:
    return {each.partition("/")[2] for each in client.ids(url)}


@pytest.mark.parametrize(
    ("id", "cleared"), [("hiv1", False), ("very1", False), ("restr1", True), ("normal1", True)]
)
def test_a_label_hides_from_whom_is_not_cleared(
    callers: Callers, system: Fhir, id: str, cleared: bool
) -> None:
    doctor = callers.client("doctor", "user/*.cruds")
    assert system.get(f"/Condition/{id}").status_code == 200
    assert (id in ids(doctor, "/Condition?patient=p1")) is cleared
    expected = 200 if cleared else 404
    for url in (f"/Condition/{id}", f"/Condition/{id}/_history", f"/Condition/{id}/_history/1"):
        assert doctor.get(url).status_code == expected
    assert doctor.get(f"/Condition?_id={id}&_summary=count").json()["total"] == int(cleared)
    assert (f"Condition/{id}" in doctor.get("/Patient?_id=p1&_revinclude=Condition:patient").text) is cleared
    assert (f"Condition/{id}" in doctor.get("/Patient/p1/$everything").text) is cleared
    assert (f"Condition/{id}" in doctor.get("/Condition/_history?_count=500").text) is cleared


def test_a_hidden_resource_answers_no_probing(callers: Callers, system: Fhir) -> None:
    doctor = callers.client("doctor", "user/*.cruds")
    for url in (f"/Condition?_security={ACT_CODE}|HIV", "/Condition?_id=hiv1",
                "/Patient?_has:Condition:patient:_id=hiv1", f"/Patient?_has:Condition:patient:_security={ACT_CODE}|HIV"):  # fmt: skip
        assert ids(doctor, url) == set(), url
        assert ids(system, url), url
    assert_outcome(doctor.update(condition("hiv1", "p1")), 404, "not-found", "resource-unknown")
    assert doctor.get(f"/Condition?_security:not={ACT_CODE}|HIV&_id=hiv1&_summary=count").json()["total"] == 0


def test_a_label_without_a_system_hides_as_well(callers: Callers, system: Fhir) -> None:
    made = system.made(condition("x", "p4") | {"meta": {"security": [{"code": "PSY"}]}})
    assert callers.client("doctor", "user/*.rs").get(f"/Condition/{made['id']}").status_code == 404
    assert (
        callers.client("davi", "patient/*.rs", patient="p4").get(f"/Condition/{made['id']}").status_code
        == 200
    )


class Consents:
    """Consents of p4, one at a time."""

    def __init__(self, system: Fhir) -> None:
        self.system = system
        self.made: Json | None = None

    def put(self, provision: Json | None, **more: Any) -> None:
        body = {
            "resourceType": "Consent", "status": "active", "scope": SCOPE, "patient": ref("Patient/p4"),
            "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
            "policy": [{"uri": "https://clinic.example/policy"}],
        } | ({"provision": provision} if provision else {}) | more  # fmt: skip
        if self.made is None:
            self.made = self.system.made(body)
        else:
            answer = self.system.update(body | {"id": self.made["id"]})
            assert answer.status_code == 200, answer.text

    def withdraw(self) -> None:
        if self.made is not None:
            assert self.system.delete(f"/Consent/{self.made['id']}").status_code == 204
            self.made = None


@pytest.fixture
def consents(system: Fhir) -> Iterator[Consents]:
    made = Consents(system)
    yield made
    made.withdraw()


def coding(system: str, code: str) -> Json:
    return {"system": system, "code": code}


TYPE_OBSERVATION = coding("http://hl7.org/fhir/resource-types", "Observation")
DOC, OUT, ORG = (
    {"role": {"text": "x"}, "reference": ref(r)}
    for r in ("Practitioner/doc", "Practitioner/out", "Organization/org")
)
# provision, does it withhold lab4, does it withhold the Patient, from the doctor
RULES: list[tuple[Json, bool, bool]] = [
    ({"type": "permit"}, False, False),
    ({"type": "deny"}, True, True),
    ({"type": "deny", "class": [TYPE_OBSERVATION]}, True, False),
    ({"type": "deny", "actor": [DOC]}, True, True),
    ({"type": "deny", "actor": [OUT]}, False, False),
    ({"type": "deny", "actor": [ORG]}, True, True),
    ({"type": "deny", "actor": [{"role": {"text": "x"}, "reference": ref("CareTeam/1")}]}, True, True),
    ({"type": "deny", "purpose": [coding(REASON, "TREAT")]}, True, True),
    ({"type": "deny", "purpose": [coding(REASON, "HPAYMT")]}, False, False),
    ({"type": "deny", "period": {"end": "2020"}}, False, False),
    ({"type": "deny", "period": {"start": "2020"}}, True, True),
    ({"type": "deny", "dataPeriod": {"start": "2026-01", "end": "2026-06"}, "class": [TYPE_OBSERVATION]}, True, False),
    ({"type": "deny", "dataPeriod": {"start": "2025-01", "end": "2025-06"}, "class": [TYPE_OBSERVATION]}, False, False),
    ({"type": "deny", "code": [{"coding": [coding("http://loinc.org", "29463-7")]}], "class": [TYPE_OBSERVATION]},
     True, False),
    ({"type": "deny", "code": [{"coding": [coding("http://loinc.org", "1-1")]}], "class": [TYPE_OBSERVATION]},
     False, False),
    ({"type": "deny", "data": [{"meaning": "instance", "reference": ref("Observation/lab4")}]}, True, False),
    ({"type": "deny", "data": [{"meaning": "instance", "reference": ref("Observation/vital4")}]}, False, False),
    ({"type": "deny", "securityLabel": [coding(ACT_CODE, "HIV")]}, False, False),
    ({"type": "deny", "provision": [{"type": "permit", "actor": [DOC]}]}, False, False),
    ({"type": "deny", "provision": [{"type": "permit", "actor": [OUT]}]}, True, True),
    ({"type": "deny", "provision": [{"type": "permit", "class": [TYPE_OBSERVATION]}]}, False, True),
    ({"type": "permit", "provision": [{"type": "deny", "class": [TYPE_OBSERVATION]}]}, True, False),
    ({"type": "permit", "provision": [{"type": "deny", "provision": [{"type": "permit", "actor": [DOC]}]}]},
     False, False),
]  # fmt: skip


def test_a_provision_withholds_what_it_says_and_from_the_next_request(
    callers: Callers, consents: Consents
) -> None:
    doctor = callers.client("doctor", "user/*.rs")
    assert len(RULES) == 23
    for provision, observation_gone, patient_gone in RULES:
        consents.put(provision)
        for url, gone in (("/Observation/lab4", observation_gone), ("/Patient/p4", patient_gone)):
            assert doctor.get(url).status_code == (404 if gone else 200), (url, provision)
        assert ("lab4" in ids(doctor, "/Observation?patient=p4")) is not observation_gone, provision
        assert doctor.get("/Patient?_id=p4&_summary=count").json()["total"] == int(not patient_gone), (
            provision
        )
    consents.put({"type": "deny"})
    assert doctor.get("/Patient/p4").status_code == 404
    consents.withdraw()
    assert doctor.get("/Patient/p4").status_code == 200


def test_only_active_privacy_consents_count(callers: Callers, consents: Consents) -> None:
    doctor = callers.client("doctor", "user/*.rs")
    other = {"coding": [coding("http://terminology.hl7.org/CodeSystem/consentscope", "research")]}
    for more in ({"status": "inactive"}, {"status": "proposed"}, {"status": "rejected"}, {"scope": other}):
        consents.put({"type": "deny"}, **more)
        assert doctor.get("/Patient/p4").status_code == 200, more
    opt_out = {"coding": [coding(ACT_CODE, "OPTOUT")]}
    consents.put(None, policyRule=opt_out)
    assert doctor.get("/Patient/p4").status_code == 404
    consents.put({"type": "permit", "actor": [DOC]}, policyRule=opt_out)
    assert doctor.get("/Patient/p4").status_code == 200


def test_a_consent_binds_no_other_patient_not_the_patient_and_no_backend(
    callers: Callers, consents: Consents, system: Fhir
) -> None:
    consents.put({"type": "deny"})
    doctor = callers.client("doctor", "user/*.rs")
    assert doctor.get("/Observation/lab4").status_code == 404
    assert doctor.get("/Observation/lab1").status_code == 200
    assert callers.client("davi", "patient/*.rs", patient="p4").get("/Observation/lab4").status_code == 200
    assert system.get("/Observation/lab4").status_code == 200


def test_the_audit_log_tells_what_a_consent_withheld_from_what_is_out_of_reach(
    callers: Callers, consents: Consents
) -> None:
    auditing = callers.client("system", "system/*.rs system/AuditEvent.rs")

    def told(person: str, path: str) -> tuple[list[str], str]:
        answer = callers.client(person, "user/*.rs").get(path)
        assert_outcome(answer, 404, "not-found", "resource-unknown")
        (event,) = events_of(auditing, answer.headers["x-request-id"])
        return subtypes(event)[1:], event["outcome"]

    compartment = (["denied", "denied-compartment"], "4")
    consents.put({"type": "deny", "class": [TYPE_OBSERVATION]})
    assert told("doctor", "/Observation/lab4") == (["denied", "denied-consent"], "8")
    assert told("stranger", "/Observation/lab4") == compartment  # no consent would have opened it
    assert told("doctor", "/Observation/absent") == ([], "4")
    consents.withdraw()
    assert told("stranger", "/Observation/lab4") == compartment


def test_a_consent_binds_writes_and_apps(callers: Callers, consents: Consents) -> None:
    consents.put({"type": "deny", "class": [TYPE_OBSERVATION]})
    doctor = callers.client("doctor", "user/*.cruds")
    ehr = callers.client("doctor", "patient/*.cruds", patient="p4")
    for client in (doctor, ehr):
        for id in ("lab4", "absent"):
            answer = client.update(observation(id, "p4"))
            assert_outcome(answer, 403, "forbidden", "outside-permission")
        assert_outcome(client.create(observation("x", "p4")), 403, "forbidden", "outside-permission")
        assert ids(client, "/Observation?patient=p4") == set()


def test_a_purpose_is_claimed_by_header(callers: Callers, consents: Consents) -> None:
    consents.put({"type": "deny", "purpose": [coding(REASON, "HPAYMT")]})
    doctor = callers.client("doctor", "user/*.rs")
    assert doctor.get("/Patient/p4", headers={"x-purpose-of-use": "TREAT"}).status_code == 200
    assert doctor.get("/Patient/p4", headers={"x-purpose-of-use": "HPAYMT"}).status_code == 404
    unknown = doctor.get("/Patient/p4", headers={"x-purpose-of-use": "NONSENSE"})
    assert_outcome(unknown, 400, "invalid", "purpose-unknown")
