"""The demo clinic: a synthetic, Brazilian, believable data set for a new server.

`build(seed, today)` is pure: the same seed and date give the same Bundles. Every resource is written
by PUT under a fixed id, so that loading again (after an interruption, say) doubles nothing. Nobody in it
exists: all CPF start with 999 and all CNS with 700, with right check digits.
"""

from __future__ import annotations

import datetime as dt

from fhirserver.cli.demo.agenda import build_agenda
from fhirserver.cli.demo.billing import build_billing, build_coverages
from fhirserver.cli.demo.care import build_care
from fhirserver.cli.demo.clinic import build_clinic
from fhirserver.cli.demo.people import build_people
from fhirserver.cli.demo.record import Json, Record

SEED = 20260101
ENTRIES = 1000


def build(seed: int, today: dt.date, *, entries: int = ENTRIES) -> list[Json]:
    """Transaction Bundles of at most `entries` entries; references never point to a later Bundle."""
    record = Record(seed, today)
    clinic = build_clinic(record)
    people = build_people(record, clinic)
    build_coverages(record, clinic, people)
    visits = build_agenda(record, clinic, people)
    care = build_care(record, clinic, visits)
    build_billing(record, clinic, care)
    return [
        _transaction(record.resources[first : first + entries])
        for first in range(0, len(record.resources), entries)
    ]


def _transaction(resources: list[Json]) -> Json:
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "resource": resource,
                "request": {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"},
            }
            for resource in resources
        ],
    }
