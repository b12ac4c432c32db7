"""What the tests of masks are made with: roles, and resources with words that only their hidden elements hold.

Patient k1 has a doctor of their own (kdoc), k2 has none. CANARY is in what no mask shows; PERSON in what pseudonyms hide
beside that. Codes are in lower case, so that a token can be told from a text.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from tests.kit.client import Fhir, entry
from tests.security.clinic import CPF, Json, appointment, ref

CANARY, CODE, PERSON = "Canaryword", "canary-code", "Personword"
WHOLE_CPF, SHORT_CPF = "12345678909", "***.456.789-**"
RACE = "https://ips.saude.gov.br/fhir/StructureDefinition/raca-br-ips"
TYPES = ("Patient", "RelatedPerson", "Encounter", "Procedure", "ServiceRequest")
PSEUDONYMS = (*TYPES, "Appointment", "Coverage")
# Roles beside the default ones.
ROLES: dict[str, Json] = {
    "reviewer": {
        "all": " ".join(f"{type}.rs" for type in PSEUDONYMS) + " Claim.rs",
        "masks": dict.fromkeys(PSEUDONYMS, "pseudonymous"),
    },
    "clerk": {
        "all": "Encounter.crus Procedure.rs ServiceRequest.rs Patient.crus Claim.rs Appointment.rs",
        "masks": {
            "Encounter": "desk",
            "Procedure": "desk",
            "ServiceRequest": "desk",
            "Patient": "administrative",
        },
    },
}
# role -> the types of which it sees a part
MASKED = {
    "reception": ("Encounter",),
    "billing": ("Patient", "Encounter"),
    "manager": TYPES,
    "clerk": ("Encounter", "Procedure", "ServiceRequest", "Patient"),
    "reviewer": PSEUDONYMS,
}


def concept(word: str = CANARY) -> Json:
    return {"coding": [{"system": "http://example.org/c", "code": CODE, "display": word}], "text": word}


def person(**more: Any) -> Json:
    return {"name": [{"family": PERSON}], "telecom": [{"system": "phone", "value": PERSON}], "address": [{"city": PERSON}],
            "photo": [{"contentType": "image/png", "title": CANARY}], "communication": [{"language": concept()}],
            "text": narrative()} | more  # fmt: skip


def narrative() -> Json:
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{CANARY}</div>'}


def patient(id: str, cpf: str = WHOLE_CPF) -> Json:
    return person(
        resourceType="Patient", id=id, identifier=[{"system": CPF, "value": cpf}], maritalStatus=concept(),
        extension=[{"url": RACE, "extension": [{"url": "race", "valueCodeableConcept": concept()}]}],
        contact=[{"name": {"family": CANARY}}], generalPractitioner=[ref("#gp") | {"display": CANARY}, ref("Practitioner/kdoc")],
        contained=[{"resourceType": "Practitioner", "id": "gp", "name": [{"family": CANARY}],
                    "telecom": [{"system": "phone", "value": CANARY}]}],
        meta={"tag": [{"system": "http://example.org/c", "code": CODE}], "source": f"urn:x:{CODE}",
              "profile": [f"http://example.org/{CODE}"]},
    )  # fmt: skip


def encounter(id: str, who: str, **more: Any) -> Json:
    return {
        "resourceType": "Encounter", "id": id, "status": "finished", "subject": ref(f"Patient/{who}"),
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "period": {"start": "2026-03-01T10:00:00Z", "end": "2026-03-01T10:30:00Z"}, "reasonCode": [concept()],
        "reasonReference": [ref("Condition/kcon")], "text": narrative(),
        "diagnosis": [{"condition": ref("#con") | {"display": CANARY}}], "hospitalization": {"dietPreference": [concept()]},
        "contained": [{"resourceType": "Condition", "id": "con", "subject": ref(f"Patient/{who}"), "code": concept()}],
        "meta": {"tag": [{"system": "http://example.org/c", "code": CODE}]},
    } | more  # fmt: skip


def resources(today: str) -> list[Json]:
    about = {"subject": ref("Patient/k1"), "reasonCode": [concept()], "note": [{"text": CANARY}], "text": narrative(),
             "bodySite": [concept()]}  # fmt: skip
    shown = {"coding": [{"system": "http://example.org/c", "code": "shown"}]}
    return [
        {"resourceType": "Practitioner", "id": "kdoc"},
        patient("k1"), patient("k2", "98765432100"),
        person(resourceType="RelatedPerson", id="krel", patient=ref("Patient/k1")),
        encounter("kenc", "k1", appointment=[ref("Appointment/kapp")]), encounter("kenc2", "k2"),
        {"resourceType": "Encounter", "id": "kplain", "status": "finished", "subject": ref("Patient/k1"),
         "class": {"code": "AMB"}},
        {"resourceType": "Procedure", "id": "kpro", "status": "completed", "code": shown, "outcome": concept(),
         "performedDateTime": "2026-03-01", "encounter": ref("Encounter/kenc"), **about},
        {"resourceType": "ServiceRequest", "id": "kreq", "status": "active", "intent": "order", "code": shown,
         "patientInstruction": CANARY, "encounter": ref("Encounter/kenc"), **about},
        {"resourceType": "Condition", "id": "kcon", "subject": ref("Patient/k1"), "code": concept()},
        appointment("kapp", "k1", "kdoc", today) | {"description": PERSON, "comment": PERSON},
        {"resourceType": "Coverage", "id": "kcov", "status": "active", "beneficiary": ref("Patient/k1") | {"display": PERSON},
         "subscriberId": PERSON, "payor": [ref("Organization/org")]},
        {"resourceType": "Claim", "id": "kclaim", "status": "active", "use": "claim", "created": today, "type": {"text": "x"},
         "patient": ref("Patient/k1"), "provider": ref("Organization/org"), "priority": {"text": "x"}, "text": narrative(),
         "insurance": [{"sequence": 1, "focal": True, "coverage": ref("Coverage/kcov")}],
         "payee": {"type": {"text": "x"}, "party": ref("#kin")},
         "contained": [{"resourceType": "RelatedPerson", "id": "kin", "patient": ref("Patient/k1"),
                        "photo": [{"contentType": "image/png", "title": CANARY}]}],
         "item": [{"sequence": 1, "productOrService": {"text": "x"}, "encounter": [ref("Encounter/kenc")]}]},
    ]  # fmt: skip


def fill(system: Fhir) -> None:
    """Store them, and a second version of one."""
    today = dt.datetime.now(dt.UTC).date().isoformat()
    later = [encounter("kenc", "k1", appointment=[ref("Appointment/kapp")], priority={"text": "later"})]
    for batch in (resources(today), later):
        done = system.bundle(
            "transaction", *(entry("PUT", f"{r['resourceType']}/{r['id']}", r) for r in batch)
        )
        assert done.status_code == 200, done.text
