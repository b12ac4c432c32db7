"""The fixture of the access tests: patients p1 to p4, what is about them, and what leads from one to the other.

Everything that belongs to p2 alone carries the word SECRET, so that no answer to p1's token
may hold it. p4 is there to be written about: tests of reads look at the others.
"""

from __future__ import annotations

from typing import Any

from tests.kit.client import Fhir, entry

LOINC = "http://loinc.org"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CPF = "http://rnds.saude.gov.br/fhir/r4/NamingSystem/cpf"
SECRET = "SECRET"
Json = dict[str, Any]


def ref(target: str) -> Json:
    return {"reference": target}


def observation(id: str, who: str, category: str = "laboratory", **more: Any) -> Json:
    return {
        "resourceType": "Observation", "id": id, "status": "final", "subject": ref(f"Patient/{who}"),
        "category": [{"coding": [{"system": CATEGORY, "code": category}]}],
        "code": {"coding": [{"system": LOINC, "code": "29463-7"}], "text": SECRET if who == "p2" else "weight"},
        "effectiveDateTime": "2026-03-01",
    } | more  # fmt: skip


def condition(id: str, subject: str, *labels: tuple[str, str]) -> Json:
    meta = {"meta": {"security": [{"system": s, "code": c} for s, c in labels]}} if labels else {}
    return {
        "resourceType": "Condition", "id": id, "subject": ref(f"Patient/{subject}"), **meta,
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": "86406008"}],
                 "text": SECRET if subject == "p2" else "condition"},
    }  # fmt: skip


def patient(id: str, family: str, cpf: str, **more: Any) -> Json:
    return {
        "resourceType": "Patient", "id": id, "active": True, "name": [{"family": family}],
        "identifier": [{"system": CPF, "value": cpf}], "birthDate": "1980-01-01",
    } | more  # fmt: skip


def appointment(id: str, who: str, practitioner: str, when: str) -> Json:
    participants = [f"Patient/{who}", f"Practitioner/{practitioner}"]
    return {
        "resourceType": "Appointment", "id": id, "status": "booked", "start": f"{when}T10:00:00Z",
        "end": f"{when}T10:30:00Z", "description": SECRET if who == "p2" else "visit",
        "participant": [{"actor": ref(each), "status": "accepted"} for each in participants],
    }  # fmt: skip


def encounter(id: str, who: str) -> Json:
    return {
        "resourceType": "Encounter", "id": id, "status": "finished", "subject": ref(f"Patient/{who}"),
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "reasonCode": [{"text": SECRET if who == "p2" else "visit"}],
    }  # fmt: skip


def resources(today: str) -> list[Json]:
    """The clinic. `today`: YYYY-MM-DD, the day of the visits that link p1 to the doctor."""
    names = ("doc", "out", "rec", "bil", "man", "aud", "adm")
    return [
        patient("p1", "Abreu", "52998224725"),
        patient("p2", SECRET, "11144477735", link=[{"other": ref("Patient/p1"), "type": "seealso"}]),
        patient("p3", "Castro", "39053344705"),
        patient("p4", "Dias", "00000000191"), observation("lab4", "p4"), observation("vital4", "p4", "vital-signs"),
        appointment("app4", "p4", "doc", today),
        {"resourceType": "Organization", "id": "org", "name": "Clinic"},
        *({"resourceType": "Practitioner", "id": id, "name": [{"family": id}]} for id in names),
        {"resourceType": "RelatedPerson", "id": "r1", "patient": ref("Patient/p1")},
        {"resourceType": "PractitionerRole", "id": "docrole", "practitioner": ref("Practitioner/doc"),
         "organization": ref("Organization/org")},
        observation("lab1", "p1", performer=[ref("Practitioner/doc")]),
        observation("vital1", "p1", "vital-signs"),
        observation("lab2", "p2", performer=[ref("Practitioner/doc")]),
        observation("vital2", "p2", "vital-signs"),
        observation("focus2", "p2", focus=[ref("Patient/p1")]),
        observation("lab3", "p3"),
        encounter("enc1", "p1"), encounter("enc2", "p2"),
        appointment("app1", "p1", "doc", today), appointment("app2", "p2", "out", today),
        appointment("old3", "p3", "doc", "2015-01-01"),
        {"resourceType": "Coverage", "id": "cov1", "status": "active", "beneficiary": ref("Patient/p1"),
         "subscriber": ref("Patient/p2"), "payor": [ref("Organization/org")]},
        {"resourceType": "DiagnosticReport", "id": "rep1", "status": "final", "code": {"text": "report"},
         "subject": ref("Patient/p1"), "result": [ref("Observation/lab2"), ref("Observation/lab1")]},
        {"resourceType": "Device", "id": "dev2", "patient": ref("Patient/p2"),
         "deviceName": [{"name": SECRET, "type": "other"}]},
        {"resourceType": "Device", "id": "dev0", "deviceName": [{"name": "scales", "type": "other"}]},
        condition("con1", "p1"), condition("con2", "p2"),
        condition("hiv1", "p1", (ACT_CODE, "HIV")), condition("very1", "p1", (CONFIDENTIALITY, "V")),
        condition("restr1", "p1", (CONFIDENTIALITY, "R")), condition("normal1", "p1", (CONFIDENTIALITY, "N")),
        {"resourceType": "DocumentReference", "id": "doc1", "status": "current", "subject": ref("Patient/p1"),
         "content": [{"attachment": {"url": "Binary/bin1"}}]},
        {"resourceType": "DocumentReference", "id": "doc2", "status": "current", "subject": ref("Patient/p2"),
         "content": [{"attachment": {"url": "Binary/bin2"}}]},
        {"resourceType": "Binary", "id": "bin1", "contentType": "text/plain", "data": "b3du",
         "securityContext": ref("DocumentReference/doc1")},
        {"resourceType": "Binary", "id": "bin2", "contentType": "text/plain", "data": "U0VDUkVU",
         "securityContext": ref("DocumentReference/doc2")},
        {"resourceType": "Binary", "id": "bin0", "contentType": "text/plain", "data": "U0VDUkVU"},
        {"resourceType": "Schedule", "id": "sch0", "actor": [ref("Practitioner/doc")]},
        {"resourceType": "Schedule", "id": "sch2", "actor": [ref("Patient/p2")], "comment": SECRET},
        {"resourceType": "Slot", "id": "slotfree", "schedule": ref("Schedule/sch0"), "status": "free",
         "start": f"{today}T12:00:00Z", "end": f"{today}T12:30:00Z"},
        {"resourceType": "Slot", "id": "slotbusy", "schedule": ref("Schedule/sch0"), "status": "busy",
         "start": f"{today}T13:00:00Z", "end": f"{today}T13:30:00Z"},
        {"resourceType": "Group", "id": "grp", "type": "person", "actual": True,
         "member": [{"entity": ref("Patient/p1")}, {"entity": ref("Patient/p2")}]},
        {"resourceType": "Person", "id": "per", "link": [{"target": ref("Patient/p1")}]},
        {"resourceType": "List", "id": "list1", "status": "current", "mode": "working", "subject": ref("Patient/p1"),
         "entry": [{"item": ref("Observation/lab1")}, {"item": ref("Observation/lab2")}]},
        {"resourceType": "List", "id": "list2", "status": "current", "mode": "working", "subject": ref("Patient/p2"),
         "entry": [{"item": ref("Observation/lab1")}]},
        {"resourceType": "Task", "id": "task1", "status": "requested", "intent": "order", "for": ref("Patient/p1")},
        {"resourceType": "Claim", "id": "claim1", "status": "active", "use": "claim", "created": today,
         "type": {"text": "x"}, "patient": ref("Patient/p1"), "provider": ref("Organization/org"),
         "priority": {"text": "x"}, "insurance": [{"sequence": 1, "focal": True, "coverage": ref("Coverage/cov1")}]},
    ]  # fmt: skip


def fill(system: Fhir, today: str) -> None:
    """Store the clinic, and two Observations that have moved from one patient to the other."""
    first = [observation("was1", "p1", code={"text": "own past"}), observation("was2", "p2")]
    for batch in ([*resources(today), *first], [observation("was1", "p2"), observation("was2", "p1")]):
        entries = [entry("PUT", f"{each['resourceType']}/{each['id']}", each) for each in batch]
        done = system.bundle("transaction", *entries)
        assert done.status_code == 200, done.text
