"""_sort: any parameter, both directions, several keys, missing values last. hl7.org/fhir/R4/search.html#sort."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.catalogue import Catalogue
from tests.kit.client import Fhir


def person(id: str, family: str | None, born: str | None, gender: str | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"resourceType": "Patient", "id": id}
    made |= {"name": [{"family": family}]} if family else {}
    made |= {"birthDate": born} if born else {}
    return made | ({"gender": gender} if gender else {})


@pytest.fixture(scope="module")
def people(fhir: Fhir) -> Catalogue:
    value = {"system": "http://unitsofmeasure.org", "code": "kg"}
    observations = (
        {"resourceType": "Observation", "id": id, "status": "final", "code": {"text": id}}
        | ({"valueQuantity": {"value": number} | value} if number is not None else {})
        | {"subject": {"reference": f"Patient/@{subject}"}}
        for id, number, subject in (("ten", 10, "a"), ("two", 2, "c"), ("less", -1.5, "b"), ("no", None, "a"))
    )
    return Catalogue(
        fhir, "sort",
        person("a", "Álvares", "1980", "male"), person("b", "bastos", "1990-01", "female"),
        person("c", "Costa", "1970-12-31", "male"), person("d", None, "1985", "female"), person("e", "Élis", None),
        *observations,
        {"resourceType": "RiskAssessment", "id": "r1", "status": "final", "subject": {"reference": "Patient/@a"},
         "prediction": [{"probabilityDecimal": 0.9}]},
        {"resourceType": "RiskAssessment", "id": "r2", "status": "final", "subject": {"reference": "Patient/@a"},
         "prediction": [{"probabilityDecimal": 0.1}]},
        {"resourceType": "ValueSet", "id": "v1", "status": "active", "url": "http://b.example"},
        {"resourceType": "ValueSet", "id": "v2", "status": "draft", "url": "http://a.example"},
    )  # fmt: skip


@pytest.mark.verifies("search-sort-1")
@pytest.mark.parametrize(
    ("type", "sort", "order"),
    [
        ("Patient", "family", "a b c e d"),
        ("Patient", "-family", "e c b a d"),
        ("Patient", "birthdate", "c a d b e"),
        ("Patient", "-birthdate", "b d a c e"),
        ("Patient", "gender,birthdate", "d b c a e"),
        ("Patient", "-gender,-birthdate", "a c b d e"),
        ("Patient", "_id", "a b c d e"),
        ("Patient", "-_id", "e d c b a"),
        ("Observation", "value-quantity", "less two ten no"),
        ("Observation", "-value-quantity", "ten two less no"),
        ("Observation", "patient,-value-quantity", "ten no less two"),
        ("RiskAssessment", "probability", "r2 r1"),
        ("ValueSet", "url", "v2 v1"),
        ("ValueSet", "-status", "v2 v1"),
    ],
)
def test_matches_come_in_the_order_asked_for(people: Catalogue, type: str, sort: str, order: str) -> None:
    assert people.ordered(type, ("_sort", sort)) == order


@pytest.mark.parametrize("sort", ["family", "-birthdate", "-_lastUpdated", "gender,-birthdate"])
def test_pages_of_one_hold_the_same_order(people: Catalogue, sort: str) -> None:
    whole = people.ordered("Patient", ("_sort", sort)).split()
    pages = people.fhir.ids(f"/Patient?_sort={sort}&_tag=sort&_count=1")
    assert [people.short({"id": name.partition("/")[2]}) for name in pages] == whole


@pytest.mark.parametrize(
    ("sort", "code"),
    [
        ("nonsense", "parameter-unknown"),
        ("", "sort-empty"),
        ("$where", "parameter-unknown"),
        ("near", "parameter-unknown"),
        ("_text", "sort-unsupported"),
    ],
)
def test_a_sort_is_refused(people: Catalogue, sort: str, code: str) -> None:
    assert people.refused("Patient", ("_sort", sort)) == code


def test_sort_is_given_once(people: Catalogue) -> None:
    assert people.refused("Patient", ("_sort", "family"), ("_sort", "birthdate")) == "parameter-repeated"
