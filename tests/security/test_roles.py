"""What each role may do: the table of access, the audit trail, and the wall between duties.

docs/explanation/access.md (roles); threats S34, S35, E2, E3, E6.
"""

from __future__ import annotations

import pytest

from tests.kit.client import Fhir, assert_outcome, entry
from tests.kit.tokens import Callers
from tests.security.clinic import condition, observation, patient
from tests.security.test_patient_reads import seen

EVERYTHING = "user/*.cruds user/AuditEvent.cruds user/Provenance.cruds"
STAFF = ("doctor", "reception", "billing", "manager", "auditor", "admin")
# type -> the letters of each role, in the order of STAFF; "." is none
TABLE = {
    "Patient": "rus crus rs rs . .",
    "RelatedPerson": "rus . . rs . .",
    "Observation": "crus . . . . .",
    "Condition": "crus . . . . .",
    "Encounter": "crus crs rs rs . .",
    "Procedure": "crus . . rs . .",
    "ServiceRequest": "crus . . rs . .",
    "Appointment": "rus crus . rs . .",
    "Schedule": "rus rs . crus . .",
    "Slot": "rs rs . crus . .",
    "Coverage": ". crus rus rs . .",
    "Claim": "rs . crus rs . .",
    "Invoice": ". . crus rs . .",
    "Consent": ". . . rs . .",
    "Communication": ". . . rs . .",
    "Practitioner": "rs rs rs crus . crus",
    "Organization": "rs rs rs crus . crus",
    "ValueSet": "rs rs rs rs . crus",
    "Task": ". . . . . .",
    "Group": ". . . . . .",
    "AuditEvent": ". . . . rs .",
    "Provenance": ". . . . rs .",
}
CALLS = {"c": "POST", "r": "GET", "u": "PUT", "d": "DELETE", "s": "SEARCH"}


def is_open(client: Fhir, type: str, letter: str) -> bool:
    """Whether the scopes and the role open an interaction: all that is decided before the database is asked."""
    body = {"resourceType": type, "id": "absent"}
    match CALLS[letter]:
        case "POST":
            answer = client.post(f"/{type}", json=body)
        case "PUT":
            answer = client.put(f"/{type}/absent", json=body)
        case "SEARCH":
            answer = client.get(f"/{type}?_summary=count")
        case method:
            answer = client.request(method, f"/{type}/absent")
    if answer.status_code == 403 and "outside-permission" not in answer.text:
        assert_outcome(answer, 403, "forbidden", "scope-insufficient")
        return False
    if type == "AuditEvent" and answer.status_code == 405:
        return False
    assert answer.status_code in (200, 201, 204, 403, 404, 422), answer.text
    return True


@pytest.mark.parametrize("type", TABLE)
def test_each_role_may_do_what_the_table_says(callers: Callers, type: str) -> None:
    for person, letters in zip(STAFF, TABLE[type].split(), strict=True):
        client = callers.client(person, EVERYTHING)
        assert "".join(x for x in "cruds" if is_open(client, type, x)) == letters.strip("."), (person, type)


def test_a_user_without_a_known_role_may_do_nothing(callers: Callers) -> None:
    for roles in ([], ["owner"], ["PRACTITIONER"], None):
        client = callers.client("nobody", "user/*.cruds", roles=roles)
        for url in ("/Patient", "/Practitioner", "/ValueSet", "/"):
            assert_outcome(client.get(url), 403, "forbidden", "scope-insufficient")


def test_roles_add_up_and_scopes_narrow_them(callers: Callers) -> None:
    both = callers.client("doctor", "user/*.cruds", roles=["practitioner", "reception"])
    assert both.get("/Patient/p3").status_code == 200  # reception sees all patients
    assert both.get("/Observation/lab3").status_code == 404  # the practitioner's are the linked ones
    narrow = callers.client("doctor", "user/Observation.r", roles=["practitioner", "reception"])
    assert narrow.get("/Observation/lab1").status_code == 200
    assert narrow.get("/Observation").status_code == 403
    assert narrow.get("/Patient/p1").status_code == 403


def test_a_practitioner_sees_the_patients_they_have_to_do_with(callers: Callers) -> None:
    doctor, stranger = callers.client("doctor", "user/*.rs"), callers.client("stranger", "user/*.rs")
    assert seen(doctor.get("/Patient")) == {"Patient/p1", "Patient/p4"}
    assert [e["resource"]["id"] for e in stranger.get("/Patient").json()["entry"]] == ["p2"]
    for url in (
        "/Patient/p2",
        "/Observation/lab2",
        "/Observation/lab3",
        "/Appointment/app2",
        "/Appointment/old3",
    ):
        assert_outcome(doctor.get(url), 404, "not-found", "resource-unknown")
    assert doctor.get("/Binary/bin1").status_code == 200
    assert doctor.get("/Binary/bin2").status_code == 404


def test_a_cancelled_visit_links_no_one(callers: Callers, system: Fhir) -> None:
    made = system.made(
        {"resourceType": "Appointment", "status": "cancelled", "start": "2026-11-20T10:00:00Z",
         "end": "2026-11-20T11:00:00Z",
         "participant": [{"actor": {"reference": r}, "status": "accepted"} for r in ("Patient/p1", "Practitioner/man")]}
    )  # fmt: skip
    late = callers.client("manager", "user/Patient.rs", roles=["practitioner"])
    assert seen(late.get("/Patient")) == set()
    assert system.delete(f"/Appointment/{made['id']}").status_code == 204


def test_a_practitioner_changes_the_own_schedule_only(callers: Callers, system: Fhir) -> None:
    foreign = system.made({"resourceType": "Schedule", "actor": [{"reference": "Practitioner/out"}]})
    doctor = callers.client("doctor", "user/*.cruds")
    assert_outcome(doctor.update(foreign | {"comment": "x"}), 403, "forbidden", "outside-permission")
    own = system.made({"resourceType": "Schedule", "actor": [{"reference": "Practitioner/doc"}]})
    assert doctor.update(own | {"comment": "x"}).status_code == 200
    moved = own | {"actor": [{"reference": "Practitioner/out"}]}
    assert_outcome(doctor.update(moved), 403, "forbidden", "outside-permission")
    mine = foreign | {"actor": own["actor"]}
    assert_outcome(doctor.update(mine), 404, "not-found", "resource-unknown")


def test_an_auditor_reads_the_trail_and_reaches_no_patient_through_it(callers: Callers) -> None:
    auditor = callers.client("auditor", EVERYTHING)
    answer = auditor.get("/AuditEvent?_include=AuditEvent:patient&_include=AuditEvent:agent&_include=*")
    assert answer.status_code == 200
    assert {e["resource"]["resourceType"] for e in answer.json().get("entry", [])} <= {
        "AuditEvent",
        "OperationOutcome",
    }
    for url in ("/AuditEvent?patient.name=Abreu", "/AuditEvent?agent:Practitioner.name=doc", "/Patient/p1",
                "/Patient?_has:AuditEvent:patient:action=R", "/Provenance?patient.name=Abreu"):  # fmt: skip
        assert_outcome(auditor.get(url), 403, "forbidden", "scope-insufficient")
    for body in (observation("x", "p1"), patient("x", "New", "1"), {"resourceType": "Provenance"}):
        assert_outcome(auditor.create(body), 403, "forbidden", "scope-insufficient")


@pytest.mark.parametrize(
    ("person", "scope", "more"),
    [
        ("doctor", "user/*.cruds", {}), ("admin", "user/*.cruds", {}), ("reception", "user/*.cruds", {}),
        ("auditor", "user/*.rs", {}), ("ana", "user/*.rs", {}), ("ana", "patient/*.rs", {"patient": "p1"}),
        ("system", "system/*.cruds", {}), ("doctor", "user/AuditEvent.rs", {}), ("admin", "user/AuditEvent.rs", {}),
        ("manager", "user/AuditEvent.rs", {}),
    ],
)  # fmt: skip
def test_wildcards_and_other_roles_never_reach_the_audit_trail(
    callers: Callers, person: str, scope: str, more: dict[str, str]
) -> None:
    client = callers.client(person, scope, **more)
    for url in ("/AuditEvent", "/AuditEvent/x", "/AuditEvent/_history"):
        assert_outcome(client.get(url), 403, "forbidden", "scope-insufficient")
    assert client.get("/?_type=AuditEvent").status_code == 403


def test_a_patient_reads_the_own_part_of_the_trail_where_it_is_named(callers: Callers) -> None:
    ana = callers.client("ana", "patient/AuditEvent.rs", patient="p1")
    answer = ana.get("/AuditEvent")
    assert answer.status_code == 200
    assert all("Patient/p1" in str(e["resource"]) for e in answer.json().get("entry", []))


@pytest.mark.parametrize("person", [*STAFF, "ana", "system"])
def test_nobody_changes_the_audit_trail(callers: Callers, person: str) -> None:
    scope = "system/*.cruds system/AuditEvent.cruds" if person == "system" else EVERYTHING
    client = callers.client(person, scope)
    body = {"resourceType": "AuditEvent", "id": "x"}
    patching = {"content-type": "application/json-patch+json"}
    for answer in (
        client.put("/AuditEvent/x", json=body),
        client.put("/AuditEvent?action=R", json=body),
        client.patch("/AuditEvent/x", content=b"[]", headers=patching),
        client.delete("/AuditEvent/x"),
        client.delete("/AuditEvent?action=R"),
        client.bundle("transaction", entry("DELETE", "AuditEvent/x")),
        client.bundle("transaction", entry("PUT", "AuditEvent/x", body)),
        client.post("/AuditEvent/x/$meta-add", json={"resourceType": "Parameters"}),
    ):
        assert answer.status_code in (403, 405), answer.text
    batch = client.bundle("batch", entry("DELETE", "AuditEvent/x"), entry("PUT", "AuditEvent/x", body))
    assert {e["response"]["status"][:3] for e in batch.json()["entry"]} <= {"403", "405"}


def test_paths_of_operators_are_no_ones_over_http(callers: Callers) -> None:
    for person in ("doctor", "admin", "ana"):
        client = callers.client(person, EVERYTHING)
        for url in ("/$export", "/$expunge", "/$reindex", "/admin", "/debug", "/Patient/$export"):
            assert client.get(url).status_code in (403, 404)


def test_reception_and_billing_see_no_clinical_data(callers: Callers) -> None:
    for person in ("reception", "billing"):
        client = callers.client(person, EVERYTHING)
        for type in ("Observation", "Condition", "DiagnosticReport", "DocumentReference"):
            assert_outcome(client.get(f"/{type}"), 403, "forbidden", "scope-insufficient")
        assert client.create(condition("x", "p1")).status_code == 403
    reception = callers.client("reception", EVERYTHING)
    assert "Observation" not in reception.get("/Patient?_id=p1&_revinclude=Observation:patient").text.replace(
        "Observation%3Apatient", ""
    ).replace("Observation:patient", "")
    assert_outcome(
        reception.get("/Patient?_has:Condition:patient:code=86406008"), 403, "forbidden", "scope-insufficient"
    )


def test_a_binary_is_written_and_read_where_its_context_is_seen(callers: Callers) -> None:
    doctor = callers.client("doctor", "user/*.cruds")
    body = {"resourceType": "Binary", "contentType": "text/plain", "data": "b3du"}
    for context in ({}, {"reference": "DocumentReference/doc2"}, {"reference": "Binary/bin2"},
                    {"reference": "DocumentReference/absent"}, {"reference": "Task/task1"}):  # fmt: skip
        refused = doctor.create(body | ({"securityContext": context} if context else {}))
        assert_outcome(refused, 403, "forbidden", "outside-permission")
    made = doctor.create(body | {"securityContext": {"reference": "DocumentReference/doc1"}})
    assert made.status_code == 201
    url = f"/Binary/{made.json()['id']}"
    assert doctor.get(url).status_code == 200
    assert doctor.get(url, headers={"accept": "text/plain"}).content == b"own"
    moved = made.json() | {"securityContext": {"reference": "DocumentReference/doc2"}}
    assert_outcome(doctor.update(moved), 403, "forbidden", "outside-permission")
    stranger = callers.client("stranger", "user/*.cruds")
    for headers in ({}, {"accept": "text/plain"}):
        assert stranger.get(url, headers=headers).status_code == 404
    assert_outcome(doctor.get("/Binary"), 403, "forbidden", "scope-insufficient")


def test_the_trail_is_whole_for_an_auditor_and_closed_to_everyone_else(callers: Callers) -> None:
    """Neither labels nor consents narrow it, which the reports rely on."""
    assert (
        callers.client("auditor", EVERYTHING).get("/AuditEvent/$report").status_code == 400
    )  # names no report
    for person, scope, more in (
        ("doctor", EVERYTHING, {}), ("manager", EVERYTHING, {}), ("admin", EVERYTHING, {}),
        ("ana", "patient/AuditEvent.rs", {"patient": "p1"}), ("ana", "user/AuditEvent.rs", {}),
    ):  # fmt: skip
        client = callers.client(person, scope, **more)
        assert client.get("/AuditEvent/$report?kind=denied").status_code == 403, person
