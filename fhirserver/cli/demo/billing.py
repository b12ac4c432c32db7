"""Coverages, the claims for what was done, and the insurers' answers to them."""

from __future__ import annotations

import datetime as dt

from fhirserver.cli.demo.care import Care
from fhirserver.cli.demo.clinic import Clinic
from fhirserver.cli.demo.people import Person
from fhirserver.cli.demo.record import FS, HL7, TUSS, Json, Record, at, code, concept, identifier, money, ref

VISIT = ("10101012", "Consulta em consultório (no horário normal ou preestabelecido)")
ECG = ("40101010", "ECG convencional de até 12 derivações", 45.0)


def build_coverages(record: Record, clinic: Clinic, people: list[Person]) -> None:
    """Adds a Coverage for most people; the others pay themselves."""
    for number, person in enumerate(people):
        if record.chance.random() > 0.78:
            continue
        person.insurer = record.chance.choices(range(len(clinic.insurers)), weights=(5, 3, 2))[0]
        insurer, registry, plans = clinic.insurers[person.insurer]
        plan = record.chance.choice(plans)
        card = f"{registry}{700000000 + number * 37}"
        start = record.today - dt.timedelta(days=record.chance.randint(200, 1800))
        person.coverage = record.add(
            "Coverage",
            "convenio",
            {
                "identifier": [identifier(f"{FS}/sid/carteira/{registry}", card, "MB")],
                "status": "active" if person.active else "cancelled",
                "type": concept(f"{HL7}/v3-ActCode", "EHCPOL", "extended healthcare", "Plano de saúde"),
                "subscriberId": card,
                "beneficiary": ref(person.patient, person.name),
                "relationship": code(
                    f"{HL7}/subscriber-relationship", "child" if person.guardian else "self"
                ),
                "period": {"start": start.isoformat()},
                "payor": [ref(insurer, insurer["name"])],
                "class": [
                    {"type": code(f"{HL7}/coverage-class", "plan"), "value": plan, "name": f"Plano {plan}"}
                ],
            },
        )


def build_billing(record: Record, clinic: Clinic, care: list[Care]) -> None:
    """Adds Claims for the covered visits, and ClaimResponses for those that are old enough to be answered."""
    for one in care:
        coverage = one.visit.person.coverage
        if coverage is not None:
            claim = _claim(record, clinic, one, coverage)
            if (record.today - one.visit.day).days > 25 and record.chance.random() < 0.92:
                _response(record, clinic, one, claim)


def _claim(record: Record, clinic: Clinic, care: Care, coverage: Json) -> Json:
    visit = care.visit
    services = [(*VISIT, visit.professional.price * 0.45)]
    services += [(str(row[9]), str(row[1]), float(str(row[10]))) for row in care.labs if row[10]]
    if visit.professional.specialty == "Cardiologia":
        services.append(ECG)
    items: list[Json] = [
        {
            "sequence": number,
            "careTeamSequence": [1],
            "productOrService": concept(TUSS, tuss, name),
            "servicedDate": visit.day.isoformat(),
            "quantity": {"value": 1},
            "unitPrice": money(price),
            "net": money(price),
            "encounter": [ref(care.encounter)],
        }
        for number, (tuss, name, price) in enumerate(services, 1)
    ]
    kind = "consulta" if len(items) == 1 else "sp-sadt"
    insurer = clinic.insurers[visit.person.insurer][0]
    claim = record.add(
        "Claim",
        "guia",
        {
            "status": "active",
            "type": code(f"{HL7}/claim-type", "professional"),
            "subType": code(f"{FS}/CodeSystem/tipo-guia", kind),
            "use": "claim",
            "patient": ref(visit.person.patient, visit.person.name),
            "billablePeriod": {"start": visit.day.isoformat(), "end": visit.day.isoformat()},
            "created": at(visit.day, 18 * 60),
            "insurer": ref(insurer, insurer["name"]),
            "provider": ref(clinic.units[visit.unit].organization),
            "priority": code(f"{HL7}/processpriority", "normal"),
            "careTeam": [
                {"sequence": 1, "provider": ref(visit.professional.practitioner), "responsible": True}
            ],
            "insurance": [{"sequence": 1, "focal": True, "coverage": ref(coverage)}],
            "item": items,
            "total": money(sum(item["net"]["value"] for item in items)),
        },
    )
    claim["identifier"] = [
        identifier(f"{FS}/sid/guia-prestador", claim["id"].removeprefix("demo-guia-").zfill(8))
    ]
    return claim


def _response(record: Record, clinic: Clinic, care: Care, claim: Json) -> None:
    paid, answers = 0.0, []
    for item in claim["item"]:
        asked = item["net"]["value"]
        denied = item["sequence"] > 1 and record.chance.random() < 0.08
        granted = 0.0 if denied else asked
        paid += granted
        answer: Json = {
            "itemSequence": item["sequence"],
            "adjudication": [
                {"category": code(f"{HL7}/adjudication", "submitted"), "amount": money(asked)},
                {"category": code(f"{HL7}/adjudication", "benefit"), "amount": money(granted)},
            ],
        }
        if denied:
            answer["adjudication"][1]["reason"] = {"text": "Procedimento não autorizado"}
        answers.append(answer)
    answered = min(care.visit.day + dt.timedelta(days=record.chance.randint(10, 25)), record.today)
    full = paid == sum(item["net"]["value"] for item in claim["item"])
    record.add(
        "ClaimResponse",
        "retorno",
        {
            "status": "active",
            "type": claim["type"],
            "use": "claim",
            "patient": claim["patient"],
            "created": at(answered, 11 * 60),
            "insurer": claim["insurer"],
            "requestor": claim["provider"],
            "request": ref(claim),
            "outcome": "complete" if full else "partial",
            "disposition": "Pago integralmente" if full else "Pago com glosa",
            "item": answers,
            "total": [
                {"category": code(f"{HL7}/adjudication", "submitted"), "amount": claim["total"]},
                {"category": code(f"{HL7}/adjudication", "benefit"), "amount": money(paid)},
            ],
            "payment": {
                "type": code(f"{HL7}/ex-paymenttype", "complete" if full else "partial"),
                "date": (answered + dt.timedelta(days=5)).isoformat(),
                "amount": money(paid),
            },
        },
    )
