"""Number parameters. hl7.org/fhir/R4/search.html#number, #prefix."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.catalogue import Catalogue
from tests.kit.client import Fhir

PERCENT = {"system": "http://unitsofmeasure.org", "code": "%"}


def risk(id: str, *predictions: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "RiskAssessment", "id": id, "status": "final",
            "subject": {"reference": "Patient/x"}} | ({"prediction": list(predictions)} if predictions else {})  # fmt: skip


@pytest.fixture(scope="module")
def risks(fhir: Fhir) -> Catalogue:
    return Catalogue(
        fhir, "num",
        risk("one", {"probabilityDecimal": 1}), risk("tenth", {"probabilityDecimal": 0.1}),
        risk("fine", {"probabilityDecimal": 0.1049}), risk("coarse", {"probabilityDecimal": 0.1051}),
        risk("below", {"probabilityDecimal": -0.25}), risk("two", {"probabilityDecimal": 0.3}, {"probabilityDecimal": 0.9}),
        risk("range", {"probabilityRange": {"low": PERCENT | {"value": 0.4}, "high": PERCENT | {"value": 0.6}}}),
        risk("none"),
    )  # fmt: skip


@pytest.mark.verifies("search-number-1")
@pytest.mark.parametrize(
    ("parameter", "modifier", "value", "matches"),
    [
        ("probability", "", "0.1", "coarse fine tenth"),
        ("probability", "", "0.10", "fine tenth"),
        ("probability", "", "0.100", "tenth"),
        ("probability", "", "1e-1", "fine tenth"),  # one digit finer, like the specification's 1e2
        ("probability", "", "1", "one two"),  # 0.9 lies in [0.5, 1.5)
        ("probability", "", "1.0", "one"),
        ("probability", "", "eq1.0", "one"),
        ("probability", "", "-0.25", "below"),
        ("probability", "", "ne0.10", "below coarse one range two"),
        ("probability", "", "gt0.9", "one"),
        ("probability", "", "ge0.90", "one two"),
        ("probability", "", "lt0", "below"),
        ("probability", "", "le0.1", "below tenth"),
        ("probability", "", "gt0.5", "one range two"),
        ("probability", "", "lt0.5", "below coarse fine range tenth two"),
        ("probability", "", "sa0.6", "one two"),
        ("probability", "", "eb0.4", "below coarse fine tenth two"),
        ("probability", "", "ap0.3", "two"),
        ("probability", "", "0.100,1.0", "one tenth"),
        ("probability", ":missing", "true", "none"),
        ("probability", ":missing", "false", "below coarse fine one range tenth two"),
    ],
)
def test_a_number_matches(risks: Catalogue, parameter: str, modifier: str, value: str, matches: str) -> None:
    assert risks.found("RiskAssessment", (parameter + modifier, value)) == matches


@pytest.mark.verifies("search-errors-1")
@pytest.mark.parametrize(
    ("parameter", "modifier", "value", "code"),
    [
        ("probability", "", "abc", "search-value-number"),
        ("probability", "", "gt", "search-value-number"),
        ("probability", "", "1,5,x", "search-value-number"),
        ("probability", "", "1e999", "search-value-number"),
        ("probability", "", "NaN", "search-value-number"),
        ("probability", "", "", "search-value-empty"),
        ("probability", ":missing", "perhaps", "search-value-missing"),
        ("probability", ":exact", "1", "modifier-unknown"),
    ],
)
def test_a_number_is_refused(risks: Catalogue, parameter: str, modifier: str, value: str, code: str) -> None:
    assert risks.refused("RiskAssessment", (parameter + modifier, value)) == code


def test_several_values_of_one_parameter_must_all_hold(risks: Catalogue) -> None:
    assert risks.found("RiskAssessment", ("probability", "gt0.2"), ("probability", "lt0.35")) == "two"
    assert risks.found("RiskAssessment", ("probability", "gt2"), ("probability", "lt0.35")) == ""
