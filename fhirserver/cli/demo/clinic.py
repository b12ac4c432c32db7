"""The house itself: units, insurers, services, professionals and their schedules."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from fhirserver.cli.demo import tables
from fhirserver.cli.demo.identifiers import CNES, CNPJ, CPF, cnpj, cpf
from fhirserver.cli.demo.record import CBO, FS, HL7, Json, Record, at, concept, identifier, ref

WEEKS_AHEAD = 4
# name, street, number, district, city, state, postal code, telephone, CNES, longitude, latitude
UNITS = (
    (
        "Clínica Boa Saúde - Unidade Paulista",
        "Avenida Paulista, 999",
        "Bela Vista",
        "São Paulo",
        "SP",
        "01310-100",
        "+551139990001",
        "9990001",
        -46.6544,
        -23.5640,
    ),
    (
        "Clínica Boa Saúde - Unidade Cambuí",
        "Rua Coronel Quirino, 999",
        "Cambuí",
        "Campinas",
        "SP",
        "13025-001",
        "+551939990002",
        "9990002",
        -47.0510,
        -22.8970,
    ),
)


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit: its Organization, its Location, and its HealthcareServices by specialty."""

    organization: Json
    location: Json
    services: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Professional:
    """A professional. `schedules`: the Schedule at each unit, in the order of `Clinic.units`."""

    practitioner: Json
    name: str
    specialty: str
    price: float
    schedules: tuple[Json, ...]


@dataclass(frozen=True, slots=True)
class Clinic:
    """Everything that exists before the first patient comes. `insurers`: (Organization, number, plans)."""

    units: tuple[Unit, ...]
    professionals: tuple[Professional, ...]
    insurers: tuple[tuple[Json, str, tuple[str, ...]], ...]


def build_clinic(record: Record) -> Clinic:
    """Adds the clinic's own resources and returns them."""
    insurers = tuple(_insurer(record, place, *row) for place, row in enumerate(tables.INSURERS))
    specialties = [row[2] for row in tables.PROFESSIONALS]
    units = tuple(_unit(record, place, row, specialties) for place, row in enumerate(UNITS))
    professionals = tuple(
        _professional(record, place, row, units) for place, row in enumerate(tables.PROFESSIONALS)
    )
    return Clinic(units, professionals, insurers)


def _insurer(
    record: Record, place: int, name: str, number: str, plans: tuple[str, ...]
) -> tuple[Json, str, tuple[str, ...]]:
    body = {
        "identifier": [
            identifier(f"{FS}/sid/registro-ans", number),
            identifier(CNPJ, cnpj(99910000 + place), "TAX"),
        ],
        "active": True,
        "type": [
            concept(f"{HL7}/organization-type", "ins", "Insurance Company", "Operadora de plano de saúde")
        ],
        "name": name,
        "telecom": [{"system": "phone", "value": f"+55800999000{place + 1}", "use": "work"}],
    }
    return record.add("Organization", "operadora", body), number, plans


def _unit(record: Record, place: int, row: tuple[object, ...], specialties: list[str]) -> Unit:
    name, line, district, city, state, postal, phone, cnes, longitude, latitude = row
    address = {
        "use": "work",
        "type": "both",
        "line": [line],
        "district": district,
        "city": city,
        "state": state,
        "postalCode": postal,
        "country": "BR",
    }
    telecom = [
        {"system": "phone", "value": phone, "use": "work"},
        {"system": "email", "value": f"unidade{place + 1}@boasaude.example", "use": "work"},
    ]
    organization = record.add(
        "Organization",
        "unidade",
        {
            "identifier": [
                identifier(CNPJ, cnpj(99900000, place + 1), "TAX"),
                identifier(CNES, str(cnes), "PRN"),
            ],
            "active": True,
            "type": [concept(f"{HL7}/organization-type", "prov", "Healthcare Provider", "Clínica")],
            "name": name,
            "alias": ["Boa Saúde"],
            "telecom": telecom,
            "address": [address],
        },
    )
    location = record.add(
        "Location",
        "local",
        {
            "identifier": [identifier(CNES, str(cnes), "PRN")],
            "status": "active",
            "name": name,
            "mode": "instance",
            "telecom": telecom,
            "address": address,
            "type": [concept(f"{HL7}/v3-RoleCode", "OF", "Outpatient facility", "Ambulatório")],
            "physicalType": concept(f"{HL7}/location-physical-type", "si", "Site", "Unidade"),
            "position": {"longitude": longitude, "latitude": latitude},
            "managingOrganization": ref(organization),
            "hoursOfOperation": [
                {
                    "daysOfWeek": ["mon", "tue", "wed", "thu", "fri"],
                    "openingTime": "08:00:00",
                    "closingTime": "17:00:00",
                }
            ],
        },
    )
    services = {
        specialty: record.add(
            "HealthcareService",
            "servico",
            {
                "active": True,
                "providedBy": ref(organization),
                "location": [ref(location)],
                "specialty": [{"text": specialty}],
                "name": f"{specialty} - {city}",
                "telecom": telecom[:1],
                "appointmentRequired": specialty != "Enfermagem",
            },
        )
        for specialty in specialties
    }
    return Unit(organization, location, services)


def _professional(
    record: Record, place: int, row: tuple[str, str, str, str, str, str, str, float], units: tuple[Unit, ...]
) -> Professional:
    name, gender, specialty, cbo, council, number, kind, price = row
    *given, family = name.split()
    title = {"crm": "Dra." if gender == "female" else "Dr."}.get(council)
    council_identifier = identifier(f"https://saude.gov.br/fhir/sid/{council}-sp", number, kind or None)
    practitioner = record.add(
        "Practitioner",
        "profissional",
        {
            "identifier": [council_identifier, identifier(CPF, cpf(900001 + place), "TAX")],
            "active": True,
            "name": [
                {
                    "use": "official",
                    "text": name,
                    "family": family,
                    "given": given,
                    **({"prefix": [title]} if title else {}),
                }
            ],
            "telecom": [
                {"system": "email", "value": f"profissional{place + 1}@boasaude.example", "use": "work"}
            ],
            "gender": gender,
            "birthDate": f"{1962 + 3 * place}-{place + 1:02d}-{5 + place:02d}",
            "qualification": [
                {
                    "identifier": [council_identifier],
                    "code": {"text": f"{council.upper()}-SP {number}: {specialty}"},
                }
            ],
            "communication": [concept("urn:ietf:bcp:47", "pt-BR", "Português (Brasil)")],
        },
    )
    schedules = tuple(_role_and_schedule(record, practitioner, name, specialty, cbo, unit) for unit in units)
    return Professional(practitioner, name, specialty, price, schedules)


def _role_and_schedule(
    record: Record, practitioner: Json, name: str, specialty: str, cbo: str, unit: Unit
) -> Json:
    record.add(
        "PractitionerRole",
        "vinculo",
        {
            "active": True,
            "practitioner": ref(practitioner, name),
            "organization": ref(unit.organization),
            "code": [concept(CBO, cbo, specialty)],
            "specialty": [{"text": specialty}],
            "location": [ref(unit.location)],
            "healthcareService": [ref(unit.services[specialty])],
        },
    )
    last = record.today + dt.timedelta(weeks=WEEKS_AHEAD)
    return record.add(
        "Schedule",
        "agenda",
        {
            "active": True,
            "serviceType": [{"text": f"Consulta de {specialty.lower()}"}],
            "specialty": [{"text": specialty}],
            "actor": [ref(practitioner, name), ref(unit.location, unit.location["name"])],
            "planningHorizon": {"start": at(record.today, 0), "end": at(last, 24 * 60 - 1)},
        },
    )
