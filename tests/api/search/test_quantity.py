"""Quantity parameters. hl7.org/fhir/R4/search.html#quantity."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.catalogue import Catalogue
from tests.kit.client import Fhir

UCUM = "http://unitsofmeasure.org"


def measured(id: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id, "status": "final", "code": {"text": "x"},
            "valueQuantity": {"value": value} | more}  # fmt: skip


@pytest.fixture(scope="module")
def measures(fhir: Fhir) -> Catalogue:
    kg = {"system": UCUM, "code": "kg", "unit": "quilo"}
    return Catalogue(
        fhir, "qty",
        measured("kg", 5.4, **kg), measured("precise", 5.402, **kg), measured("gram", 5400, system=UCUM, code="g"),
        measured("unit", 5.4, unit="kg"), measured("plain", 5.4), measured("less", 5, comparator="<", **kg),
        {"resourceType": "Invoice", "id": "money", "status": "issued", "totalNet": {"value": 99.90, "currency": "BRL"}},
        {"resourceType": "Condition", "id": "aged", "subject": {"reference": "Patient/x"},
         "onsetAge": {"value": 40, "system": UCUM, "code": "a"}},
    )  # fmt: skip


@pytest.mark.verifies("search-quantity-1")
@pytest.mark.parametrize(
    ("type", "parameter", "modifier", "value", "matches"),
    [
        ("Observation", "value-quantity", "", "5.4", "kg plain precise unit"),
        ("Observation", "value-quantity", "", "5.400", "kg plain unit"),
        ("Observation", "value-quantity", "", f"5.4|{UCUM}|kg", "kg precise"),
        ("Observation", "value-quantity", "", "5.4||kg", "kg precise unit"),
        ("Observation", "value-quantity", "", "5.4||quilo", "kg precise"),
        ("Observation", "value-quantity", "", f"5400|{UCUM}|g", "gram"),
        ("Observation", "value-quantity", "", f"5400|{UCUM}|kg", ""),
        ("Observation", "value-quantity", "", f"gt5.4|{UCUM}|kg", "precise"),
        ("Observation", "value-quantity", "", f"le5.4|{UCUM}|kg", "kg less"),
        ("Observation", "value-quantity", "", f"lt5|{UCUM}|kg", "less"),
        ("Observation", "value-quantity", "", "gt5000", "gram"),
        ("Observation", "value-quantity", "", "ap5.4||kg", "kg less precise unit"),
        ("Observation", "value-quantity", ":missing", "true", ""),
        ("Invoice", "totalnet", "", "99.90|urn:iso:std:iso:4217|BRL", "money"),
        ("Invoice", "totalnet", "", "99.90||USD", ""),
        ("Condition", "onset-age", "", "40", "aged"),
        ("Condition", "onset-age", "", f"gt39|{UCUM}|a", "aged"),
    ],
)
def test_a_quantity_matches(
    measures: Catalogue, type: str, parameter: str, modifier: str, value: str, matches: str
) -> None:
    assert measures.found(type, (parameter + modifier, value)) == matches


@pytest.mark.parametrize(
    ("parameter", "modifier", "value", "code"),
    [
        ("value-quantity", "", "heavy", "search-value-number"),
        ("value-quantity", "", "5.4|kg", "search-value-quantity"),
        ("value-quantity", "", "5.4|a|b|c", "search-value-quantity"),
        ("value-quantity", "", "Infinity", "search-value-number"),
        ("value-quantity", ":exact", "5", "modifier-unknown"),
    ],
)
def test_a_quantity_is_refused(
    measures: Catalogue, parameter: str, modifier: str, value: str, code: str
) -> None:
    assert measures.refused("Observation", (parameter + modifier, value)) == code
