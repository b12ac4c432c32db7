"""What tests of the audit build events with, and how they look at those that are stored."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import httpx

from fhirserver.audit.agents import Site
from fhirserver.audit.event import EventBuilder
from fhirserver.audit.parameters import PARAMETERS
from fhirserver.audit.recorded import QueryRecorder
from fhirserver.audit.rest import RestEvents
from fhirserver.context import Version
from fhirserver.r4.definitions import Definitions
from fhirserver.r4.elements import Elements
from fhirserver.search.index import Indexer
from fhirserver.validation import Validator

BASE = "https://clinic.example/fhir"
SITE = Site(BASE, "https://clinic.example", "clinic.example")
NOW = 1_772_366_400_123_000  # 2026-03-01T12:00:00.123Z
KEY = b"k" * 32
DCM = "http://dicom.nema.org/resources/ontology/DCM"
SUBTYPE = "https://fhirserver.example/CodeSystem/audit-subtype"
RECORD = {
    "k": "read", "n": "Maria", "c": "agenda-web", "u": "u-42", "f": "Practitioner/42", "l": ["practitioner"],
    "p": "urn:ietf:params:oauth:jti:9f3c1f6e", "a": "203.0.113.9", "g": "TREAT", "q": "r-0001",
    "x": "4bf92f3577b34da6a3ce929d0e0e4736",
}  # fmt: skip
_COUNTER = itertools.count(1)


@cache
def audit_indexer() -> Indexer:
    return Indexer(Definitions.load().with_parameters(PARAMETERS), "default", BASE)


@cache
def validator() -> Validator:
    return Validator(Elements.load())


def a_builder() -> EventBuilder:
    return EventBuilder(SITE, "default", audit_indexer(), lambda: f"event-{next(_COUNTER)}")


def rest_events() -> RestEvents:
    return RestEvents(a_builder(), QueryRecorder(KEY), lambda version: version.patients or ())


def a_version(reference: str = "Observation/5", vid: int = 2, *patients: str, **more: Any) -> Version:
    type, id = reference.split("/")
    return Version(type, id, vid, NOW, b"{}", patients=patients, **more)


def events_of(fhir: httpx.Client, request_id: str) -> list[dict[str, Any]]:
    """The stored events of a request, oldest first."""
    found = fhir.get(
        "/AuditEvent", params={"entity:identifier": request_id, "_count": "1000", "_sort": "date"}
    )
    assert found.status_code == 200, found.text
    return [entry["resource"] for entry in found.json().get("entry", [])]


def subtypes(event: dict[str, Any]) -> list[str]:
    return [coding["code"] for coding in event.get("subtype", [])]


def patients(event: dict[str, Any]) -> list[str]:
    """Ids of the patients that an event is about."""
    return [
        entity["what"]["reference"].removeprefix("Patient/")
        for entity in event["entity"]
        if entity.get("role", {}).get("code") == "1"
    ]


def references(event: dict[str, Any]) -> list[str]:
    """Versioned references of the resources that an event is about, without patient and outcome."""
    return [
        entity["what"]["reference"]
        for entity in event["entity"]
        if entity.get("role", {}).get("code") == "4" and "reference" in entity.get("what", {})
    ]


def an_access(user: str, patient: str, recorded: str = "2026-03-03T12:00:00Z", **more: Any) -> dict[str, Any]:
    """An AuditEvent of another system, about a read of an Observation."""
    return {
        "resourceType": "AuditEvent",
        "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"},
        "subtype": [{"system": "http://hl7.org/fhir/restful-interaction", "code": "read"}],
        "action": "R",
        "recorded": recorded,
        "outcome": "0",
        "agent": [
            {
                "type": {"coding": [{"system": DCM, "code": "110150"}]},
                "who": {"identifier": {"value": "agenda-web"}},
                "requestor": False,
                "network": {"address": "203.0.113.9", "type": "2"},
            },
            {
                "type": {
                    "coding": [
                        {
                            "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType",
                            "code": "IRCP",
                        }
                    ]
                },
                "who": {"reference": user},
                "requestor": True,
            },
        ],
        "source": {"observer": {"display": "agenda"}},
        "entity": [
            {
                "what": {"reference": "Observation/1/_history/1"},
                "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-entity-type", "code": "2"},
            },
            {
                "what": {"reference": patient},
                "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-entity-type", "code": "1"},
                "role": {"system": "http://terminology.hl7.org/CodeSystem/object-role", "code": "1"},
            },
        ],
    } | more
