"""Token parameters never fold. hl7.org/fhir/R4/search.html#token, #modifiers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.catalogue import Catalogue
from tests.kit.client import Fhir

LOINC, SNOMED, LOCAL = "http://loinc.org", "http://snomed.info/sct", "https://fhirserver.example/test/codes"
V2 = "http://terminology.hl7.org/CodeSystem/v2-0203"


def coded(id: str, *codings: dict[str, str], **code: str) -> dict[str, Any]:
    concept = ({"coding": list(codings)} if codings else {}) | code
    return {"resourceType": "Observation", "id": id, "status": "final", "code": concept}


@pytest.fixture(scope="module")
def codes(fhir: Fhir) -> Catalogue:
    record = {"coding": [{"system": V2, "code": "MR"}], "text": "Prontuário"}
    return Catalogue(
        fhir, "tok",
        coded("weight", {"system": LOINC, "code": "29463-7", "display": "Body weight"}, {"system": SNOMED, "code": "27113001"}),
        coded("bare", {"code": "29463-7"}), coded("local", {"system": LOCAL, "code": "29463-7"}, text="Peso corporal"),
        coded("upper", {"system": LOCAL, "code": "ABC"}), coded("lower", {"system": LOCAL, "code": "abc"}),
        coded("text", text="Só palavras"),
        {"resourceType": "Patient", "id": "ana", "gender": "female", "active": True,
         "identifier": [{"system": LOCAL, "value": "7"}, {"type": record, "value": "MR-1"}],
         "telecom": [{"system": "email", "value": "ana@example.org"}, {"system": "phone", "value": "+55 11 5555"}]},
        {"resourceType": "Patient", "id": "rui", "gender": "male", "active": False,
         "identifier": [{"system": SNOMED, "value": "7"}], "deceasedBoolean": True},
        {"resourceType": "Patient", "id": "who"},
    )  # fmt: skip


@pytest.mark.verifies("search-token-1")
@pytest.mark.parametrize(
    ("type", "parameter", "modifier", "value", "matches"),
    [
        ("Observation", "code", "", "29463-7", "bare local weight"),
        ("Observation", "code", "", f"{LOINC}|29463-7", "weight"),
        ("Observation", "code", "", "|29463-7", "bare"),
        ("Observation", "code", "", f"{LOCAL}|", "local lower upper"),
        ("Observation", "code", "", "abc", "lower"),
        ("Observation", "code", "", "27113001,ABC", "upper weight"),
        ("Observation", "code", "", "29463", ""),
        ("Observation", "code", "", "29463-7*", ""),
        ("Observation", "code", ":not", "29463-7", "lower text upper"),
        ("Observation", "code", ":not", f"{LOINC}|29463-7,abc", "bare local text upper"),
        ("Observation", "code", ":text", "body", "weight"),
        ("Observation", "code", ":text", "PESO", "local"),
        ("Observation", "code", ":missing", "true", ""),
        ("Observation", "combo-code", "", f"{LOINC}|29463-7", "weight"),
        ("Patient", "gender", "", "female", "ana"),
        ("Patient", "gender", "", "http://hl7.org/fhir/administrative-gender|female", "ana"),
        ("Patient", "gender", "", "FEMALE", ""),
        ("Patient", "gender", ":not", "female", "rui who"),
        ("Patient", "gender", ":missing", "true", "who"),
        ("Patient", "active", "", "true", "ana"),
        ("Patient", "active", "", "false", "rui"),
        ("Patient", "deceased", "", "true", "rui"),
        ("Patient", "identifier", "", "7", "ana rui"),
        ("Patient", "identifier", "", f"{LOCAL}|7", "ana"),
        ("Patient", "identifier", ":of-type", f"{V2}|MR|MR-1", "ana"),
        ("Patient", "identifier", ":of-type", f"{V2}|MR|7", ""),
        ("Patient", "identifier", ":text", "prontuário", "ana"),
        ("Patient", "email", "", "ana@example.org", "ana"),
        ("Patient", "telecom", "", "+55 11 5555", "ana"),
        ("Patient", "_id", "", "@ana,@who", "ana who"),
        ("Patient", "_id", ":not", "@ana", "rui who"),
        ("Patient", "_id", "", "$ne", ""),
    ],
)
def test_a_token_matches(
    codes: Catalogue, type: str, parameter: str, modifier: str, value: str, matches: str
) -> None:
    assert codes.found(type, (parameter + modifier, value)) == matches


@pytest.mark.parametrize(
    ("parameter", "modifier", "value", "code"),
    [
        ("code", "", "a|b|c", "search-value-token"),
        ("code", "", "", "search-value-empty"),
        ("code", ":exact", "x", "modifier-unknown"),
        ("code", ":of-type", "MR|1", "search-value-token"),
        ("status", ":contains", "x", "modifier-unknown"),
    ],
)
def test_a_token_is_refused(codes: Catalogue, parameter: str, modifier: str, value: str, code: str) -> None:
    assert codes.refused("Observation", (parameter + modifier, value)) == code
