"""What happened at the visits: encounters, problems, prescriptions, vaccines, notes."""

from __future__ import annotations

import base64
import datetime as dt
from dataclasses import dataclass, field

from fhirserver.cli.demo import tables
from fhirserver.cli.demo.agenda import STEP, Visit
from fhirserver.cli.demo.clinic import Clinic
from fhirserver.cli.demo.measurements import Body, body_of, laboratory, vitals
from fhirserver.cli.demo.record import HL7, ICD10, LOINC, Json, Record, at, code, concept, quantity, ref


@dataclass(slots=True)
class Care:
    """A visit with its Encounter. `labs`: the rows of tables.LABS that were ordered and done."""

    visit: Visit
    encounter: Json
    labs: list[tuple[object, ...]] = field(default_factory=list)


def build_care(record: Record, clinic: Clinic, visits: list[Visit]) -> list[Care]:
    """Adds all clinical resources; returns the visits with their encounters, oldest first."""
    bodies: dict[str, Body] = {}
    done = []
    for visit in visits:
        person = visit.person
        body = bodies.get(person.patient["id"])
        if body is None:
            body = bodies[person.patient["id"]] = body_of(record, person, visit.day)
            _background(record, visit)
        done.append(_visit(record, clinic, visit, body))
    return done


def _visit(record: Record, clinic: Clinic, visit: Visit, body: Body) -> Care:
    subject, unit = ref(visit.person.patient, visit.person.name), clinic.units[visit.unit]
    doctor = ref(visit.professional.practitioner, visit.professional.name)
    fitting = [row for row in tables.CONDITIONS if visit.professional.specialty in row[3].split("|")]
    row = record.chance.choice(fitting)
    condition = body.problems.get(row[0])
    known = condition is not None
    if condition is None:
        condition = _condition(record, visit, row, subject, doctor)
        if row[2]:
            body.problems[row[0]] = condition
    begin = visit.start + record.chance.randint(0, 12)
    encounter = record.add(
        "Encounter",
        "atendimento",
        {
            "status": "finished",
            "class": {"system": f"{HL7}/v3-ActCode", "code": "AMB", "display": "ambulatory"},
            "type": [{"text": f"Consulta de {visit.professional.specialty.lower()}"}],
            "priority": code(f"{HL7}/v3-ActPriority", "R"),
            "subject": subject,
            "participant": [{"type": [code(f"{HL7}/v3-ParticipationType", "PPRF")], "individual": doctor}],
            "appointment": [ref(visit.appointment)],
            "period": {"start": at(visit.day, begin), "end": at(visit.day, begin + STEP - 5)},
            "reasonCode": [{"text": row[1]}],
            "diagnosis": [
                {
                    "condition": ref(condition),
                    "use": code(f"{HL7}/diagnosis-role", "AD" if known else "CM"),
                    "rank": 1,
                }
            ],
            "location": [{"location": ref(unit.location)}],
            "serviceProvider": ref(unit.organization),
        },
    )
    care = Care(visit, encounter)
    if visit.professional.specialty != "Psicologia":
        vitals(record, care, body, subject, doctor, begin)
    if record.chance.random() < 0.32 and visit.professional.specialty not in {"Psicologia", "Dermatologia"}:
        laboratory(record, clinic, care, subject, doctor, begin)
    if row[0] in tables.MEDICATIONS and visit.professional.specialty not in {"Psicologia", "Enfermagem"}:
        _prescription(record, care, condition, row[0], subject, doctor, begin)
    if record.chance.random() < 0.12:
        _note(record, care, row[1], subject, doctor, begin)
    return care


def _condition(
    record: Record, visit: Visit, row: tuple[str, str, bool, str], subject: Json, doctor: Json
) -> Json:
    chronic = row[2]
    over = visit.day + dt.timedelta(days=record.chance.randint(5, 20))
    resolved = not chronic and over < record.today
    return record.add(
        "Condition",
        "problema",
        {
            "clinicalStatus": code(f"{HL7}/condition-clinical", "resolved" if resolved else "active"),
            "verificationStatus": code(f"{HL7}/condition-ver-status", "confirmed"),
            "category": [
                code(f"{HL7}/condition-category", "problem-list-item" if chronic else "encounter-diagnosis")
            ],
            "code": concept(ICD10, row[0], row[1]),
            "subject": subject,
            "onsetDateTime": (visit.day - dt.timedelta(days=record.chance.randint(1, 6))).isoformat(),
            "abatementDateTime": over.isoformat() if resolved else None,
            "recordedDate": at(visit.day, visit.start + 10),
            "recorder": doctor,
        },
    )


def _prescription(
    record: Record, care: Care, condition: Json, icd: str, subject: Json, doctor: Json, begin: int
) -> None:
    atc, name, dose, times, days = tables.MEDICATIONS[icd]
    over = care.visit.day + dt.timedelta(days=days) < record.today
    record.add(
        "MedicationRequest",
        "receita",
        {
            "status": "completed" if over else "active",
            "intent": "order",
            "medicationCodeableConcept": concept("http://www.whocc.no/atc", atc, name),
            "subject": subject,
            "encounter": ref(care.encounter),
            "authoredOn": at(care.visit.day, begin + 20),
            "requester": doctor,
            "reasonReference": [ref(condition)],
            "dosageInstruction": [
                {
                    "text": f"{dose} dose(s), {times} vez(es) ao dia, por {days} dias",
                    "timing": {
                        "repeat": {
                            "boundsDuration": quantity(days, "dias", "d"),
                            "frequency": times,
                            "period": 1,
                            "periodUnit": "d",
                        }
                    },
                    "doseAndRate": [{"doseQuantity": {"value": dose, "unit": "dose"}}],
                }
            ],
        },
    )


def _note(record: Record, care: Care, problem: str, subject: Json, doctor: Json, begin: int) -> None:
    text = f"Paciente atendido(a) por {problem.lower()}. Orientações dadas; retorno se houver piora."
    record.add(
        "DocumentReference",
        "documento",
        {
            "status": "current",
            "type": concept(LOINC, "34108-1", "Outpatient Note", "Evolução ambulatorial"),
            "subject": subject,
            "date": at(care.visit.day, begin + 24),
            "author": [doctor],
            "content": [
                {
                    "attachment": {
                        "contentType": "text/plain; charset=utf-8",
                        "language": "pt-BR",
                        "title": "Evolução",
                        "data": base64.b64encode(text.encode()).decode(),
                    }
                }
            ],
            "context": {"encounter": [ref(care.encounter)]},
        },
    )


def _background(record: Record, visit: Visit) -> None:
    """What is asked at the first visit: allergies and vaccines."""
    person, subject = visit.person, ref(visit.person.patient)
    if record.chance.random() < 0.25:
        name, category, reaction = record.chance.choice(tables.ALLERGIES)
        record.add(
            "AllergyIntolerance",
            "alergia",
            {
                "clinicalStatus": code(f"{HL7}/allergyintolerance-clinical", "active"),
                "verificationStatus": code(f"{HL7}/allergyintolerance-verification", "confirmed"),
                "type": "allergy",
                "category": [category],
                "criticality": record.chance.choice(("low", "low", "high")),
                "code": {"text": name},
                "patient": subject,
                "recordedDate": visit.day.isoformat(),
                "reaction": [
                    {
                        "manifestation": [{"text": reaction}],
                        "severity": record.chance.choice(("mild", "moderate")),
                    }
                ],
            },
        )
    for cvx, name in record.chance.sample(tables.VACCINES, record.chance.randint(0, 4)):
        day = max(person.birth, visit.day - dt.timedelta(days=record.chance.randint(30, 900)))
        record.add(
            "Immunization",
            "vacina",
            {
                "status": "completed",
                "vaccineCode": concept("http://hl7.org/fhir/sid/cvx", cvx, name),
                "patient": subject,
                "occurrenceDateTime": day.isoformat(),
                "primarySource": False,
                "reportOrigin": code(f"{HL7}/immunization-origin", "record"),
                "lotNumber": f"LT{record.chance.randint(1000, 9999)}",
            },
        )
