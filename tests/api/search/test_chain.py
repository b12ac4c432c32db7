"""Chains and _has, nested too. hl7.org/fhir/R4/search.html#chaining, #has."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.catalogue import Catalogue
from tests.kit.client import Fhir


def about(id: str, patient: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id, "status": "final",
            "code": {"coding": [{"code": id}]}, "subject": {"reference": f"Patient/@{patient}"}} | more  # fmt: skip


def visit(id: str, patient: str, status: str, place: str) -> dict[str, Any]:
    return {"resourceType": "Encounter", "id": id, "status": status, "class": {"code": "AMB"},
            "subject": {"reference": f"Patient/@{patient}"},
            "location": [{"location": {"reference": f"Location/@{place}"}}]}  # fmt: skip


@pytest.fixture(scope="module")
def record(fhir: Fhir) -> Catalogue:
    return Catalogue(
        fhir, "chain",
        {"resourceType": "Organization", "id": "norte", "name": "Clínica Norte"},
        {"resourceType": "Organization", "id": "sul", "name": "Clínica Sul", "partOf": {"reference": "Organization/@norte"}},
        {"resourceType": "Practitioner", "id": "dra", "name": [{"family": "Prado"}]},
        {"resourceType": "Patient", "id": "ana", "gender": "female", "name": [{"family": "Alves"}],
         "managingOrganization": {"reference": "Organization/@sul"},
         "generalPractitioner": [{"reference": "Practitioner/@dra"}]},
        {"resourceType": "Patient", "id": "rui", "gender": "male", "name": [{"family": "Reis"}],
         "managingOrganization": {"reference": "Organization/@norte"}},
        {"resourceType": "Location", "id": "room", "name": "Sala 1"}, {"resourceType": "Location", "id": "hall", "name": "Saguão"},
        about("weight", "ana"), about("height", "ana", encounter={"reference": "Encounter/@e1"}), about("pulse", "rui"),
        visit("e1", "ana", "finished", "room"), visit("e2", "rui", "planned", "hall"),
    )  # fmt: skip


@pytest.mark.verifies("search-chain-1", "search-has-1")
@pytest.mark.parametrize(
    ("type", "parameter", "value", "matches"),
    [
        ("Observation", "patient.name", "alves", "height weight"),
        ("Observation", "subject:Patient.name", "alves", "height weight"),
        ("Observation", "subject:Patient.family:exact", "alves", ""),
        ("Observation", "patient.gender:not", "female", "pulse"),
        ("Observation", "patient.name", "alves,reis", "height pulse weight"),
        ("Observation", "patient.organization.name", "clinica sul", "height weight"),
        ("Observation", "patient.organization.partof.name", "clinica norte", "height weight"),
        ("Observation", "patient._id", "@rui", "pulse"),
        ("Observation", "patient.general-practitioner:Practitioner.name", "prado", "height weight"),
        ("Observation", "encounter.location.name", "sala", "height"),
        ("Observation", "patient.name", "nobody", ""),
        ("Patient", "_has:Observation:patient:code", "pulse", "rui"),
        ("Patient", "_has:Observation:patient:code", "pulse,weight", "ana rui"),
        ("Patient", "_has:Encounter:patient:status", "planned", "rui"),
        ("Patient", "_has:Encounter:patient:location.name", "sala", "ana"),
        ("Patient", "_has:Observation:patient:code:not", "pulse", "ana"),
        ("Organization", "_has:Patient:organization:_has:Encounter:patient:status", "planned", "norte"),
        ("Organization", "_has:Patient:organization:gender", "female", "sul"),
        ("Observation", "patient._has:Encounter:patient:status", "planned", "pulse"),
        ("Practitioner", "_has:Patient:general-practitioner:name", "alves", "dra"),
    ],
)
def test_a_chain_matches(record: Catalogue, type: str, parameter: str, value: str, matches: str) -> None:
    assert record.found(type, (parameter, value)) == matches


def test_two_chains_need_not_meet_in_one_resource(record: Catalogue) -> None:
    both = [("_has:Observation:patient:code", "weight"), ("_has:Observation:patient:code", "height")]
    assert record.found("Patient", *both) == "ana"
    assert record.found("Patient", both[0], ("_has:Observation:patient:code", "pulse")) == ""


@pytest.mark.parametrize(
    ("type", "parameter", "value", "code"),
    [
        ("Observation", "status.name", "x", "chain-not-reference"),
        ("Observation", "patient.nonsense", "x", "parameter-unknown"),
        ("Observation", "subject:Medication.code", "x", "chain-target-unknown"),
        ("Observation", "patient.organization.partof.partof.name", "x", "chain-too-deep"),
        ("Patient", "_has:Observation:patient", "x", "has-malformed"),
        ("Patient", "_has:Nonsense:patient:code", "x", "has-type-unknown"),
        ("Patient", "_has:Observation:code:code", "x", "has-not-reference"),
        ("Practitioner", "_has:Observation:patient:code", "x", "has-not-reference"),
    ],
)
def test_a_chain_is_refused(record: Catalogue, type: str, parameter: str, value: str, code: str) -> None:
    assert record.refused(type, (parameter, value)) == code
