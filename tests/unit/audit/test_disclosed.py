"""Disclosures: audit.md 3.4 (PrivacyDisclosure.Source), 3.5 (bulk), and what the reports make of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest

from fhirserver.audit.disclosed import AT_ONCE, Disclosure, Disclosures, File, counted
from fhirserver.audit.disclosure.facts import Fact, fact_of
from fhirserver.audit.event import Event
from fhirserver.audit.ledger import canonical
from tests.kit.audit import BASE, NOW, RECORD, a_builder, audit_indexer, patients, subtypes, validator

PROFILE = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.PrivacyDisclosure.Source"
TO_INSURER = Disclosure("disclosure-1", "Organization/12", "https://insurer.example/fhir", "HPAYMT", RECORD)
FILES = [
    File("Patient.ndjson", "Patient", 2, "0" * 64),
    File("Observation.ndjson", "Observation", 5, "1" * 64),
]


class Kept:
    """Takes events as the Recorder does, and remembers how many at a time."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.sizes: list[int] = []

    async def record(self, events: list[Event]) -> None:
        self.events += events
        self.sizes.append(len(events))


def told(disclosure: Disclosure, **counts: dict[str, int]) -> Kept:
    """The events of a whole disclosure: begin, patients (id -> counts), files."""
    kept = Kept()
    disclosures = Disclosures(a_builder(), kept, lambda: NOW)  # type: ignore[arg-type]

    async def tell() -> None:
        await disclosures.begin(disclosure)
        await disclosures.of_patients(disclosure, {id: counted(given) for id, given in counts.items()})
        await disclosures.of_files(disclosure, FILES)

    asyncio.run(tell())
    return kept


def resources(kept: Kept) -> list[dict[str, Any]]:
    return [orjson.loads(event.raw) for event in kept.events]


def by_type(event: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {coding["code"]: agent for agent in event["agent"] for coding in agent["type"]["coding"]}


@pytest.mark.parametrize("record", [RECORD, {"n": "command line"}], ids=["user", "command"])
def test_each_event_is_canonical_valid_and_indexed(record: dict[str, Any]) -> None:
    for event in told(replace(TO_INSURER, record=record), a={"Patient": 1, "Observation": 3}).events:
        resource = orjson.loads(event.raw)
        assert event.raw == canonical(resource)
        assert validator().validate(resource, "AuditEvent") == []
        assert dict(event.ix) == audit_indexer().index("AuditEvent", resource).ix


def test_the_event_of_a_patient_fulfils_what_its_profile_asks() -> None:
    """IHE.BasicAudit.PrivacyDisclosure.Source, element by element."""
    _, event, _ = resources(told(TO_INSURER, a={"Observation": 3}))
    assert event["meta"]["profile"] == [PROFILE]
    assert (event["type"]["code"], subtypes(event), event["action"]) == ("110106", ["disclose"], "R")
    assert event["subtype"][0]["system"] == "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
    assert event["purposeOfEvent"][0]["coding"][0]["code"] == "HPAYMT"
    agents = by_type(event)
    source, recipient = agents["110153"], agents["110152"]
    assert source["who"] == event["source"]["observer"]
    assert source["network"] == {"address": BASE, "type": "5"}
    assert recipient["who"] == {"reference": "Organization/12"}
    assert recipient["network"] == {"address": "https://insurer.example/fhir", "type": "5"}
    assert agents["IRCP"]["who"]["reference"] == "Practitioner/42"
    assert patients(event) == ["a"]
    assert len(event["entity"]) >= 2


def test_begin_and_files_name_no_patient_and_claim_no_profile() -> None:
    begin, _, files = resources(told(TO_INSURER, a={"Observation": 3}))
    for event in (begin, files):
        assert patients(event) == []
        assert "profile" not in event["meta"]
    assert [entity["what"]["identifier"]["value"] for entity in files["entity"]] == [
        "Patient.ndjson", "Observation.ndjson", "disclosure-1",
    ]  # fmt: skip
    assert {"type": "count", "valueString": "5"} in files["entity"][1]["detail"]


@pytest.mark.parametrize(
    ("address", "type"),
    [
        ("https://insurer.example/fhir", "5"),
        ("file://machine/backup", "5"),
        ("203.0.113.9", "2"),
        ("2001:db8::1", "2"),
        ("backup.clinic.example", "1"),
    ],
)
def test_an_address_is_a_uri_an_ip_address_or_a_machine(address: str, type: str) -> None:
    _, event, _ = resources(told(replace(TO_INSURER, address=address), a={"Observation": 1}))
    assert by_type(event)["110152"]["network"] == {"address": address, "type": type}


@pytest.mark.parametrize("name", ["Unimed", "Clinic/of nobody", "ana@backup"])
def test_a_recipient_without_a_record_here_goes_by_name(name: str) -> None:
    _, event, _ = resources(told(replace(TO_INSURER, recipient=name), a={"Observation": 1}))
    assert by_type(event)["110152"]["who"] == {"identifier": {"value": name}}
    assert fact_of(event).recipient == name


def test_the_facts_of_a_disclosure_count_what_was_given() -> None:
    begin, patient, files = map(fact_of, resources(told(TO_INSURER, a={"Patient": 1, "Observation": 3})))
    assert [fact.disclosed for fact in (begin, patient, files)] == [False, True, True]
    assert (patient.recipient, patient.sent_to) == ("Organization/12", "https://insurer.example/fhir")
    assert (patient.types, patient.records) == (("Observation", "Patient"), 4)
    assert (files.types, files.records) == (("Patient", "Observation"), 7)
    assert (patient.user, patient.client, patient.address) == ("Practitioner/42", "agenda-web", "203.0.113.9")


def test_many_patients_are_recorded_in_parts() -> None:
    kept = told(TO_INSURER, **{f"p{n}": {"Patient": 1} for n in range(AT_ONCE + 1)})
    assert kept.sizes == [1, AT_ONCE, 1, 1]


def test_an_export_of_another_system_counts_as_a_disclosure() -> None:
    assert Fact("e", fact_of(resources(told(TO_INSURER))[0]).at, "110106", "", "0").disclosed
