"""_total, _summary, _elements, _contained, several types, POST, lenient. hl7.org/fhir/R4/search.html#return."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.builders import SYSTEM
from tests.kit.catalogue import Catalogue
from tests.kit.client import Fhir, assert_outcome


def medicine(id: str, code: str) -> dict[str, Any]:
    return {"resourceType": "Medication", "id": id, "code": {"coding": [{"code": code}]}}


@pytest.fixture(scope="module")
def shown(fhir: Fhir) -> Catalogue:
    div = '<div xmlns="http://www.w3.org/1999/xhtml">Ana</div>'
    return Catalogue(
        fhir, "res",
        {"resourceType": "Patient", "id": "ana", "active": True, "gender": "female", "birthDate": "1990-05-05",
         "name": [{"family": "Alves", "given": ["Ana"]}], "text": {"status": "generated", "div": div},
         "contact": [{"name": {"family": "Reis"}}], "photo": [{"url": "http://x.example/p.png"}]},
        {"resourceType": "Patient", "id": "rui"},
        {"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"},
         "subject": {"reference": "Patient/@ana"}},
        medicine("free", "amox"),
        {"resourceType": "MedicationRequest", "id": "order", "status": "active", "intent": "order",
         "subject": {"reference": "Patient/@ana"}, "medicationReference": {"reference": "#m"},
         "contained": [medicine("m", "amox")]},
    )  # fmt: skip


@pytest.mark.verifies("search-summary-1")
@pytest.mark.parametrize(
    ("summary", "has", "lacks"),
    [
        ("true", {"name", "gender", "birthDate", "active"}, {"text", "contact", "photo"}),
        ("text", {"text", "id", "meta"}, {"name", "gender", "contact"}),
        ("data", {"name", "contact", "photo"}, {"text"}),
        ("false", {"text", "name", "contact"}, set()),
    ],
)
def test_summary_shows_a_part_and_says_so(
    shown: Catalogue, summary: str, has: set[str], lacks: set[str]
) -> None:
    (ana,) = shown.entries("Patient", ("_id", "@ana"), ("_summary", summary))
    assert has <= set(ana)
    assert not lacks & set(ana)
    tags = [tag["code"] for tag in ana["meta"].get("tag", ())]
    assert ("SUBSETTED" in tags) is (summary != "false")
    read = shown.fhir.get(f"/Patient/{ana['id']}?_summary={summary}").json()
    assert set(read) == set(ana)


def test_summary_count_is_the_number_alone(shown: Catalogue) -> None:
    body = shown.search("Patient", ("_summary", "count")).json()
    assert body["total"] == 2
    assert "entry" not in body


@pytest.mark.verifies("search-elements-1")
def test_elements_are_those_asked_for_and_those_that_must_not_be_missed(shown: Catalogue) -> None:
    (ana,) = shown.entries("Patient", ("_id", "@ana"), ("_elements", "gender,birthDate"))
    assert set(ana) == {
        "resourceType",
        "id",
        "meta",
        "gender",
        "birthDate",
        "active",
    }  # active is a modifier element
    (o,) = shown.entries("Observation", ("_elements", "subject"))
    assert {"status", "code", "subject"} <= set(o)
    assert shown.refused("Patient", ("_elements", "a b")) == "parameter-value"
    assert shown.refused("Patient", ("_elements", "$where")) == "parameter-value"


@pytest.mark.verifies("search-total-1")
def test_total_is_given_where_it_is_asked_for(fhir: Fhir, shown: Catalogue) -> None:
    url = f"/Patient?_tag={SYSTEM}|res&_count=1"
    assert fhir.get(f"{url}&_total=accurate").json()["total"] == 2
    assert fhir.get(f"{url}&_total=estimate").json()["total"] >= 0
    assert "total" not in fhir.get(f"{url}&_total=none").json()
    assert_outcome(fhir.get(f"{url}&_total=some"), 400, "invalid", "parameter-value")


@pytest.mark.verifies("search-contained-1")
@pytest.mark.parametrize(
    ("contained", "type", "matches"),
    [
        ("false", "container", "free"),
        ("true", "container", "order"),
        ("both", "container", "free order"),
        ("true", "contained", "m"),
    ],
)
def test_contained_resources_are_found_where_asked(
    shown: Catalogue, contained: str, type: str, matches: str
) -> None:
    pairs = [("code", "amox"), ("_contained", contained), ("_containedType", type)]
    response = shown.fhir.get("/Medication", params=pairs)
    resources = [e["resource"] for e in response.json().get("entry", ())]
    assert " ".join(sorted(map(shown.short, resources))) == matches


@pytest.mark.verifies("http-search-3")
def test_several_types_are_searched_at_the_base(fhir: Fhir, shown: Catalogue) -> None:
    url = f"?_tag={SYSTEM}|res"
    assert len(fhir.ids(url)) == 5
    assert sorted(fhir.ids(f"{url}&_type=Patient,Observation")) == [
        "Observation/res.o", "Patient/res.ana", "Patient/res.rui",
    ]  # fmt: skip
    assert fhir.ids(f"{url}&_type=Patient&gender=female") == ["Patient/res.ana"]
    assert_outcome(fhir.get("?_type=Nonsense"), 400, "invalid", "type-unknown")
    assert_outcome(fhir.get("?gender=female"), 400, "not-supported", "parameter-unknown")
    assert_outcome(fhir.get("/Patient?_type=Patient"), 400, "invalid", "type-twice")


@pytest.mark.verifies("http-search-1")
def test_post_search_is_the_same_search(fhir: Fhir, shown: Catalogue) -> None:
    form = {"family": "alves", "_tag": f"{SYSTEM}|res"}
    for url in ("/Patient/_search", f"/Patient/{'res.ana'}/Patient/_search"):
        assert [e["resource"]["id"] for e in fhir.post(url, data=form).json()["entry"]] == ["res.ana"]
    whole = fhir.post("/_search", data={"_tag": f"{SYSTEM}|res", "_type": "Observation"}).json()
    assert [e["resource"]["id"] for e in whole["entry"]] == ["res.o"]
    both = fhir.post("/Patient/_search?gender=male", data=form).json()  # URL and body are one query
    assert "entry" not in both
    response = fhir.post("/Patient/_search", json=form)
    assert_outcome(response, 415, "not-supported", "media-type-unknown")


@pytest.mark.verifies("http-prefer-2")
def test_lenient_ignores_the_unknown_and_says_what(fhir: Fhir, shown: Catalogue) -> None:
    url = f"/Patient?_tag={SYSTEM}|res&shoe-size=44&_count=50"
    assert_outcome(fhir.get(url), 400, "not-supported", "parameter-unknown")
    assert fhir.get(url, headers={"prefer": "handling=strict"}).status_code == 400
    body = fhir.get(url, headers={"prefer": "handling=lenient"}).json()
    outcome = next(e["resource"] for e in body["entry"] if e["search"]["mode"] == "outcome")
    assert outcome["issue"][0]["severity"] == "warning"
    assert "shoe-size" not in next(link["url"] for link in body["link"] if link["relation"] == "self")
    assert len(body["entry"]) == 3


def test_the_plan_is_shown_to_operators(fhir: Fhir) -> None:
    plan = fhir.get("/Patient?name=x&birthdate=gt1990&_explain=true").json()
    assert plan["resourceType"] == "Parameters"
    parts = {part["name"] for part in plan["parameter"][1]["part"]}
    assert {"returned", "keysExamined", "docsExamined", "stages"} <= parts


def test_a_search_answers_in_xml_too(fhir: Fhir, shown: Catalogue) -> None:
    response = fhir.get(
        "/Patient?_id=res.ana&_include=Patient:organization", headers={"accept": "application/fhir+xml"}
    )
    assert response.headers["content-type"].startswith("application/fhir+xml")
    assert '<family value="Alves"/>' in response.text
