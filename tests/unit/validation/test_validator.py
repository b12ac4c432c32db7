"""Broken resources beside their valid neighbours.

Source: hl7.org/fhir/R4/json.html, datatypes.html, references.html, narrative.html, and the constraints of the
StructureDefinitions.
"""

from __future__ import annotations

import copy
import json
import random
from decimal import Decimal
from typing import Any

import pytest

from fhirserver.outcome import IssueCode
from tests.unit.validation import cases_brazil, cases_json, cases_meaning
from tests.unit.validation.kit import BASES, Case, changed, validator

CASES = cases_json.CASES + cases_meaning.CASES + cases_brazil.CASES


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_valid_neighbour_passes(case: Case) -> None:
    assert validator().validate(changed(case.base, case.good)) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_broken_resource_is_refused_for_its_reason(case: Case) -> None:
    issues = validator().validate(changed(case.base, case.bad))
    found = {(issue.issue_code.value, issue.code, issue.expression) for issue in issues}
    assert (case.issue, case.code, (case.expression,)) in found
    assert {issue.severity for issue in issues} == {"error"}


def test_the_table_is_as_long_as_promised() -> None:
    assert len(CASES) >= 170
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("base", BASES)
def test_the_bases_are_valid(base: str) -> None:
    assert validator().validate(BASES[base]) == []
    assert validator().validate(BASES[base], base) == []


@pytest.mark.parametrize(
    ("resource", "code", "expression"),
    [
        ([], "wrong-json-type", "Patient"),
        ("Patient", "wrong-json-type", "Patient"),
        (None, "null-value", "Patient"),
        ({}, "missing-element", "Patient.resourceType"),
        ({"resourceType": "Pacient"}, "unknown-resource-type", "Patient.resourceType"),
        ({"resourceType": "DomainResource"}, "unknown-resource-type", "Patient.resourceType"),
        ({"resourceType": ["Patient"]}, "unknown-resource-type", "Patient.resourceType"),
        (
            {"resourceType": "Group", "type": "person", "actual": True},
            "wrong-resource-type",
            "Group.resourceType",
        ),
    ],
)
def test_what_is_not_the_expected_resource_is_refused(resource: Any, code: str, expression: str) -> None:
    issues = validator().validate(resource, "Patient")
    assert [(issue.code, issue.expression) for issue in issues] == [(code, (expression,))]
    assert validator().validate({"resourceType": "Patient"}, "Patient") == []


def test_a_transaction_may_hold_conditional_references_and_a_collection_may_not() -> None:
    resource = changed("Observation", {"subject.reference": "Patient?identifier=urn:x|1"})
    whole = {"resourceType": "Bundle", "type": "transaction"}
    entry = {"resource": resource, "request": {"method": "POST", "url": "Observation"}}
    assert validator().validate(whole | {"entry": [entry]}) == []
    assert validator().validate(resource, conditional_references=True) == []
    collection = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": resource}]}
    assert [issue.code for issue in validator().validate(collection)] == ["invalid-reference"]


def test_a_conditional_reference_names_an_allowed_type() -> None:
    resource = changed("Observation", {"subject.reference": "Claim?identifier=1"})
    issues = validator().validate(resource, conditional_references=True)
    assert [issue.code for issue in issues] == ["wrong-reference-target"]


def test_every_problem_is_named() -> None:
    resource = changed(
        "Patient", {"gender": "x", "birthDate": "x", "name": [{"family": ""}, {"given": ["a", 1]}], "nam": 1}
    )
    assert {issue.expression[0] for issue in validator().validate(resource)} == {
        "Patient.gender",
        "Patient.birthDate",
        "Patient.name[0].family",
        "Patient.name[1].given[1]",
        "Patient.nam",
    }


def test_an_invariant_is_reported_beside_other_problems() -> None:
    issues = validator().validate(changed("Appointment", {"end": "x", "start": "x", "minutesDuration": "x"}))
    assert len(issues) == 3
    issues = validator().validate(
        changed("Appointment", {"minutesDuration": "x", "participant": [{"type": 1}]})
    )
    assert {issue.code for issue in issues} >= {"wrong-json-type", "missing-element"}


@pytest.mark.parametrize("size", [101, 100_000])
def test_at_most_a_hundred_issues_are_reported(size: int) -> None:
    assert len(validator().validate(changed("Patient", {"name": [{"family": ""}] * size}))) == 100
    assert len(validator().validate(changed("Patient", {f"x{n}": 1 for n in range(size)}))) == 100
    assert len(validator().validate(changed("Patient", {"name": [{"family": ""}] * 99}))) == 99


def test_no_issue_repeats_a_value_of_the_request() -> None:
    secret = "Zuleika 1234"
    resource = changed(
        "Patient",
        {
            "gender": secret,
            "birthDate": secret,
            "active": secret,
            "name": [{"family": [secret], "use": secret}],
            "identifier": [{"system": secret}],
            "managingOrganization": {"reference": secret, "type": secret},
            "text": {"status": secret, "div": secret},
            secret: secret,
        },
    )
    issues = validator().validate(resource)
    assert len(issues) >= 10
    assert "Zuleika" not in json.dumps([issue.to_json() for issue in issues])


def test_an_unknown_element_names_its_neighbour() -> None:
    [issue] = validator().validate(changed("Patient", {"birthdate": "2020"}))
    assert "birthDate" in issue.text
    [issue] = validator().validate(changed("Patient", {"zzz": "2020"}))
    assert "Did you mean" not in issue.text


class ExactDecimal(Decimal):
    """Stands for the lossless number of the JSON reader."""


@pytest.mark.parametrize("number", [1, 1.5, -0.0, Decimal("1.00"), ExactDecimal("1.10")])
def test_every_kind_of_number_is_a_decimal(number: Any) -> None:
    assert validator().validate(changed("Observation", {"valueQuantity.value": number})) == []


@pytest.mark.parametrize("number", [Decimal("NaN"), Decimal("Infinity"), float("inf"), "1", True])
def test_what_is_no_finite_number_is_no_decimal(number: Any) -> None:
    [issue] = validator().validate(changed("Observation", {"valueQuantity.value": number}))
    assert issue.issue_code is IssueCode.STRUCTURE


def test_a_contained_resource_may_be_named_by_a_canonical() -> None:
    questionnaire = {"resourceType": "Questionnaire", "id": "q", "status": "draft"}
    response = {"resourceType": "QuestionnaireResponse", "status": "completed", "contained": [questionnaire]}
    assert validator().validate(response | {"questionnaire": "#q"}) == []
    assert [i.code for i in validator().validate(response | {"questionnaire": "#r"})] == ["invariant-dom-3"]


def test_a_contained_resource_may_be_used_by_another_contained_one() -> None:
    inner = {"resourceType": "Organization", "id": "a", "name": "A", "partOf": {"reference": "#b"}}
    other = {"resourceType": "Organization", "id": "b", "name": "B"}
    patient = changed("Patient", {"contained": [inner, other], "managingOrganization": {"reference": "#a"}})
    assert validator().validate(patient) == []
    del patient["managingOrganization"]
    assert [i.expression for i in validator().validate(patient)] == [("Patient.contained[0]",)]


JUNK: list[Any] = [
    None,
    "",
    "a",
    "#",
    "é",
    0,
    -1,
    1.5,
    True,
    [],
    {},
    [None],
    [[]],
    [{}],
    ["a"],
    {"id": "a"},
    {"a": {}},
]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) below `value`."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in steps for place in [(value, key), *places(item)]]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_junk_in_any_place_is_an_issue_and_never_a_crash(case: Case) -> None:
    chosen = random.Random(case.name)
    for changes in (case.good, case.bad):
        for _ in range(20):
            resource = changed(case.base, changes)
            for _ in range(chosen.randint(1, 3)):
                container, key = chosen.choice(places(resource))
                container[key] = copy.deepcopy(chosen.choice(JUNK))
            assert isinstance(validator().validate(resource), list)


@pytest.mark.parametrize("number", [Decimal("1e999999999"), Decimal("-1e999999999"), Decimal("1e-999999999")])
def test_a_number_of_any_size_is_checked_at_once(number: Decimal) -> None:
    count = {"url": "urn:x", "valueCount": {"value": number, "code": "1"}}
    period = {"url": "urn:x", "valueRange": {"low": {"value": number}, "high": {"value": 2.5}}}
    assert isinstance(validator().validate(changed("Patient", {"extension": [count, period]})), list)
