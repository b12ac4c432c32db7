"""_summary and _elements. hl7.org/fhir/R4/search.html#summary, #elements."""

from __future__ import annotations

from typing import Any

import pytest

from fhirserver.r4.elements import Elements
from fhirserver.search.summary import SUBSETTED, subset

ELEMENTS = Elements.load()
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "1",
    "meta": {"versionId": "2", "tag": [{"code": "mine"}]},
    "text": {"status": "generated", "div": "<div/>"},
    "extension": [{"url": "http://x.example", "valueCode": "a"}],
    "modifierExtension": [{"url": "http://y.example", "valueCode": "b"}],
    "active": True,
    "name": [{"family": "Lima", "given": ["Ana"], "extension": [{"url": "u", "valueCode": "c"}]}],
    "birthDate": "1990-01-01",
    "_birthDate": {"id": "b"},
    "deceasedBoolean": False,
    "maritalStatus": {"text": "solteira"},
    "contact": [{"name": {"family": "Lima"}}],
    "communication": [{"language": {"coding": [{"code": "pt"}]}, "preferred": True}],
    "link": [{"other": {"reference": "Patient/2", "display": "x"}, "type": "seealso"}],
}
OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation", "id": "o", "status": "final", "text": {"status": "empty", "div": "<div/>"},
    "code": {"text": "x"}, "valueQuantity": {"value": 1, "unit": "kg"}, "note": [{"text": "n"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("resource", "options", "names"),
    [
        (PATIENT, {"summary": "true"},
         "modifierExtension active name birthDate _birthDate deceasedBoolean link"),
        (PATIENT, {"summary": "text"}, "text"),
        (PATIENT, {"summary": "data"},
         "extension modifierExtension active name birthDate _birthDate deceasedBoolean "
                                       "maritalStatus contact communication link"),
        (PATIENT, {"elements": ("name",)}, "modifierExtension active name deceasedBoolean link"),
        (PATIENT, {"elements": ("Patient.birthDate",)},
         "modifierExtension active birthDate _birthDate deceasedBoolean link"),
        (OBSERVATION, {"summary": "text"}, "status text code"),
        (OBSERVATION, {"summary": "true"}, "status code valueQuantity"),
        (OBSERVATION, {"elements": ("value",)}, "status code valueQuantity"),
        (OBSERVATION, {"elements": ("__proto__", "nonsense")}, "status code"),
    ],
)  # fmt: skip
def test_a_subset_holds(resource: dict[str, Any], options: dict[str, Any], names: str) -> None:
    before = repr(resource)
    shown = subset(resource, definitions=ELEMENTS, **options)
    assert set(shown) == {"resourceType", "id", "meta", *names.split()}
    assert SUBSETTED in shown["meta"]["tag"]
    assert repr(resource) == before


def test_a_summary_is_one_all_the_way_down() -> None:
    shown = subset(PATIENT, summary="true", definitions=ELEMENTS)
    assert shown["name"] == [{"family": "Lima", "given": ["Ana"]}]
    assert shown["meta"] == {"versionId": "2", "tag": [{"code": "mine"}, SUBSETTED]}


def test_elements_may_name_what_is_inside() -> None:
    shown = subset(PATIENT, elements=("name.family",), definitions=ELEMENTS)
    assert shown["name"] == [{"family": "Lima"}]


@pytest.mark.parametrize("summary", [None, "false"])
def test_the_whole_is_left_as_it_is(summary: str | None) -> None:
    assert subset(PATIENT, summary=summary, definitions=ELEMENTS) is PATIENT
