"""Token parameters. hl7.org/fhir/R4/search.html#token, #modifiers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.corpus import Corpus, refused, url_of

LOINC = "http://loinc.org"
VS = "http://hl7.org/fhir/ValueSet"
V2 = "http://terminology.hl7.org/CodeSystem/v2-0203"


def coded(id: str, *codings: tuple[str | None, str, str | None], text: str | None = None) -> dict[str, Any]:
    coding = []
    for system, code, display in codings:
        entry = (
            {"code": code}
            | ({"system": system} if system else {})
            | ({"display": display} if display else {})
        )
        coding.append(entry)
    code = ({"coding": coding} if coding else {}) | ({"text": text} if text else {})
    return {"resourceType": "Observation", "id": id, "status": "final", "code": code}


@pytest.fixture(scope="module")
def corpus(make_corpus: Any) -> Corpus:
    mr = {"coding": [{"system": V2, "code": "MR"}], "text": "Prontuário"}
    made: Corpus = make_corpus(
        coded("weight", (LOINC, "29463-7", "Body weight"), ("http://snomed.info/sct", "27113001", None)),
        coded("local", (None, "29463-7", None)),
        coded("other", ("http://other.example", "29463-7", None)),
        coded("upper", (LOINC, "ABC", None)),
        coded("lower", (LOINC, "abc", None)),
        coded("texted", text="Peso do corpo"),
        coded("odd", (None, "a|b", None), (None, "$ne", None), (None, "c,d", None)),
        {"resourceType": "Patient", "id": "m", "gender": "male", "active": True,
         "identifier": [{"system": "urn:cpf", "value": "123"}, {"type": mr, "value": "77"}]},
        {"resourceType": "Patient", "id": "f", "gender": "female", "active": False,
         "identifier": [{"system": "urn:cns", "value": "123"}],
         "telecom": [{"system": "email", "value": "ana@example.org"}]},
        {"resourceType": "Patient", "id": "n"},
    )  # fmt: skip
    return made


@pytest.mark.parametrize(
    ("type", "parameter", "value", "matches"),
    [
        ("Observation", "code", "29463-7", "local other weight"),
        ("Observation", "code", f"{LOINC}|29463-7", "weight"),
        ("Observation", "code", "|29463-7", "local"),
        ("Observation", "code", f"{LOINC}|", "lower upper weight"),
        ("Observation", "code", "abc", "lower"),
        ("Observation", "code", "ABC,27113001", "upper weight"),
        ("Observation", "code", "29463", ""),
        ("Observation", "code", "a\\|b", "odd"),
        ("Observation", "code", "c\\,d", "odd"),
        ("Observation", "code", "$ne", "odd"),
        ("Observation", "code", ".*", ""),
        ("Observation", "code", "29463-7\x00", ""),
        ("Observation", "code", "9" * 1_000_000, ""),
        ("Observation", "code:not", "29463-7", "lower odd texted upper"),
        ("Observation", "code:not", f"{LOINC}|29463-7,ABC", "local lower odd other texted"),
        ("Observation", "code:missing", "true", ""),
        ("Observation", "code:text", "body", "weight"),
        ("Observation", "code:text", "PESO do", "texted"),
        ("Observation", "code:text", "corpo", ""),
        ("Patient", "gender", "male", "m"),
        ("Patient", "gender", "http://hl7.org/fhir/administrative-gender|male", "m"),
        ("Patient", "gender", "http://hl7.org/fhir/administrative-gender|", "f m"),
        ("Patient", "gender", "http://wrong.example|male", ""),
        ("Patient", "gender:not", "male", "f n"),
        ("Patient", "gender:in", f"{VS}/administrative-gender", "f m"),
        ("Patient", "gender:not-in", f"{VS}/administrative-gender", "n"),
        ("Patient", "gender:in", f"{VS}/name-use", ""),
        ("Patient", "gender:not-in", f"{VS}/name-use,{VS}/administrative-gender", "n"),
        ("Patient", "gender:below", "http://hl7.org/fhir/administrative-gender|male", "m"),
        ("Patient", "gender:above", "male", "m"),
        ("Observation", "code:in", f"{VS}/observation-vitalsignresult", "weight"),
        (
            "Observation",
            "code:not-in",
            f"{VS}/observation-vitalsignresult",
            "local lower odd other texted upper",
        ),
        ("Patient", "active", "true", "m"),
        ("Patient", "active:not", "true", "f n"),
        ("Patient", "identifier", "123", "f m"),
        ("Patient", "identifier", "urn:cpf|123", "m"),
        ("Patient", "identifier", "|77", "m"),
        ("Patient", "identifier:of-type", f"{V2}|MR|77", "m"),
        ("Patient", "identifier:of-type", f"{V2}|MR|78", ""),
        ("Patient", "identifier:text", "prontuario", "m"),
        ("Patient", "email", "ana@example.org", "f"),
        ("Patient", "email", "ANA@example.org", ""),
        ("Patient", "_id", "m,n", "m n"),
        ("Patient", "_id:not", "m", "f n"),
        ("Patient", "_id", "$gt", ""),
    ],
)
def test_a_token_matches(corpus: Corpus, type: str, parameter: str, value: str, matches: str) -> None:
    assert corpus.found(url_of(type, (parameter, value))) == matches


@pytest.mark.parametrize(
    ("parameter", "value", "code"),
    [
        ("code:in", "http://example.org/vs", "value-set-unknown"),
        ("code:not-in", "http://example.org/vs", "value-set-unknown"),
        ("code:above", f"{LOINC}|1", "code-system-unknown"),
        ("code:below", f"{LOINC}|1", "code-system-unknown"),
        ("code:below", "1", "search-value-token"),
        ("code:above", f"{LOINC}|", "search-value-token"),
        ("code:exact", "x", "modifier-unknown"),
        ("code:of-type", "a|b", "search-value-token"),
        ("code", "a|b|c", "search-value-token"),
        ("code", "|", "search-value-token"),
        ("code", "", "search-value-empty"),
    ],
)
def test_a_token_search_is_refused(corpus: Corpus, parameter: str, value: str, code: str) -> None:
    assert refused(corpus, "Observation", (parameter, value)) == code
