"""What was measured at the visits: vital signs, and the laboratory's results with their report."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fhirserver.cli.demo import tables
from fhirserver.cli.demo.clinic import Clinic
from fhirserver.cli.demo.people import Person
from fhirserver.cli.demo.record import HL7, LOINC, Json, Record, at, code, concept, quantity, ref

if TYPE_CHECKING:
    from fhirserver.cli.demo.care import Care

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
class Body:
    """A person's lasting measures, so that visits agree with each other."""

    height: float
    weight: float
    systolic: float
    problems: dict[str, Json] = field(default_factory=dict)


def body_of(record: Record, person: Person, day: dt.date) -> Body:
    """The measures of a person at the first visit."""
    age = person.age(day)
    adult = 172.0 if person.patient["gender"] == "male" else 160.0
    height = record.chance.gauss(adult, 6) if age > 17 else 52 + (adult - 52) * min(1.0, (age + 0.5) / 17)
    index = record.chance.gauss(26.5, 4) if age > 17 else record.chance.gauss(17.5, 1.5)
    systolic = record.chance.gauss(104 + min(age, 70) * 0.4, 9)
    return Body(round(height), max(13.5, index) * (height / 100) ** 2, systolic)


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


def vitals(record: Record, care: Care, body: Body, subject: Json, doctor: Json, begin: int) -> None:
    """Adds the vital signs of a visit; the weight goes on from the last one."""
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


def laboratory(record: Record, clinic: Clinic, care: Care, subject: Json, doctor: Json, begin: int) -> None:
    """Adds the results of an order and their report; notes in `care` what was done."""
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
