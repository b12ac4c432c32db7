"""FHIRPath beyond HL7's cases: what it asks of others, primitive extensions, errors, and its budget.

Source: hl7.org/fhir/R4/fhirpath.html#functions, hl7.org/fhirpath/N1
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from fhirserver.r4.elements import Elements
from fhirserver.r4.fhirpath.evaluate import FhirPath, compile_invariant, evaluate
from fhirserver.r4.fhirpath.state import Environment, PathError, PathTooExpensive, UnsupportedPath
from fhirserver.r4.paths import PathSyntaxError

ELEMENTS = Elements.load()
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p",
    "contained": [{"resourceType": "Organization", "id": "o", "name": "Clinic"}],
    "name": [
        {"given": ["Ana", None], "_given": [None, {"extension": [{"url": "urn:x", "valueString": "?"}]}]},
        {"family": "Souza"},
    ],
    "birthDate": "1980-02",
    "_birthDate": {"extension": [{"url": "urn:why", "valueCode": "asked"}]},
    "deceasedBoolean": False,
    "managingOrganization": {"reference": "#o"},
    "generalPractitioner": [{"reference": "Practitioner/1"}, {"reference": "urn:uuid:unknown"}],
    "contact": [{"gender": "female"}],
}
OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "8302-2"}]},
    "valueQuantity": {"value": Decimal("1.80"), "system": "http://unitsofmeasure.org", "code": "m"},
}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("birthDate.extension('urn:why').value", ["asked"]),
        ("birthDate.hasExtension('urn:other')", [False]),
        ("name.given.count()", [2]),
        ("name.given.hasValue()", [False]),
        ("name.given[1].hasValue()", [False]),
        ("name.given[1].extension.value", ["?"]),
        ("name.given[0].getValue() & '!'", ["Ana!"]),
        ("deceased is boolean", [True]),
        ("deceased.ofType(dateTime)", []),
        ("managingOrganization.resolve().name", ["Clinic"]),
        ("generalPractitioner.resolve().count()", [1]),
        ("generalPractitioner[0].resolve() is Practitioner", [True]),
        ("contact.is(BackboneElement)", [True]),
        ("contact.type().name", ["Patient.contact"]),
        ("contained[0].is(DomainResource) and contained[0].is(Resource)", [True]),
        ("descendants().where($this is HumanName).count()", [2]),
        ("birthDate < @1980-03", [True]),
        ("birthDate < @1980-02-10", []),
        ("birthDate = @1980-02-10", []),
        ("%resource.id | %context.id | %rootResource.id", ["p"]),
        ("iif(name.exists(), 'named', 1 / 0)", ["named"]),
        ("name.select($index)", [0, 1]),
        ("(1 | 2 | 3).aggregate($total + $this, 0)", [6]),
        ("repeat(contained).id", ["o"]),
    ],
)
def test_an_expression_of_a_patient(expression: str, expected: list[Any]) -> None:
    assert evaluate(expression, PATIENT, ELEMENTS) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("value = 180 'cm'", [True]),
        ("value > 1790 'mm'", [True]),
        ("value > 2 'kg'", []),
        ("value = 1.8", []),
        ("(value as Quantity).value = 1.8", [True]),
        ("10 'mg/dL' = 0.1 'g/L'", [True]),
        ("1 '10*3/uL' = 1000 '/uL'", [True]),
        ("1 'kg.m/s2' = 1 'N'", []),
    ],
)
def test_quantities_compare_in_units_of_one_kind(expression: str, expected: list[Any]) -> None:
    assert evaluate(expression, OBSERVATION, ELEMENTS) == expected


@pytest.mark.parametrize(
    "expression",
    [
        "name.family + name",
        "name.single()",
        "name.given and true",
        "birthDate > 3",
        "birthDate + 1 'kg'",
        "@9999-12-31 + 1 day",
        "name.skip('1')",
        "'a'.encode('rot13')",
        "'a'.matches('(')",
        "'aa'.matches('(a)\\\\1')",
        "'a'.matches('(?=a)')",
        "10.power(1000) * 10.power(1000)",
        "1.is(Nothing)",
    ],
)
def test_what_cannot_be_evaluated_is_an_error(expression: str) -> None:
    with pytest.raises(PathError) as caught:
        evaluate(expression, PATIENT, ELEMENTS)
    assert "Ana" not in str(caught.value)


@pytest.mark.parametrize("expression", ["name.where()", "name.first(1)", "@2026-02-30", "iif(true)", "$that"])
def test_what_is_no_fhirpath_is_a_syntax_error(expression: str) -> None:
    with pytest.raises((PathSyntaxError, UnsupportedPath)):
        evaluate(expression, PATIENT, ELEMENTS)


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("code.memberOf('http://example.org/vs')", "memberOf()"),
        ("conformsTo('http://example.org/p')", "conformsTo()"),
        ("text.div.htmlChecks()", "htmlChecks()"),
        ("code.subsumes(code)", "subsumes()"),
        ("%factory", "%factory"),
    ],
)
def test_what_nobody_answers_is_named_before_it_is_run(expression: str, named: str) -> None:
    with pytest.raises(UnsupportedPath) as caught:
        compile_invariant(expression, ELEMENTS, "Observation")
    assert named in str(caught.value)


def test_the_surroundings_answer_what_they_are_asked() -> None:
    asked: list[Any] = []

    def member_of(value: Any, type_: str, value_set: str) -> bool:
        asked.append((type_, value_set))
        return bool(value["coding"][0]["code"] == "8302-2")

    def resolve(url: str) -> Any:
        return (
            {"resourceType": "Practitioner", "id": "1", "active": True} if url == "Practitioner/1" else None
        )

    environment = Environment(
        member_of=member_of,
        conforms_to=lambda _value, profile: True if profile == "http://example.org/p" else None,
        html_checks=lambda div: "script" not in div,
        resolve=resolve,
    )
    assert evaluate("code.memberOf('http://example.org/vs')", OBSERVATION, ELEMENTS, environment) == [True]
    assert asked == [("CodeableConcept", "http://example.org/vs")]
    assert evaluate("generalPractitioner.resolve().active", PATIENT, ELEMENTS, environment) == [True]
    assert evaluate("conformsTo('http://example.org/p')", PATIENT, ELEMENTS, environment) == [True]
    with pytest.raises(PathError):
        evaluate("conformsTo('http://example.org/other')", PATIENT, ELEMENTS, environment)
    narrated = {"resourceType": "Patient", "text": {"div": "<div><script/></div>"}}
    assert evaluate("text.div.htmlChecks()", narrated, ELEMENTS, environment) == [False]


def test_references_in_a_bundle_resolve_to_its_entries() -> None:
    bundle = {
        "resourceType": "Bundle",
        "entry": [
            {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient", "id": "p", "active": True}},
            {
                "fullUrl": "https://clinic.example/fhir/Encounter/e",
                "resource": {"resourceType": "Encounter", "subject": {"reference": "urn:uuid:1"}},
            },
        ],
    }
    assert evaluate("entry.resource.subject.resolve().active", bundle, ELEMENTS) == [True]


def test_an_invariant_sees_its_element_its_resource_and_the_root() -> None:
    holds = compile_invariant(
        "gender = 'female' and %resource.id = 'inner' and %rootResource.id = 'p'", ELEMENTS, "Patient.contact"
    )
    inner = {"resourceType": "Patient", "id": "inner", "contact": [{"gender": "female"}]}
    assert holds(inner["contact"][0], inner, PATIENT) is True
    assert holds({"gender": "male"}, inner, PATIENT) is False
    assert holds({}, {"resourceType": "Patient", "id": "inner"}, PATIENT) is None


def test_an_invariant_of_a_primitive_sees_its_extensions() -> None:
    holds = compile_invariant("hasValue() or extension('urn:why').exists()", ELEMENTS, "date")
    assert holds("1980", PATIENT) is True
    assert holds(None, PATIENT, None, PATIENT["_birthDate"]) is True
    assert holds(None, PATIENT, None, {"id": "x"}) is False


EVERYTHING = "%resource.descendants()"
TWINS = {
    "resourceType": "Bundle",
    "entry": [{"resource": PATIENT}, {"resource": {**PATIENT, "name": [{}] * 50}}] * 9,
}


@pytest.mark.parametrize(
    ("expression", "resource"),
    [
        (f"descendants().select({EVERYTHING}.select({EVERYTHING}.select({EVERYTHING})))", PATIENT),
        (
            f"descendants().all({EVERYTHING}.all({EVERYTHING}.all({EVERYTHING}.all({EVERYTHING}.exists()))))",
            PATIENT,
        ),
        (
            f"descendants().where({EVERYTHING}.where({EVERYTHING}.where({EVERYTHING}.empty()).empty()).exists())",
            PATIENT,
        ),
        ("descendants().select(%resource).select(%resource.entry).distinct()", TWINS),
        (f"descendants().all({EVERYTHING}.all(%resource.entry[0] = %resource.entry[2]))", TWINS),
        (f"descendants().all({EVERYTHING}.all(%resource.entry[0] ~ %resource.entry[2]))", TWINS),
        (f"descendants().all(({EVERYTHING} | {EVERYTHING}).exists())", TWINS),
    ],
)
def test_a_hostile_expression_ends_at_its_budget(expression: str, resource: Any) -> None:
    with pytest.raises(PathTooExpensive):
        evaluate(expression, resource, ELEMENTS)


def test_the_budget_is_for_one_evaluation() -> None:
    paths = FhirPath(ELEMENTS)
    for _ in range(20):
        assert len(paths.items("descendants()", PATIENT, budget=120)) == 25
    with pytest.raises(PathTooExpensive):
        paths.items("descendants()", PATIENT, budget=20)


@pytest.mark.parametrize(
    "expression",
    [
        "("
        + "|".join(["1"] * 40)
        + ").combine(1|2|3|4|5|6|7|8|9).aggregate($total & $total, 'aaaaaaaaaa' & 'b')",
        "'" + "a" * 2000 + "'.replace('a', '" + "b" * 2000 + "')",
        "(1|2|3|4|5|6|7|8|9|10|11|12|13|14|15).aggregate($total & $total & $total & $total, 'abcd')",
    ],
)
def test_a_string_does_not_grow_without_end(expression: str) -> None:
    try:
        found = evaluate(expression, PATIENT, ELEMENTS)
    except PathError:
        return
    assert len(str(found)) < 1_000_000
