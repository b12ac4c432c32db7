"""Three hundred patients, and a parent for each child."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from fhirserver.cli.demo import tables
from fhirserver.cli.demo.clinic import Clinic
from fhirserver.cli.demo.identifiers import CNS, CPF, cns, cpf
from fhirserver.cli.demo.record import FS, HL7, Json, Record, at, code, concept, identifier, ref

PATIENTS = 300
_AGES = ((0, 12, 14), (13, 17, 5), (18, 39, 34), (40, 64, 32), (65, 92, 15))  # from, to, weight


@dataclass(slots=True)
class Person:
    """A patient. `unit`: place of the nearest unit in `Clinic.units`. `gone`: day of death."""

    patient: Json
    name: str
    birth: dt.date
    unit: int
    active: bool
    gone: dt.date | None
    guardian: Json | None = None
    coverage: Json | None = None
    insurer: int = 0

    def age(self, day: dt.date) -> int:
        """Full years on `day`."""
        return day.year - self.birth.year - ((day.month, day.day) < (self.birth.month, self.birth.day))


def build_people(record: Record, clinic: Clinic) -> list[Person]:
    """Adds Patients and RelatedPersons."""
    return [_person(record, clinic, number) for number in range(PATIENTS)]


def _full_name(record: Record, gender: str) -> tuple[list[str], str]:
    first = tables.WOMEN if gender == "female" else tables.MEN
    given = [record.chance.choice(first)]
    if record.chance.random() < 0.3:
        given.append(record.chance.choice([name for name in first if name != given[0]]))
    family = " ".join(record.chance.sample(tables.SURNAMES, record.chance.choice((1, 2, 2))))
    return given, family


def _birth(record: Record) -> dt.date:
    low, high, _ = record.chance.choices(_AGES, weights=[weight for *_, weight in _AGES])[0]
    age_in_days = record.chance.randint(low * 365 + 30, high * 365 + 364)
    return record.today - dt.timedelta(days=age_in_days)


def _address(record: Record) -> tuple[Json, str]:
    city, state, ibge, area, postal, _ = record.chance.choices(
        tables.CITIES, weights=[row[-1] for row in tables.CITIES]
    )[0]
    street = f"{record.chance.choice(tables.STREETS)}, {record.chance.randint(10, 1999)}"
    return {
        "use": "home",
        "type": "both",
        "line": [street],
        "district": record.chance.choice(tables.DISTRICTS),
        "city": city,
        "state": state,
        "postalCode": f"{postal}-{record.chance.randint(0, 899):03d}",
        "country": "BR",
        "extension": [{"url": f"{FS}/StructureDefinition/municipio-ibge", "valueCode": ibge}],
    }, area


def _person(record: Record, clinic: Clinic, number: int) -> Person:
    gender = record.chance.choice(("female", "female", "female", "male", "male"))
    given, family = _full_name(record, gender)
    birth = _birth(record)
    address, area = _address(record)
    name = " ".join([*given, family])
    unit = 1 if address["city"] in {"Campinas", "Jundiaí"} else 0
    old = (record.today - birth).days > 70 * 365
    gone = (
        record.today - dt.timedelta(days=record.chance.randint(10, 150))
        if record.chance.random() < 0.08 and old
        else None
    )
    active = gone is None and record.chance.random() > 0.04
    telecom = [
        {
            "system": "phone",
            "value": f"+55{area}9{record.chance.randint(60000000, 99999999)}",
            "use": "mobile",
        }
    ]
    if record.chance.random() < 0.7:
        telecom.append({"system": "email", "value": f"paciente{number + 1}@correio.example"})
    minor = (record.today - birth).days < 18 * 365
    patient = record.add(
        "Patient",
        "paciente",
        {
            "identifier": [
                identifier(CPF, cpf(100001 + number * 7), "TAX"),
                identifier(CNS, cns(1000000007 + number * 7919), "HC"),
            ],
            "active": active,
            "name": [{"use": "official", "text": name, "family": family, "given": given}],
            "telecom": telecom,
            "gender": gender,
            "birthDate": birth.isoformat(),
            "deceasedDateTime": at(gone, record.chance.randint(60, 1300)) if gone else None,
            "address": [address],
            "maritalStatus": code(
                f"{HL7}/v3-MaritalStatus", "S" if minor else record.chance.choice("SMMMDW")
            ),
            "communication": [
                {"language": concept("urn:ietf:bcp:47", "pt-BR", "Português (Brasil)"), "preferred": True}
            ],
            "managingOrganization": ref(clinic.units[unit].organization),
            "generalPractitioner": [ref(clinic.professionals[2 if minor else 0].practitioner)],
        },
    )
    person = Person(patient, name, birth, unit, active, gone)
    if minor:
        person.guardian = _guardian(record, patient, family, telecom)
    return person


def _guardian(record: Record, patient: Json, family: str, telecom: list[Json]) -> Json:
    mother = record.chance.random() < 0.8
    gender = "female" if mother else "male"
    given, _ = _full_name(record, gender)
    relation = ("MTH", "mother", "Mãe") if mother else ("FTH", "father", "Pai")
    return record.add(
        "RelatedPerson",
        "responsavel",
        {
            "active": True,
            "patient": ref(patient),
            "relationship": [concept(f"{HL7}/v3-RoleCode", *relation)],
            "name": [
                {"use": "official", "text": " ".join([*given, family]), "family": family, "given": given}
            ],
            "telecom": telecom[:1],
            "gender": gender,
        },
    )
