"""$validate-code, $lookup, $subsumes. Source: hl7.org/fhir/R4/terminology-service.html and the operations' pages."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.client import Fhir, assert_outcome
from tests.kit.terminology import R4, V3, a_code_system, a_value_set, an_url, call, told

GENDER = f"{R4}/administrative-gender"
GENDERS = f"{R4}/ValueSet/administrative-gender"
UCUM = "http://unitsofmeasure.org"
LOINC = "http://loinc.org"


@pytest.mark.parametrize(
    ("value_set", "system", "code", "display", "result"),
    [
        (GENDERS, GENDER, "male", None, True),
        (GENDERS, GENDER, "male", "MÁLE", True),
        (GENDERS, GENDER, "male", "Female", False),
        (GENDERS, GENDER, "Male", None, False),
        (GENDERS, "urn:other", "male", None, False),
        (f"{R4}/ValueSet/observation-vitalsignresult", LOINC, "29463-7", None, True),
        (f"{R4}/ValueSet/observation-vitalsignresult", LOINC, "29463-8", None, False),
        (f"{R4}/ValueSet/observation-codes", LOINC, "29463-7", None, False),
        (f"{R4}/ValueSet/ucum-units", UCUM, "mg/dL", None, True),
        (f"{R4}/ValueSet/ucum-units", UCUM, "mg per dL", None, False),
        (f"{R4}/ValueSet/mimetypes", "urn:ietf:bcp:13", "application/pdf", None, True),
        (f"{R4}/ValueSet/mimetypes", "urn:ietf:bcp:13", "pdf", None, False),
        (f"{R4}/ValueSet/all-languages", "urn:ietf:bcp:47", "pt-BR", None, True),
        (f"{R4}/ValueSet/all-languages", "urn:ietf:bcp:47", "pt_BR", None, False),
    ],
)
def test_a_code_is_in_a_value_set(
    fhir: Fhir, value_set: str, system: str, code: str, display: str | None, result: bool
) -> None:
    parameters = {"url": value_set, "system": system, "code": code} | (
        {"display": display} if display else {}
    )
    answer = told(fhir.get("/ValueSet/$validate-code", params=parameters))
    assert answer["result"] is result
    assert result or answer["message"]
    if display == "Female":
        assert answer["display"] == "Male"


@pytest.mark.verifies("terminology-validate-1")
def test_codings_and_concepts_are_validated(fhir: Fhir) -> None:
    right, wrong = {"system": GENDER, "code": "male", "display": "Male"}, {"system": GENDER, "code": "mal"}

    def result(**given: Any) -> bool:
        answer: bool = told(call(fhir, "/ValueSet/$validate-code", url=GENDERS, **given))["result"]
        return answer

    assert result(coding__valueCoding=right)
    assert not result(coding__valueCoding=wrong)
    assert result(codeableConcept__valueCodeableConcept={"coding": [wrong, right]})
    assert not result(codeableConcept__valueCodeableConcept={"coding": [wrong]})


def test_stored_and_sent_value_sets_validate(fhir: Fhir, animals: str) -> None:
    stored = fhir.made(
        a_value_set(
            an_url(),
            {"system": animals, "filter": [{"property": "concept", "op": "is-a", "value": "mammal"}]},
            exclude=[{"system": animals, "concept": [{"code": "cat"}]}],
        )
    )
    asked = {"system": animals, "code": "poodle", "display": "Poodle"}
    assert told(fhir.get(f"/ValueSet/{stored['id']}/$validate-code", params=asked))["result"]
    assert not told(fhir.get(f"/ValueSet/{stored['id']}/$validate-code", params=asked | {"code": "cat"}))[
        "result"
    ]
    del stored["id"]
    assert told(call(fhir, "/ValueSet/$validate-code", valueSet=stored, **asked))["result"]
    language = asked | {"code": "dog", "display": "Cão", "displayLanguage": "pt-BR"}
    answer = told(fhir.get("/ValueSet/$validate-code", params=language | {"url": stored["url"]}))
    assert (answer["result"], answer["display"]) == (True, "Cão")


def test_abstract_codes_are_valid_where_it_is_said(fhir: Fhir, animals: str) -> None:
    asked = {"url": animals, "code": "mammal"}
    assert not told(fhir.get("/CodeSystem/$validate-code", params=asked))["result"]
    assert told(fhir.get("/CodeSystem/$validate-code", params=asked | {"abstract": "true"}))["result"]
    inactive = told(fhir.get("/CodeSystem/$validate-code", params={"url": animals, "code": "dodo"}))
    assert inactive == {"result": True, "message": "The code is inactive.", "display": "Dodo"}


@pytest.mark.verifies("terminology-validate-2")
def test_a_code_is_in_a_code_system(fhir: Fhir, animals: str) -> None:
    def result(**given: Any) -> bool:
        answer: bool = told(call(fhir, "/CodeSystem/$validate-code", **given))["result"]
        return answer

    assert result(url=animals, code="cat", display="Gato")
    assert not result(url=animals, code="cat", display="Dog")
    assert not result(url=animals, code="unicorn")
    assert result(coding__valueCoding={"system": animals, "code": "dog"})
    assert not result(url=animals, coding__valueCoding={"system": GENDER, "code": "male"})
    assert result(url=UCUM, code="kg/m2")
    assert not result(url=UCUM, code="kilo")
    own = a_code_system(an_url("sent"), caseSensitive=False)
    assert result(codeSystem=own, code="CAT")
    assert not result(codeSystem=own | {"caseSensitive": True}, code="CAT")
    stored = fhir.made(a_code_system(an_url("by-id")))
    assert told(fhir.get(f"/CodeSystem/{stored['id']}/$validate-code?code=cat"))["result"]


@pytest.mark.parametrize(
    ("path", "query", "status", "issue", "code"),
    [
        ("ValueSet", "url=urn:x&system=a&code=b", 404, "not-found", "value-set-unknown"),
        ("ValueSet", f"url={GENDERS}&code=male", 400, "invalid", "parameter-missing"),
        ("ValueSet", f"url={GENDERS}&system={GENDER}", 400, "invalid", "parameter-missing"),
        ("ValueSet", f"url={GENDERS}&system={GENDER}&code=male&date=2020", 400, "not-supported", "parameter-not-supported"),
        ("ValueSet", f"url={GENDERS}&system={GENDER}&code=male&x=1", 400, "not-supported", "parameter-unknown"),
        ("ValueSet", f"url={GENDERS}&coding=male", 400, "invalid", "parameter-value"),
        ("CodeSystem", "url=urn:x&code=b", 404, "not-found", "code-system-unknown"),
        ("CodeSystem", f"url={LOINC}&code=b", 404, "not-found", "code-system-unknown"),
        ("CodeSystem", f"url={GENDER}&version=9&code=male", 404, "not-found", "code-system-unknown"),
        ("CodeSystem", "code=male", 400, "invalid", "parameter-missing"),
    ],
)  # fmt: skip
def test_a_validation_is_refused(
    fhir: Fhir, path: str, query: str, status: int, issue: str, code: str
) -> None:
    assert_outcome(fhir.get(f"/{path}/$validate-code?{query}"), status, issue, code)


def parts(answer: Any, name: str) -> list[dict[str, Any]]:
    """Each parameter `name` of an answer as its parts by name."""
    return [
        {p["name"]: next(v for k, v in p.items() if k.startswith("value")) for p in each["part"]}
        for each in answer.json()["parameter"]
        if each["name"] == name
    ]


@pytest.mark.verifies("terminology-lookup-1")
def test_lookup_tells_all_of_a_code(fhir: Fhir, animals: str) -> None:
    answer = fhir.get("/CodeSystem/$lookup", params={"system": animals, "code": "dog"})
    assert told(answer) == {"name": "Animals", "version": "1", "display": "Dog"}
    properties = {(p["code"], p["value"]) for p in parts(answer, "property")}
    assert properties == {("legs", 4), ("inactive", False), ("parent", "mammal"), ("child", "poodle")}
    assert {"code": "child", "value": "poodle", "description": "Poodle"} in parts(answer, "property")
    assert parts(answer, "designation") == [{"language": "pt-BR", "value": "Cão"}]
    chosen = fhir.get(
        "/CodeSystem/$lookup",
        params={
            "system": animals,
            "code": "cat",
            "property": ["definition", "legs"],
            "displayLanguage": "pt",
        },
    )
    assert told(chosen)["display"] == "Gato"
    assert {(p["code"], p["value"]) for p in parts(chosen, "property")} == {
        ("definition", "Felis catus"),
        ("legs", 4),
    }
    coding = call(
        fhir, "/CodeSystem/$lookup", coding__valueCoding={"system": f"{V3}/v3-ActCode", "code": "AMB"}
    )
    assert told(coding)["display"] == "ambulatory"


@pytest.mark.parametrize(
    ("code", "display"),
    [
        ("mg/dL", "milligram per deciliter"),
        ("10*3/uL", "10 to the power 3 per microliter"),
        ("kg/m2", "kilogram per square meter"),
        ("mm[Hg]", "millimeter of mercury column"),
        ("{score}", "(score)"),
        ("mg{total}/mL", "milligram (total) per milliliter"),
    ],
)
def test_lookup_spells_units_out(fhir: Fhir, code: str, display: str) -> None:
    assert told(fhir.get("/CodeSystem/$lookup", params={"system": UCUM, "code": code}))["display"] == display


@pytest.mark.parametrize(
    ("query", "status", "issue", "code"),
    [
        (f"system={GENDER}&code=mal", 404, "not-found", "code-unknown"),
        (f"system={UCUM}&code=kilo", 404, "not-found", "code-unknown"),
        ("system=urn:x&code=a", 404, "not-found", "code-system-unknown"),
        (f"system={GENDER}", 400, "invalid", "parameter-missing"),
        ("code=male", 400, "invalid", "parameter-missing"),
        (f"system={GENDER}&code=male&url=x", 400, "not-supported", "parameter-unknown"),
    ],
)
def test_a_lookup_is_refused(fhir: Fhir, query: str, status: int, issue: str, code: str) -> None:
    assert_outcome(fhir.get(f"/CodeSystem/$lookup?{query}"), status, issue, code)


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        ("mammal", "poodle", "subsumes"),
        ("poodle", "mammal", "subsumed-by"),
        ("dog", "dog", "equivalent"),
        ("cat", "dog", "not-subsumed"),
    ],
)
@pytest.mark.verifies("terminology-subsumes-1")
def test_codes_subsume_each_other(fhir: Fhir, animals: str, first: str, second: str, outcome: str) -> None:
    asked = {"system": animals, "codeA": first, "codeB": second}
    assert told(fhir.get("/CodeSystem/$subsumes", params=asked))["outcome"] == outcome
    codings = {
        "codingA__valueCoding": {"system": animals, "code": first},
        "codingB__valueCoding": {"system": animals, "code": second},
    }
    assert told(call(fhir, "/CodeSystem/$subsumes", **codings))["outcome"] == outcome


def test_a_subsumption_on_a_resource(fhir: Fhir) -> None:
    stored = fhir.made(a_code_system(an_url("sub")))
    answer = fhir.get(f"/CodeSystem/{stored['id']}/$subsumes?codeA=dog&codeB=poodle")
    assert told(answer)["outcome"] == "subsumes"
    other = call(
        fhir,
        f"/CodeSystem/{stored['id']}/$subsumes",
        codingA__valueCoding={"system": GENDER, "code": "male"},
        codeB__valueCode="dog",
    )
    assert_outcome(other, 422, "processing", "code-systems-differ")


@pytest.mark.parametrize(
    ("query", "status", "issue", "code"),
    [
        (f"system={GENDER}&codeA=male&codeB=x", 422, "code-invalid", "code-unknown"),
        (f"system={GENDER}&codeA=male", 400, "invalid", "parameter-missing"),
        ("codeA=male&codeB=female", 400, "invalid", "parameter-missing"),
        ("system=urn:x&codeA=a&codeB=b", 404, "not-found", "code-system-unknown"),
    ],
)
def test_a_subsumption_is_refused(fhir: Fhir, query: str, status: int, issue: str, code: str) -> None:
    assert_outcome(fhir.get(f"/CodeSystem/$subsumes?{query}"), status, issue, code)
