"""A table of neighbours: one resource that is valid, and the same resource with one thing wrong."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cache
from typing import Any

from fhirserver.validation import Validator

Json = dict[str, Any]
GONE = object()
"""In a change: take the element away."""

BASES: dict[str, Json] = {
    "Patient": {
        "resourceType": "Patient",
        "id": "p",
        "name": [{"family": "Souza", "given": ["Ana", "Maria"]}],
    },
    "Observation": {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
        "subject": {"reference": "Patient/p"},
        "valueQuantity": {"value": 70, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
    },
    "Appointment": {
        "resourceType": "Appointment",
        "status": "booked",
        "start": "2026-01-05T09:00:00-03:00",
        "end": "2026-01-05T09:30:00-03:00",
        "participant": [{"actor": {"reference": "Patient/p"}, "status": "accepted"}],
    },
    "Bundle": {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {
                "fullUrl": "urn:uuid:1d6b2a5e-7a0e-4a2c-8f3e-6f1f6d1f0a01",
                "resource": {"resourceType": "Basic", "code": {"text": "x"}},
            }
        ],
    },
    "Condition": {
        "resourceType": "Condition",
        "subject": {"reference": "Patient/p"},
        "code": {"text": "asthma"},
    },
    "Binary": {"resourceType": "Binary", "contentType": "text/plain", "data": "YWJj"},
    "Questionnaire": {
        "resourceType": "Questionnaire",
        "status": "draft",
        "item": [{"linkId": "1", "type": "string"}, {"linkId": "2", "type": "string"}],
    },
    "MedicationRequest": {
        "resourceType": "MedicationRequest",
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": {"text": "dipyrone"},
        "subject": {"reference": "Patient/p"},
    },
    "Organization": {"resourceType": "Organization", "name": "Unit 1"},
    "Parameters": {"resourceType": "Parameters", "parameter": [{"name": "a", "valueInteger": 1}]},
    "ValueSet": {
        "resourceType": "ValueSet",
        "status": "draft",
        "compose": {"include": [{"system": "urn:x"}]},
    },
}


@dataclass(frozen=True)
class Case:
    """`good` and `bad`: changes of the base, path "name.0.family" -> new value (GONE removes)."""

    name: str
    base: str
    good: dict[str, Any]
    bad: dict[str, Any]
    issue: str
    code: str
    expression: str


@cache
def validator() -> Validator:
    """One compiled validator for all tests."""
    return Validator()


def changed(base: str, changes: dict[str, Any]) -> Json:
    """A copy of a base resource with changes."""
    resource = copy.deepcopy(BASES[base])
    for path, value in changes.items():
        *parents, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        place: Any = resource
        for step in parents:
            if isinstance(place, dict) and step not in place:
                place[step] = {}
            place = place[step]
        if value is GONE:
            del place[last]
        else:
            place[last] = value
    return resource
