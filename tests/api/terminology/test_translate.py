"""$translate. Source: hl7.org/fhir/R4/conceptmap-operation-translate.html, hl7.org/fhir/R4/conceptmap.html."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.kit.client import Fhir, assert_outcome
from tests.kit.terminology import R4, an_url, call, told

HERE, THERE = "urn:test:here", "urn:test:there"


def a_concept_map(url: str, **group: Any) -> dict[str, Any]:
    def to(code: str | None, equivalence: str, **rest: Any) -> dict[str, Any]:
        return {"equivalence": equivalence, "comment": "why"} | ({"code": code} if code else {}) | rest

    depends = {"dependsOn": [{"property": "urn:x:sex", "value": "f"}]}
    product = {"product": [{"property": "urn:x:side", "system": "urn:x:sides", "value": "left"}]}
    elements = [
        {"code": "a", "target": [to("A", "equivalent", display="Letter A"), to("B", "wider")]},
        {"code": "c", "target": [to("C", "narrower", **product)]},
        {"code": "d", "target": [to("D", "equal", **depends), to("E", "inexact")]},
        {"code": "u", "target": [to(None, "unmatched")]},
    ]
    return {
        "resourceType": "ConceptMap",
        "url": url,
        "status": "active",
        "sourceUri": f"{url}/source",
        "targetUri": f"{url}/target",
        "group": [{"source": HERE, "target": THERE, "element": elements} | group],
    }


def matches(answer: httpx.Response) -> list[tuple[str, str | None]]:
    """(equivalence, code) of each match."""
    found = []
    for each in answer.json()["parameter"]:
        if each["name"] == "match":
            by_name = {part["name"]: part for part in each["part"]}
            concept = by_name.get("concept", {}).get("valueCoding", {})
            found.append((by_name["equivalence"]["valueCode"], concept.get("code")))
    return found


@pytest.fixture(scope="module")
def map_url(fhir: Fhir) -> str:
    url = an_url("map")
    fhir.made(a_concept_map(url))
    return url


@pytest.mark.parametrize(
    ("code", "result", "expected"),
    [
        ("a", True, [("equivalent", "A"), ("wider", "B")]),
        ("c", True, [("narrower", "C")]),
        ("u", False, [("unmatched", None)]),
        ("z", False, []),
    ],
)
@pytest.mark.verifies("terminology-translate-1")
def test_a_code_is_translated(
    fhir: Fhir, map_url: str, code: str, result: bool, expected: list[tuple[str, str]]
) -> None:
    for way in ({"url": map_url}, {"source": f"{map_url}/source", "target": f"{map_url}/target"}):
        answer = fhir.get("/ConceptMap/$translate", params=way | {"system": HERE, "code": code})
        assert told(answer)["result"] is result
        assert matches(answer) == expected


def test_a_translation_goes_back(fhir: Fhir, map_url: str) -> None:
    back = {"url": map_url, "system": THERE, "reverse": "true"}
    assert matches(fhir.get("/ConceptMap/$translate", params=back | {"code": "B"})) == [("narrower", "a")]
    assert matches(fhir.get("/ConceptMap/$translate", params=back | {"code": "a"})) == []
    swapped = {"source": f"{map_url}/target", "target": f"{map_url}/source", "reverse": "true"}
    answer = fhir.get("/ConceptMap/$translate", params=swapped | {"system": THERE, "code": "A"})
    assert matches(answer) == [("equivalent", "a")]


def test_a_match_says_where_it_comes_from_and_what_goes_with_it(fhir: Fhir, map_url: str) -> None:
    answer = fhir.get("/ConceptMap/$translate", params={"url": map_url, "system": HERE, "code": "c"}).json()
    [match] = [p["part"] for p in answer["parameter"] if p["name"] == "match"]
    assert {"name": "source", "valueUri": map_url} in match
    [product] = [part for part in match if part["name"] == "product"]
    assert {"name": "concept", "valueCoding": {"system": "urn:x:sides", "code": "left"}} in product["part"]


def test_dependencies_choose_among_matches(fhir: Fhir, map_url: str) -> None:
    def given(code: str) -> list[tuple[str, str | None]]:
        parts = [
            {"name": "element", "valueUri": "urn:x:sex"},
            {"name": "concept", "valueCodeableConcept": {"coding": [{"code": code}]}},
        ]
        return matches(
            call(
                fhir,
                "/ConceptMap/$translate",
                url=map_url,
                system=HERE,
                code="d",
                dependency__part=[parts][0:1],
            )
        )

    assert given("f") == [("equal", "D"), ("inexact", "E")]
    assert given("m") == [("inexact", "E")]


def test_unmapped_codes_follow_the_rule_of_the_map(fhir: Fhir, map_url: str) -> None:
    fixed = a_concept_map(an_url("fixed"), unmapped={"mode": "fixed", "code": "other"})
    same = a_concept_map(an_url("same"), unmapped={"mode": "provided"})
    other = a_concept_map(
        an_url("other"), element=[{"code": "x"}], unmapped={"mode": "other-map", "url": map_url}
    )
    asked = {"system": HERE, "code": "z"}
    assert matches(call(fhir, "/ConceptMap/$translate", conceptMap=fixed, **asked)) == [("inexact", "other")]
    assert matches(call(fhir, "/ConceptMap/$translate", conceptMap=same, **asked)) == [("equivalent", "z")]
    handed = call(fhir, "/ConceptMap/$translate", conceptMap=other, system=HERE, code="c")
    assert matches(handed) == [("narrower", "C")]


def test_concepts_targets_and_instances(fhir: Fhir, map_url: str) -> None:
    concept = {"coding": [{"system": HERE, "code": "z"}, {"system": HERE, "code": "c"}]}
    answer = call(fhir, "/ConceptMap/$translate", url=map_url, codeableConcept__valueCodeableConcept=concept)
    assert matches(answer) == [("narrower", "C")]
    elsewhere = {"url": map_url, "system": HERE, "code": "a", "targetsystem": "urn:test:elsewhere"}
    assert matches(fhir.get("/ConceptMap/$translate", params=elsewhere)) == []
    stored = fhir.made(a_concept_map(an_url("own")))
    own = fhir.get(f"/ConceptMap/{stored['id']}/$translate", params={"system": HERE, "code": "c"})
    assert matches(own) == [("narrower", "C")]


def test_maps_of_r4_translate(fhir: Fhir) -> None:
    asked = {
        "url": f"{R4}/ConceptMap/cm-administrative-gender-v2",
        "system": f"{R4}/administrative-gender",
        "code": "male",
    }
    assert ("equal", "M") in matches(fhir.get("/ConceptMap/$translate", params=asked))


@pytest.mark.parametrize(
    ("query", "status", "issue", "code"),
    [
        ("url=urn:x&system=a&code=b", 404, "not-found", "concept-map-unknown"),
        ("system=a", 400, "invalid", "parameter-missing"),
        ("code=b", 400, "invalid", "parameter-missing"),
        ("system=a&code=b&nonsense=1", 400, "not-supported", "parameter-unknown"),
        ("system=a&code=b&reverse=perhaps", 400, "invalid", "parameter-value"),
        ("system=a&code=b&dependency=x", 400, "invalid", "parameter-value"),
    ],
)
def test_a_translation_is_refused(fhir: Fhir, query: str, status: int, issue: str, code: str) -> None:
    assert_outcome(fhir.get(f"/ConceptMap/$translate?{query}"), status, issue, code)
