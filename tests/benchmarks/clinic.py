"""Generated clinics: a world of blocks, each the same mixture, all derived from one seed.

A block is one unit of a clinic with 250 patients, five practitioners and everything between them; blocks
share only the common vocabulary. A world of 16,000 patients is the world of 1,000 sixteen times with other
names, so a search for one patient, one practitioner or one rare diagnosis finds equally much at each size,
and a search for a common code finds sixteen times as much. Any block is made alone, without the others.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

Json = dict[str, Any]

PATIENTS = 250
PRACTITIONERS = 5
SLOTS = 100
MARK = "@@@@@@@@"  # replaced by eight digits wherever a written resource has to differ from the one before

RECORD = "http://example.org/prontuario"
LICENSE = "http://example.org/crm"
SERIAL = "http://example.org/serial"
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
ICD = "http://hl7.org/fhir/sid/icd-10"
TERMS = "http://terminology.hl7.org/CodeSystem"

_GIVEN = (
    "Ana Maria João José Antônio Francisca Carlos Paulo Pedro Lucas Luiz Marcos Adriana Juliana "
    "Márcia Fernanda Patrícia Aline Sandra Camila Amanda Bruna Jéssica Letícia Júlia Luciana Vanessa "
    "Mariana Gabriel Rafael Daniel Marcelo Bruno Eduardo Felipe Rodrigo Manoel Mateus André Fernando "
    "Fábio Leonardo Gustavo Guilherme"
)
_COMMON = "Silva Santos Oliveira Souza Rodrigues Ferreira Alves Pereira Lima Gomes Costa Ribeiro Martins"
_SYLLABLES = "ba be bi ca co da de fa fe ga go la le li ma me mo na ne ni pa pe ra re ri sa se ta te va"
_CITIES = "Recife Olinda Natal Fortaleza Manaus Belém Curitiba Londrina Goiânia Santos Campinas Niterói"
GIVEN, COMMON, SYLLABLES, CITIES = (words.split() for words in (_GIVEN, _COMMON, _SYLLABLES, _CITIES))
VITALS = (
    ("8867-4", "Heart rate", "/min", 72, 12, 0),
    ("29463-7", "Body weight", "kg", 71, 14, 1),
    ("8302-2", "Body height", "cm", 167, 9, 0),
    ("2339-0", "Glucose [Mass/volume] in Blood", "mg/dL", 105, 28, 2),
    ("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood", "%", 5.9, 0.9, 2),
)
BLOOD_PRESSURE, SYSTOLIC, DIASTOLIC, GLUCOSE = "85354-9", "8480-6", "8462-4", "2339-0"
DIAGNOSES = ("I10", "E11", "J45", "M54", "F41", "K21", "J06", "N39", "E78", "G43")
DRUGS = ("losartana", "metformina", "salbutamol", "dipirona", "omeprazol", "sinvastatina", "amoxicilina")
ZONE = dt.timezone(dt.timedelta(hours=-3))
FIRST_DAY = dt.datetime(2024, 1, 1, 8, tzinfo=ZONE)
DAYS = 730
SLOT_DAY = dt.datetime(2026, 2, 2, 8, tzinfo=ZONE)


def syllables(number: int, length: int) -> str:
    """`number` written in syllables, least first: a name of its own for each number."""
    out = ""
    for _ in range(length):
        number, digit = divmod(number, len(SYLLABLES))
        out += SYLLABLES[digit]
    return out


@dataclass(frozen=True, slots=True)
class Block:
    """One unit of the clinic: its resources, and the values that find them again."""

    seed: int
    number: int

    def patient(self, n: int) -> str:
        """The id of patient `n` (0 to 249)."""
        return f"p-{self.number:05d}-{n:03d}"

    def practitioner(self, k: int) -> str:
        """The id of practitioner `k` (0 to 4); it looks after the patients with n % 5 = k."""
        return f"d-{self.number:05d}-{k}"

    def schedule(self, k: int) -> str:
        """The id of the schedule of practitioner `k`."""
        return f"s-{self.number:05d}-{k}"

    def record(self, n: int) -> str:
        """The record number of patient `n`."""
        return f"{self.number * 7919 % 100000:05d}{n * 37 % 1000:03d}{self.number:04d}"

    def license(self, k: int) -> str:
        """The licence number of practitioner `k`."""
        return f"{self.number:05d}{k}"

    @property
    def family(self) -> str:
        """What the family names of this unit's patients begin with, and no others."""
        return syllables(self.number, 3).capitalize()

    @property
    def rare(self) -> str:
        """A diagnosis that occurs in this unit only, in one of 25 patients."""
        return f"Q{self.number:05d}"

    @property
    def position(self) -> tuple[float, float]:
        """Latitude and longitude; units are at least 20 km apart."""
        row, column = divmod(self.number, 40)
        return round(-5.0 - 0.25 * row, 4), round(-35.0 - 0.25 * column, 4)

    def family_of(self, n: int) -> str:
        """The family name of patient `n`; four patients share one."""
        return self.family + syllables(n // 4 * 7 % 900, 2)

    def shared(self) -> Iterator[Json]:
        """Organization, Location, practitioners with schedules and slots."""
        here = f"{self.number:05d}"
        latitude, longitude = self.position
        yield {
            "resourceType": "Organization",
            "id": f"o-{here}",
            "identifier": [{"system": SERIAL, "value": here}],
            "active": True,
            "name": f"Clínica {self.family}",
        }
        yield {
            "resourceType": "Location",
            "id": f"l-{here}",
            "status": "active",
            "name": f"Unidade {self.family}",
            "position": {"longitude": longitude, "latitude": latitude},
            "managingOrganization": {"reference": f"Organization/o-{here}"},
        }
        rng = Random(f"{self.seed}/{self.number}")
        for k in range(PRACTITIONERS):
            yield {
                "resourceType": "Practitioner",
                "id": self.practitioner(k),
                "identifier": [{"system": LICENSE, "value": self.license(k)}],
                "active": True,
                "name": [{"family": rng.choice(COMMON), "given": [rng.choice(GIVEN)]}],
                "gender": rng.choice(("female", "male")),
            }
            yield {
                "resourceType": "Schedule",
                "id": self.schedule(k),
                "active": True,
                "actor": [{"reference": f"Practitioner/{self.practitioner(k)}"}],
            }
            for slot in range(SLOTS):
                start = SLOT_DAY + dt.timedelta(days=slot // 10, minutes=30 * (slot % 10))
                yield {
                    "resourceType": "Slot",
                    "id": f"t-{here}-{k}-{slot}",
                    "schedule": {"reference": f"Schedule/{self.schedule(k)}"},
                    "status": "free" if rng.random() < 0.6 else "busy",
                    "start": start.isoformat(),
                    "end": (start + dt.timedelta(minutes=30)).isoformat(),
                }

    def record_of(self, n: int) -> list[Json]:
        """Everything about patient `n`: Patient first, then encounters, observations and the rest."""
        rng = Random(f"{self.seed}/{self.number}/{n}")
        return [self._patient(n, rng), *self._care(n, rng)]

    def _patient(self, n: int, rng: Random) -> Json:
        born = dt.date(1936, 1, 1) + dt.timedelta(days=int(rng.triangular(0, 32500, 17000)))
        patient: Json = {
            "resourceType": "Patient",
            "id": self.patient(n),
            "identifier": [{"system": RECORD, "value": self.record(n)}, {"system": SERIAL, "value": MARK}],
            "active": True,
            "name": [
                {
                    "use": "official",
                    "family": self.family_of(n),
                    "given": [rng.choice(GIVEN), rng.choice(GIVEN)],
                },
                {"use": "usual", "text": f"{rng.choice(GIVEN)} {rng.choice(COMMON)}"},
            ],
            "gender": "female" if rng.random() < 0.54 else "male",
            "birthDate": born.isoformat(),
            "address": [
                {
                    "use": "home",
                    "line": [f"Rua {rng.choice(COMMON)}, {rng.randrange(1, 2000)}"],
                    "city": rng.choice(CITIES),
                    "country": "BR",
                    "postalCode": f"{rng.randrange(10000, 99999)}-{rng.randrange(1000):03d}",
                }
            ],
            "generalPractitioner": [{"reference": f"Practitioner/{self.practitioner(n % PRACTITIONERS)}"}],
            "managingOrganization": {"reference": f"Organization/o-{self.number:05d}"},
        }
        if rng.random() < 0.8:
            patient["telecom"] = [{"system": "phone", "value": f"+55 81 9{rng.randrange(10**7, 10**8)}"}]
        return patient

    def _care(self, n: int, rng: Random) -> Iterator[Json]:
        subject = {"reference": f"Patient/{self.patient(n)}"}
        doctor = {"reference": f"Practitioner/{self.practitioner(n % PRACTITIONERS)}"}
        key = f"{self.number:05d}-{n:03d}"
        visits = []
        for i in range(2):
            start = FIRST_DAY + dt.timedelta(days=rng.randrange(DAYS), minutes=15 * rng.randrange(36))
            visits.append(start)
            yield _encounter(f"e-{key}-{i}", subject, doctor, start, rng)
        for i in range(6):
            visit = i % 2
            at = visits[visit] + dt.timedelta(minutes=rng.randrange(1, 30), seconds=rng.randrange(60))
            yield _observation(f"b-{key}-{i}", i, subject, f"Encounter/e-{key}-{visit}", at, rng)
        yield _condition(f"c-{key}", subject, self.rare if n % 25 == 0 else rng.choice(DIAGNOSES), visits[0])
        yield _appointment(f"a-{key}", subject, doctor, rng)
        yield {
            "resourceType": "MedicationRequest",
            "id": f"m-{key}",
            "status": rng.choice(("active", "active", "completed", "stopped")),
            "intent": "order",
            "medicationCodeableConcept": {"text": rng.choice(DRUGS)},
            "subject": subject,
            "authoredOn": visits[1].isoformat(),
            "requester": doctor,
        }


def _encounter(id: str, subject: Json, doctor: Json, start: dt.datetime, rng: Random) -> Json:
    return {
        "resourceType": "Encounter",
        "id": id,
        "identifier": [{"system": SERIAL, "value": MARK}],
        "status": "finished" if rng.random() < 0.9 else "cancelled",
        "class": {"system": f"{TERMS}/v3-ActCode", "code": "AMB" if rng.random() < 0.85 else "EMER"},
        "subject": subject,
        "participant": [{"individual": doctor}],
        "period": {"start": start.isoformat(), "end": (start + dt.timedelta(minutes=30)).isoformat()},
    }


def _observation(id: str, i: int, subject: Json, encounter: str, at: dt.datetime, rng: Random) -> Json:
    observation: Json = {
        "resourceType": "Observation",
        "id": id,
        "identifier": [{"system": SERIAL, "value": MARK}],
        "status": "final",
        "category": [{"coding": [{"system": f"{TERMS}/observation-category", "code": "vital-signs"}]}],
        "code": {},
        "subject": subject,
        "encounter": {"reference": encounter},
        "effectiveDateTime": at.isoformat(),
    }
    if i == 5:
        observation["code"] = _code(BLOOD_PRESSURE, "Blood pressure panel")
        observation["component"] = [
            {
                "code": _code(SYSTOLIC, "Systolic"),
                "valueQuantity": _quantity(rng.gauss(124, 16), 0, "mm[Hg]"),
            },
            {
                "code": _code(DIASTOLIC, "Diastolic"),
                "valueQuantity": _quantity(rng.gauss(79, 10), 0, "mm[Hg]"),
            },
        ]
        return observation
    code, display, unit, mean, spread, digits = VITALS[i]
    observation["code"] = _code(code, display)
    observation["valueQuantity"] = _quantity(max(mean / 3, rng.gauss(mean, spread)), digits, unit)
    return observation


def _code(code: str, display: str) -> Json:
    return {"coding": [{"system": LOINC, "code": code, "display": display}]}


def _quantity(value: float, digits: int, unit: str) -> Json:
    number = round(value, digits) if digits else round(value)
    return {"value": number, "unit": unit, "system": UCUM, "code": unit}


def _condition(id: str, subject: Json, code: str, at: dt.datetime) -> Json:
    return {
        "resourceType": "Condition",
        "id": id,
        "identifier": [{"system": SERIAL, "value": MARK}],
        "clinicalStatus": {"coding": [{"system": f"{TERMS}/condition-clinical", "code": "active"}]},
        "verificationStatus": {"coding": [{"system": f"{TERMS}/condition-ver-status", "code": "confirmed"}]},
        "code": {"coding": [{"system": ICD, "code": code}]},
        "subject": subject,
        "onsetDateTime": at.date().isoformat(),
    }


def _appointment(id: str, subject: Json, doctor: Json, rng: Random) -> Json:
    start = SLOT_DAY + dt.timedelta(days=rng.randrange(-60, 28), minutes=30 * rng.randrange(20))
    return {
        "resourceType": "Appointment",
        "id": id,
        "identifier": [{"system": SERIAL, "value": MARK}],
        "status": rng.choices(("booked", "fulfilled", "noshow", "cancelled"), (50, 35, 9, 6))[0],
        "start": start.isoformat(),
        "end": (start + dt.timedelta(minutes=30)).isoformat(),
        "participant": [
            {"actor": subject, "status": "accepted"},
            {"actor": doctor, "status": "accepted"},
        ],
    }


@dataclass(frozen=True, slots=True)
class World:
    """All blocks of one size. `patients`: rounded up to whole blocks."""

    seed: int
    blocks: int

    @classmethod
    def of(cls, seed: int, patients: int) -> World:
        """The world with at least `patients` patients."""
        return cls(seed, max(1, -(-patients // PATIENTS)))

    @property
    def patients(self) -> int:
        """How many patients there are."""
        return self.blocks * PATIENTS

    def block(self, number: int) -> Block:
        """Block `number`."""
        return Block(self.seed, number)

    def any_block(self, rng: Random) -> Block:
        """A block by lot."""
        return Block(self.seed, rng.randrange(self.blocks))

    def any_patient(self, rng: Random) -> str:
        """A patient id by lot."""
        return self.any_block(rng).patient(rng.randrange(PATIENTS))

    def batches(self) -> Iterator[list[Json]]:
        """All resources in groups of one transaction: a block's shared part, then five patients each."""
        for number in range(self.blocks):
            block = self.block(number)
            shared = list(block.shared())
            for at in range(0, len(shared), 100):
                yield shared[at : at + 100]
            for n in range(0, PATIENTS, 5):
                yield [resource for i in range(n, n + 5) for resource in block.record_of(i)]
