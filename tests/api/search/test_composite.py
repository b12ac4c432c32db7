"""Composite parameters: all parts hold for one and the same element. hl7.org/fhir/R4/search.html#composite."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.catalogue import Catalogue
from tests.kit.client import Fhir

LOINC = "http://loinc.org"


def code(value: str) -> dict[str, Any]:
    return {"coding": [{"system": LOINC, "code": value}]}


def pressure(id: str, systolic: float, diastolic: float) -> dict[str, Any]:
    component = [{"code": code("8480-6"), "valueQuantity": {"value": systolic}},
                 {"code": code("8462-4"), "valueQuantity": {"value": diastolic}}]  # fmt: skip
    return {"resourceType": "Observation", "id": id, "status": "final", "code": code("85354-9"),
            "component": component}  # fmt: skip


@pytest.fixture(scope="module")
def pressures(fhir: Fhir) -> Catalogue:
    return Catalogue(
        fhir, "comp",
        pressure("high", 160, 100), pressure("normal", 120, 80),
        {"resourceType": "Observation", "id": "weight", "status": "final", "code": code("29463-7"),
         "valueQuantity": {"value": 70}},
        {"resourceType": "Group", "id": "g", "type": "person", "actual": False,
         "characteristic": [{"code": code("a"), "valueBoolean": True, "exclude": False},
                            {"code": code("b"), "valueBoolean": False, "exclude": False}]},
    )  # fmt: skip


@pytest.mark.verifies("search-composite-1")
@pytest.mark.parametrize(
    ("type", "parameter", "modifier", "value", "matches"),
    [
        ("Observation", "component-code-value-quantity", "", "8480-6$120", "normal"),
        ("Observation", "component-code-value-quantity", "", f"{LOINC}|8480-6$gt130", "high"),
        ("Observation", "component-code-value-quantity", "", "8480-6$80", ""),  # 80 is the other component's
        ("Observation", "component-code-value-quantity", "", "8480-6$160,8462-4$80", "high normal"),
        ("Observation", "code-value-quantity", "", "29463-7$70", "weight"),
        ("Observation", "code-value-quantity", "", "29463-7$71", ""),
        ("Observation", "component-code-value-quantity", ":missing", "true", "weight"),
        ("Group", "characteristic-value", "", "a$true", "g"),
        ("Group", "characteristic-value", "", "b$true", ""),
    ],
)
def test_a_composite_matches(
    pressures: Catalogue, type: str, parameter: str, modifier: str, value: str, matches: str
) -> None:
    assert pressures.found(type, (parameter + modifier, value)) == matches


def test_two_composites_may_hold_for_two_elements(pressures: Catalogue) -> None:
    both = [("component-code-value-quantity", "8480-6$160"), ("component-code-value-quantity", "8462-4$100")]
    assert pressures.found("Observation", *both) == "high"


@pytest.mark.parametrize(
    ("parameter", "modifier", "value", "code"),
    [
        ("code-value-quantity", "", "29463-7", "search-value-composite"),
        ("code-value-quantity", "", "a$b$c", "search-value-composite"),
        ("code-value-quantity", "", "a$b", "search-value-number"),
        ("code-value-quantity", ":exact", "a$1", "modifier-unknown"),
    ],
)
def test_a_composite_is_refused(
    pressures: Catalogue, parameter: str, modifier: str, value: str, code: str
) -> None:
    assert pressures.refused("Observation", (parameter + modifier, value)) == code
