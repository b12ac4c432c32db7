"""What happened at the visits: encounters, problems, measurements, prescriptions, vaccines, notes."""

from __future__ import annotations

import base64
import datetime as dt
from dataclasses import dataclass, field

from fhirserver.cli.demo import tables
from fhirserver.cli.demo.agenda import STEP, Visit
from fhirserver.cli.demo.clinic import Clinic
from fhirserver.cli.demo.people import Person
from fhirserver.cli.demo.record import HL7, ICD10, LOINC, Json, Record, at, code, concept, quantity, ref

_VITALS = (
    # LOINC, name, unit, UCUM
    ("8867-4", "Frequência cardíaca", "/min", "/min"),
    ("9279-1", "Frequência respiratória", "/min", "/min"),
    ("8310-5", "Temperatura corporal", "°C", "Cel"),
    ("2708-6", "Saturação de oxigênio", "%", "%"),
    ("29463-7", "Peso", "kg", "kg"),
    ("8302-2", "Altura", "cm", "cm"),
    ("39156-5", "Índice de massa corporal", "kg/m²", "kg/m2"),
)


@dataclass(slots=True)
class Care:
    """A visit with its Encounter. `labs`: the rows of tables.LABS that were ordered and done."""

    visit: Visit
    encounter: Json
    labs: list[tuple[object, ...]] = field(default_factory=list)


@dataclass(slots=True)
class _Body:
    """A person's lasting measures, so that visits agree with each other."""

    height: float
    weight: float
    systolic: float
    problems: dict[str, Json] = field(default_factory=dict)


def build_care(record: Record, clinic: Clinic, visits: list[Visit]) -> list[Care]:
    """Adds all clinical resources; returns the visits with their encounters, oldest first."""
    bodies: dict[str, _Body] = {}
    done = []
    for visit in visits:
        person = visit.person
        body = bodies.get(person.patient["id"])
        if body is None:
            body = bodies[person.patient["id"]] = _body(record, person, visit.day)
            _background(record, visit)
        done.append(_visit(record, clinic, visit, body))
    return done


def _body(record: Record, person: Person, day: dt.date) -> _Body:
    age = person.age(day)
    adult = 172.0 if person.patient["gender"] == "male" else 160.0
    height = record.chance.gauss(adult, 6) if age > 17 else 52 + (adult - 52) * min(1.0, (age + 0.5) / 17)
    index = record.chance.gauss(26.5, 4) if age > 17 else record.chance.gauss(17.5, 1.5)
    systolic = record.chance.gauss(104 + min(age, 70) * 0.4, 9)
    return _Body(round(height), max(13.5, index) * (height / 100) ** 2, systolic)


def _visit(record: Record, clinic: Clinic, visit: Visit, body: _Body) -> Care:
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
        _vitals(record, care, body, subject, doctor, begin)
    if record.chance.random() < 0.32 and visit.professional.specialty not in {"Psicologia", "Dermatologia"}:
        _laboratory(record, clinic, care, subject, doctor, begin)
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


def _observation(
    care: Care, category: str, code_: Json, subject: Json, doctor: Json, when: str, **more: object
) -> Json:
    return {
        "status": "final",
        "category": [code(f"{HL7}/observation-category", category)],
        "code": code_,
        "subject": subject,
        "encounter": ref(care.encounter),
        "effectiveDateTime": when,
        "issued": when,
        "performer": [doctor],
        **more,
    }


def _vitals(record: Record, care: Care, body: _Body, subject: Json, doctor: Json, begin: int) -> None:
    when, chance = at(care.visit.day, begin + 2), record.chance
    systolic = round(chance.gauss(body.systolic, 5))
    diastolic = round(systolic * 0.62 + chance.gauss(0, 4))
    parts = (("8480-6", "Pressão sistólica", systolic), ("8462-4", "Pressão diastólica", diastolic))
    record.add(
        "Observation",
        "sinal",
        _observation(
            care,
            "vital-signs",
            concept(LOINC, "85354-9", "Pressão arterial"),
            subject,
            doctor,
            when,
            component=[
                {"code": concept(LOINC, number, name), "valueQuantity": quantity(value, "mmHg", "mm[Hg]")}
                for number, name, value in parts
            ],
        ),
    )
    body.weight *= chance.uniform(0.99, 1.01)
    weight = round(body.weight, 1)
    values = (
        round(chance.gauss(74, 9)),
        round(chance.gauss(16, 2)),
        round(chance.gauss(36.5, 0.3), 1),
        min(100, round(chance.gauss(97.5, 1))),
        weight,
        body.height,
        round(weight / (body.height / 100) ** 2, 1),
    )
    for (number, name, unit, ucum), value in zip(_VITALS, values, strict=True):
        record.add(
            "Observation",
            "sinal",
            _observation(
                care,
                "vital-signs",
                concept(LOINC, number, name),
                subject,
                doctor,
                when,
                valueQuantity=quantity(value, unit, ucum),
            ),
        )


def _laboratory(record: Record, clinic: Clinic, care: Care, subject: Json, doctor: Json, begin: int) -> None:
    day = min(care.visit.day + dt.timedelta(days=record.chance.randint(1, 4)), record.today)
    when = at(day, begin)
    results = []
    rows = record.chance.sample(tables.LABS, record.chance.randint(4, 8))
    for row in rows:
        number, name, unit, ucum, mean, spread, places, low, high = row[:9]
        value: float = round(max(mean * 0.3, record.chance.gauss(mean, spread)), places or None)
        flag = "L" if low is not None and value < low else "H" if high is not None and value > high else "N"
        bounds = {
            side: quantity(limit, unit, ucum)
            for side, limit in (("low", low), ("high", high))
            if limit is not None
        }
        results.append(
            record.add(
                "Observation",
                "exame",
                _observation(
                    care,
                    "laboratory",
                    concept(LOINC, number, name),
                    subject,
                    doctor,
                    when,
                    valueQuantity=quantity(value, unit, ucum),
                    referenceRange=[bounds],
                    interpretation=[code(f"{HL7}/v3-ObservationInterpretation", flag)],
                ),
            )
        )
    record.add(
        "DiagnosticReport",
        "laudo",
        {
            "status": "final",
            "category": [code(f"{HL7}/v2-0074", "LAB")],
            "code": concept(LOINC, "11502-2", "Laboratory report", "Exames laboratoriais"),
            "subject": subject,
            "encounter": ref(care.encounter),
            "effectiveDateTime": when,
            "issued": when,
            "performer": [ref(clinic.units[care.visit.unit].organization)],
            "result": [ref(result) for result in results],
        },
    )
    care.labs = list(rows)


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
