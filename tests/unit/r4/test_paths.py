"""FHIRPath: text to tree, tree to branches, branches to values.

Covers hl7.org/fhirpath/N1 and R4/fhirpath.html.
"""

from decimal import Decimal
from typing import Any

import pytest

from fhirserver.outcome import NotSupported
from fhirserver.r4.paths import (
    Binary,
    Call,
    Index,
    Literal,
    Member,
    PathSyntaxError,
    This,
    TypeTest,
    Unary,
    Variable,
    parse_path,
)
from fhirserver.r4.paths_resolve import resolve
from fhirserver.r4.paths_run import reference_type, selector
from fhirserver.r4.paths_types import ElementTypes


@pytest.fixture(scope="module")
def types() -> ElementTypes:
    return ElementTypes.load()


def name(*parts: str) -> Any:
    node = None
    for part in parts:
        node = Member(node, part)
    return node


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("Patient.name", name("Patient", "name")),
        ("a | b.c", Binary("|", name("a"), name("b", "c"))),
        ("a = 'x\\'y'", Binary("=", name("a"), Literal("string", "x'y"))),
        (
            "a.where(b='c')[0]",
            Index(
                Call(name("a"), "where", (Binary("=", name("b"), Literal("string", "c")),)),
                Literal("integer", 0),
            ),
        ),
        ("(a as Quantity).value", Member(TypeTest("as", name("a"), "Quantity"), "value")),
        ("a is System.String", TypeTest("is", name("a"), "System.String")),
        ("a as Quantity | b", Binary("|", TypeTest("as", name("a"), "Quantity"), name("b"))),
        ("a or b and c", Binary("or", name("a"), Binary("and", name("b"), name("c")))),
        ("a + b * 2.50", Binary("+", name("a"), Binary("*", name("b"), Literal("decimal", Decimal("2.50"))))),
        ("-a.b", Unary("-", name("a", "b"))),
        ("$this.contains", Member(This("this"), "contains")),
        ("%resource.`is`", Member(Variable("resource"), "is")),
        ("{}", Literal("empty", None)),
        ("@2026-03", Literal("date", "2026-03")),
        ("4 'mg'", Literal("quantity", (Decimal(4), "mg"))),
        ("a.exists() // comment", Call(name("a"), "exists", ())),
        ("a.as(b) in c", Binary("in", Call(name("a"), "as", (name("b"),)), name("c"))),
    ],
)
def test_text_becomes_a_tree(text: str, tree: Any) -> None:
    assert parse_path(text) == tree


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.",
        "a b",
        "(a",
        "a)",
        "'open",
        "a[0",
        "a.where(",
        "a..b",
        "a | ",
        "#",
        "{",
        "(" * 500,
        "a" * 9000,
    ],
)
def test_broken_text_is_refused(text: str) -> None:
    with pytest.raises(PathSyntaxError) as error:
        parse_path(text)
    assert error.value.issues[0].code == "fhirpath-syntax"


PATIENT = {
    "resourceType": "Patient",
    "active": False,
    "deceasedBoolean": False,
    "name": [{"family": "Silva", "given": ["Ana", "Maria"]}, {"given": ["Aninha"]}],
    "telecom": [{"system": "phone", "value": "1"}, {"system": "email", "value": "a@b"}, {"value": "none"}],
    "extension": [
        {"url": "http://x/mother", "valueString": "Rosa"},
        {"url": "http://x/other", "valueCode": "c"},
    ],
    "generalPractitioner": [
        {"reference": "Practitioner/1"},
        {"reference": "Organization/2"},
        {"display": "?"},
    ],
    "multipleBirthInteger": 2,
}


@pytest.mark.parametrize(
    ("expression", "type", "found"),
    [
        ("Patient.name.given", "string", ["Ana", "Maria", "Aninha"]),
        ("name.family", "string", ["Silva"]),
        ("Patient.name.first().given", "string", ["Ana", "Maria"]),
        ("Patient.name.given.last()", "string", ["Aninha"]),
        ("Patient.name[1].given[0]", "string", ["Aninha"]),
        ("Patient.telecom.where(system = 'email').value", "string", ["a@b"]),
        ("Patient.telecom.where(system.exists().not()).value", "string", ["none"]),
        ("Patient.telecom.where(system != 'email').value", "string", ["1"]),
        ("Patient.telecom.where(system='email' or system='phone').value", "string", ["1", "a@b"]),
        ("Patient.extension('http://x/mother').value as string", "string", ["Rosa"]),
        ("Patient.extension.where(url = 'http://x/other').value.ofType(code)", "code", ["c"]),
        ("(Patient.multipleBirth as integer)", "integer", [2]),
        ("Patient.multipleBirth.as(Integer)", "integer", [2]),
        (
            "Patient.generalPractitioner.where(resolve() is Practitioner)",
            "Reference",
            [{"reference": "Practitioner/1"}],
        ),
        ("Patient.deceased.exists() and Patient.deceased != false", "boolean", [False]),
        ("Patient.contact.name", "HumanName", []),
        ("Practitioner.name", "", []),
        ("Resource.id | Patient.active", "boolean", [False]),
        ("%resource.active", "boolean", [False]),
    ],
)
def test_an_expression_finds_typed_values(
    types: ElementTypes, expression: str, type: str, found: list[Any]
) -> None:
    branches = resolve(expression, "Patient", types)
    values = [v for b in branches for v in selector(b)(PATIENT, PATIENT)]
    assert values == found
    assert not type or type in {b.type for b in branches}


@pytest.mark.parametrize(
    ("resource", "deceased"),
    [
        ({}, False),
        ({"deceasedBoolean": False}, False),
        ({"deceasedBoolean": True}, True),
        ({"deceasedDateTime": "2020"}, True),
    ],
)
def test_a_test_needs_a_value(types: ElementTypes, resource: dict[str, Any], deceased: bool) -> None:
    (branch,) = resolve("Patient.deceased.exists() and Patient.deceased != false", "Patient", types)
    assert selector(branch)(resource, resource) == [deceased]


@pytest.mark.parametrize(
    "expression",
    [
        "Patient.nothing",
        "Patient.name.given.nothing",
        "Patient.name.repeat(given)",
        "Patient.name.select(given)",
        "Patient.multipleBirth as Quantity",
        "Patient.birthDate + 1 year",
        "Patient.name.where(family.startsWith('S'))",
        "iif(active, name, telecom)",
        "today()",
        "'text'",
    ],
)
def test_what_search_cannot_evaluate_is_refused(types: ElementTypes, expression: str) -> None:
    with pytest.raises((NotSupported, PathSyntaxError)):
        resolve(expression, "Patient", types)


@pytest.mark.parametrize(
    "resource", [{"name": "x"}, {"name": ["x", None, 3]}, {"name": {"given": {}}}, {"name": None}]
)
def test_broken_json_selects_nothing_and_raises_nothing(
    types: ElementTypes, resource: dict[str, Any]
) -> None:
    (branch,) = resolve("Patient.name.where(family='x').given", "Patient", types)
    assert selector(branch)(resource, resource) == []


@pytest.mark.parametrize(
    ("reference", "type"),
    [
        ({"reference": "Patient/1"}, "Patient"),
        ({"reference": "http://a/fhir/Patient/1/_history/3"}, "Patient"),
        ({"reference": "Patient?identifier=http://x/y"}, "Patient"),
        ({"reference": "urn:uuid:1", "type": "Group"}, "Group"),
        ({"type": "Device"}, "Device"),
        ({"reference": "#p"}, None),
        ({"display": "x"}, None),
        ("Patient/1", None),
    ],
)
def test_the_type_a_reference_names(reference: Any, type: str | None) -> None:
    assert reference_type(reference) == type
