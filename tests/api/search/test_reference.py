"""Reference parameters, canonical ones included. hl7.org/fhir/R4/search.html#reference, references.html#canonical."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.catalogue import Catalogue
from tests.kit.client import Fhir

PLAN = "https://fhirserver.example/test/PlanDefinition/ref"


def about(id: str, subject: Any) -> dict[str, Any]:
    subject = {"reference": subject} if isinstance(subject, str) else subject
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"text": "x"},
        "subject": subject,
    }


def care(id: str, canonical: str) -> dict[str, Any]:
    return {"resourceType": "CarePlan", "id": id, "status": "active", "intent": "plan",
            "subject": {"reference": "Patient/@a"}, "instantiatesCanonical": [canonical]}  # fmt: skip


@pytest.fixture(scope="module")
def refs(fhir: Fhir) -> Catalogue:
    base = str(fhir.base_url).rstrip("/")
    return Catalogue(
        fhir, "ref",
        {"resourceType": "Patient", "id": "a"}, {"resourceType": "Patient", "id": "b"},
        {"resourceType": "Group", "id": "a", "type": "person", "actual": True},
        about("relative", "Patient/@a"), about("absolute", f"{base}/Patient/@a"),
        about("versioned", "Patient/@a/_history/1"), about("group", "Group/@a"), about("other", "Patient/@b"),
        about("foreign", "https://far.example/fhir/Patient/@a"),
        about("logical", {"identifier": {"system": "urn:cpf", "value": "1"}, "type": "Patient"}),
        care("latest", PLAN), care("pinned", f"{PLAN}|2.1"), care("elder", f"{PLAN}|1.0"),
        {"resourceType": "Location", "id": "site", "name": "s"},
        {"resourceType": "Location", "id": "room", "name": "r", "partOf": {"reference": "Location/@site"}},
        {"resourceType": "Location", "id": "bed", "name": "b", "partOf": {"reference": "Location/@room"}},
    )  # fmt: skip


@pytest.mark.verifies("search-reference-1")
@pytest.mark.parametrize(
    ("type", "parameter", "modifier", "value", "matches"),
    [
        ("Observation", "subject", "", "Patient/@a", "absolute relative versioned"),
        ("Observation", "subject", "", "@a", "absolute group relative versioned"),
        ("Observation", "subject", "", "BASE/Patient/@a", "absolute relative versioned"),
        ("Observation", "subject", "", "https://far.example/fhir/Patient/@a", "foreign"),
        ("Observation", "subject", "", "Patient/@a,Patient/@b", "absolute other relative versioned"),
        ("Observation", "subject", "", "Patient/@nobody", ""),
        ("Observation", "subject", ":Patient", "@a", "absolute relative versioned"),
        ("Observation", "subject", ":Group", "@a", "group"),
        ("Observation", "patient", "", "@a", "absolute relative versioned"),
        ("Observation", "patient", "", "Patient/@b", "other"),
        ("Observation", "subject", ":identifier", "urn:cpf|1", "logical"),
        ("Observation", "subject", ":identifier", "urn:cpf|2", ""),
        ("Observation", "subject", ":missing", "true", ""),
        ("Observation", "encounter", ":missing", "true", "absolute foreign group logical other relative versioned"),
        ("CarePlan", "instantiates-canonical", "", PLAN, "elder latest pinned"),
        ("CarePlan", "instantiates-canonical", "", f"{PLAN}|2.1", "pinned"),
        ("CarePlan", "instantiates-canonical", "", f"{PLAN}|3", ""),
        ("CarePlan", "instantiates-canonical", ":below", f"{PLAN}|2", "pinned"),
        ("Location", "partof", "", "Location/@site", "room"),
        ("Location", "partof", ":below", "Location/@site", "bed room"),
    ],
)  # fmt: skip
def test_a_reference_matches(
    refs: Catalogue, type: str, parameter: str, modifier: str, value: str, matches: str
) -> None:
    value = value.replace("BASE", str(refs.fhir.base_url).rstrip("/"))
    assert refs.found(type, (parameter + modifier, value)) == matches


@pytest.mark.parametrize(
    ("parameter", "modifier", "value", "code"),
    [
        ("subject", ":Practitioner", "a", "modifier-unknown"),
        ("subject", "", "Nonsense/a", "search-value-reference"),
        ("subject", "", '{"$gt": ""}', "search-value-reference"),
        ("subject", ":Patient", "Group/a", "search-value-reference-type"),
        ("subject", ":exact", "a", "modifier-unknown"),
        ("subject", ":below", "Patient/a", "modifier-not-supported"),
    ],
)
def test_a_reference_is_refused(
    refs: Catalogue, parameter: str, modifier: str, value: str, code: str
) -> None:
    assert refs.refused("Observation", (parameter + modifier, value)) == code
