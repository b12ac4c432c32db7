"""What the parts of the demo clinic share: the list of resources, chance, dates, small JSON shapes."""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from typing import Any

from fhirserver.outcome import CANONICAL

Json = dict[str, Any]

FS = f"{CANONICAL}/br"
TZ = dt.timezone(dt.timedelta(hours=-3))
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
HL7 = "http://terminology.hl7.org/CodeSystem"
TUSS = "https://terminologia.saude.gov.br/fhir/CodeSystem/BRCBHPMTUSS"
CBO = "https://terminologia.saude.gov.br/fhir/CodeSystem/BRCBO"
ICD10 = "http://hl7.org/fhir/sid/icd-10"


class Record:
    """The resources made so far, in an order in which references point backwards."""

    def __init__(self, seed: int, today: dt.date) -> None:
        self.today = today
        self.chance = random.Random(seed)  # noqa: S311 - data for show, not for secrets
        self.resources: list[Json] = []
        self._numbers: Counter[str] = Counter()

    def add(self, type: str, prefix: str, body: Json) -> Json:
        """Adds a resource of `type` with the next id `demo-<prefix>-<n>` and returns it."""
        self._numbers[prefix] += 1
        resource: Json = {"resourceType": type, "id": f"demo-{prefix}-{self._numbers[prefix]:04d}"}
        resource.update((name, value) for name, value in body.items() if value not in (None, [], {}, ""))
        self.resources.append(resource)
        return resource


def ref(resource: Json, display: str | None = None) -> Json:
    """A relative Reference to `resource`."""
    reference = {"reference": f"{resource['resourceType']}/{resource['id']}"}
    return {**reference, "display": display} if display else reference


def concept(system: str, code: str, display: str, text: str | None = None) -> Json:
    """A CodeableConcept of one coding."""
    return {"coding": [{"system": system, "code": code, "display": display}], "text": text or display}


def code(system: str, code: str) -> Json:
    """A CodeableConcept of one coding without a display, for codes that speak for themselves."""
    return {"coding": [{"system": system, "code": code}]}


def quantity(value: float, unit: str, ucum: str | None = None) -> Json:
    """A Quantity with a UCUM code."""
    return {"value": value, "unit": unit, "system": UCUM, "code": ucum or unit}


def money(value: float) -> Json:
    """An amount in BRL."""
    return {"value": round(value, 2), "currency": "BRL"}


def identifier(system: str, value: str, type: str | None = None) -> Json:
    """An official Identifier; `type`: code of v2-0203."""
    found: Json = {"use": "official", "system": system, "value": value}
    if type:
        found["type"] = code(f"{HL7}/v2-0203", type)
    return found


def at(day: dt.date, minutes: int) -> str:
    """The local date and time `minutes` after midnight of `day`, as an instant with offset."""
    return (dt.datetime.combine(day, dt.time(), TZ) + dt.timedelta(minutes=minutes)).isoformat()
