"""FHIRPath Patch: hl7.org/fhir/R4/fhirpatch.html; the situations of the public vectors, and errors."""

import copy
from typing import Any

import pytest

from fhirserver.outcome import BadRequest, OutcomeError, Unprocessable
from fhirserver.r4.elements import Elements
from fhirserver.r4.fhirpathpatch import apply_fhirpath_patch
from fhirserver.r4.jsontext import ExactDecimal, dump_json

ELEMENTS = Elements.load()
Json = dict[str, Any]


def op(type: str, path: str, **parts: Any) -> Json:
    """An operation; `value` is given as the content of its part: {"valueCode": "x"} or {"part": [...]}."""
    part: list[Json] = [{"name": "type", "valueCode": type}, {"name": "path", "valueString": path}]
    for name, value in parts.items():
        if name == "value":
            part.append({"name": "value", **value})
        else:
            part.append({"name": name, "valueInteger" if isinstance(value, int) else "valueString": value})
    return {"name": "operation", "part": part}


def apply(resource: Json, *operations: Json) -> Json:
    untouched = copy.deepcopy(resource)
    parameters: Json = {"resourceType": "Parameters"}
    if operations:
        parameters["parameter"] = list(operations)
    try:
        return apply_fhirpath_patch(resource, parameters, ELEMENTS)
    finally:
        assert resource == untouched


def patient(**content: Any) -> Json:
    return {"resourceType": "Patient", "id": "p", **content}


def refused(resource: Json, *operations: Json) -> OutcomeError:
    with pytest.raises(OutcomeError) as caught:
        apply(resource, *operations)
    return caught.value


def part(name: str, **content: Any) -> Json:
    return {"name": name, **content}


def identifiers(*values: int) -> list[Json]:
    return [{"system": "http://example.org", "value": f"value {value}"} for value in values]


THREE = {"valueIdentifier": identifiers(3)[0]}
BIRTH_TIME = {"extension": [{"url": "http://example.org/time", "valueDateTime": "1974-12-25T14:35:45-05:00"}]}


@pytest.mark.parametrize(
    ("before", "operations", "after"),
    [
        ({"birthDate": "1920-01-01"}, [], {"birthDate": "1920-01-01"}),
        (
            {"birthDate": "1920-01-01"},
            [op("replace", "Patient.birthDate", value={"valueDate": "1930-01-01"})],
            {"birthDate": "1930-01-01"},
        ),
        ({"birthDate": "1920-01-01"}, [op("delete", "Patient.birthDate")], {}),
        ({}, [op("delete", "Patient.birthDate")], {}),
        ({"birthDate": "1920-01-01", "_birthDate": BIRTH_TIME}, [op("delete", "Patient.birthDate")], {}),
        (
            {"birthDate": "1920-01-01", "_birthDate": BIRTH_TIME},
            [op("replace", "birthDate", value={"valueDate": "1930"})],
            {"birthDate": "1930"},
        ),
        (
            {},
            [op("add", "Patient", name="birthDate", value={"valueDate": "1930", "_valueDate": BIRTH_TIME})],
            {"birthDate": "1930", "_birthDate": BIRTH_TIME},
        ),
        (
            {"contact": [{"name": {"text": "a name"}, "gender": "male"}]},
            [op("replace", "Patient.contact[0].gender", value={"valueCode": "female"})],
            {"contact": [{"name": {"text": "a name"}, "gender": "female"}]},
        ),
        (
            {"contact": [{"name": {"text": "a name"}, "gender": "male"}]},
            [op("replace", "Patient.contact[0].name.text", value={"valueString": "the name"})],
            {"contact": [{"name": {"text": "the name"}, "gender": "male"}]},
        ),
        (
            {"contact": [{"name": {"text": "a name"}, "gender": "male"}]},
            [op("delete", "Patient.contact[0].gender")],
            {"contact": [{"name": {"text": "a name"}}]},
        ),
        (  # what is left empty goes too
            {"contact": [{"name": {"text": "a name"}, "gender": "male"}]},
            [op("delete", "Patient.contact[0].name.text")],
            {"contact": [{"gender": "male"}]},
        ),
        ({"contact": [{"name": {"text": "a name"}}]}, [op("delete", "Patient.contact[0].name.text")], {}),
        (
            {"contact": [{"name": {"text": "a name"}}]},
            [op("add", "Patient.contact[0]", name="gender", value={"valueCode": "male"})],
            {"contact": [{"name": {"text": "a name"}, "gender": "male"}]},
        ),
        (
            {},
            [op("add", "Patient", name="maritalStatus", value={"valueCodeableConcept": {"text": "married"}})],
            {"maritalStatus": {"text": "married"}},
        ),
        (
            {"maritalStatus": {"id": "1", "text": "married"}},
            [
                op(
                    "replace",
                    "Patient.maritalStatus",
                    value={"valueCodeableConcept": {"id": "2", "text": "not"}},
                )
            ],
            {"maritalStatus": {"id": "2", "text": "not"}},
        ),
        ({"maritalStatus": {"text": "married"}}, [op("delete", "Patient.maritalStatus")], {}),
        (
            {},
            [
                op(
                    "add",
                    "Patient",
                    name="contact",
                    value={
                        "part": [
                            part("name", valueHumanName={"text": "a name"}),
                            part("telecom", valueContactPoint={"value": "1"}),
                            part("telecom", valueContactPoint={"value": "2"}),
                        ]
                    },
                )
            ],
            {"contact": [{"name": {"text": "a name"}, "telecom": [{"value": "1"}, {"value": "2"}]}]},
        ),
        ({"contact": [{"name": {"text": "a"}}]}, [op("delete", "Patient.contact[0]")], {}),
        (
            {"identifier": identifiers(1, 2)},
            [
                op("replace", "Patient.identifier[0].value", value={"valueString": "value 2"}),
                op("replace", "Patient.identifier[1].value", value={"valueString": "value 1"}),
            ],
            {"identifier": identifiers(2, 1)},
        ),
        (
            {"identifier": identifiers(1, 2)},
            [op("add", "Patient", name="identifier", value=THREE)],
            {"identifier": identifiers(1, 2, 3)},
        ),
        (
            {"identifier": identifiers(1, 2)},
            [op("insert", "Patient.identifier", index=2, value=THREE)],
            {"identifier": identifiers(1, 2, 3)},
        ),
        (
            {"identifier": identifiers(1, 2)},
            [op("insert", "Patient.identifier", index=1, value=THREE)],
            {"identifier": identifiers(1, 3, 2)},
        ),
        (
            {"identifier": identifiers(1, 2)},
            [op("insert", "Patient.identifier", index=0, value=THREE)],
            {"identifier": identifiers(3, 1, 2)},
        ),
        ({}, [op("insert", "Patient.identifier", index=0, value=THREE)], {"identifier": identifiers(3)}),
        (
            {"identifier": identifiers(1, 2, 3)},
            [op("delete", "Patient.identifier[0]")],
            {"identifier": identifiers(2, 3)},
        ),
        (
            {"identifier": identifiers(1, 2, 3)},
            [op("delete", "Patient.identifier[2]")],
            {"identifier": identifiers(1, 2)},
        ),
        ({"identifier": identifiers(1)}, [op("delete", "Patient.identifier")], {}),
        (
            {"identifier": identifiers(1, 2)},
            [op("replace", "Patient.identifier[0]", value=THREE)],
            {"identifier": identifiers(3, 2)},
        ),
        (
            {"identifier": identifiers(1, 2, 3, 4)},
            [op("move", "Patient.identifier", source=3, destination=1)],
            {"identifier": identifiers(1, 4, 2, 3)},
        ),
        (
            {"identifier": identifiers(1, 2, 3, 4)},
            [op("move", "Patient.identifier", source=3, destination=0)],
            {"identifier": identifiers(4, 1, 2, 3)},
        ),
        (
            {"identifier": identifiers(1, 2, 3, 4)},
            [op("move", "Patient.identifier", source=0, destination=3)],
            {"identifier": identifiers(2, 3, 4, 1)},
        ),
        (
            {"identifier": identifiers(1, 2, 3, 4)},
            [
                op("move", "Patient.identifier", source=1, destination=0),
                op("move", "Patient.identifier", source=2, destination=1),
                op("move", "Patient.identifier", source=3, destination=2),
            ],
            {"identifier": identifiers(2, 3, 4, 1)},
        ),
        (  # a later operation sees what the earlier ones did
            {},
            [
                op("add", "Patient", name="name", value={"valueHumanName": {"family": "A"}}),
                op("insert", "Patient.name[0].given", index=0, value={"valueString": "G"}),
            ],
            {"name": [{"family": "A", "given": ["G"]}]},
        ),
        (  # choice elements
            {"deceasedBoolean": False},
            [op("replace", "Patient.deceased", value={"valueDateTime": "2020"})],
            {"deceasedDateTime": "2020"},
        ),
        (
            {},
            [op("add", "Patient", name="deceased", value={"valueBoolean": True})],
            {"deceasedBoolean": True},
        ),
        ({"deceasedBoolean": True}, [op("delete", "Patient.deceased.ofType(boolean)")], {}),
        (
            {"deceasedBoolean": True},
            [op("delete", "(Patient.deceased as dateTime)")],
            {"deceasedBoolean": True},
        ),
        # repeating primitives and what stands beside them
        (
            {"name": [{"given": ["A", "B"], "_given": [None, {"id": "b"}]}]},
            [op("move", "Patient.name[0].given", source=1, destination=0)],
            {"name": [{"given": ["B", "A"], "_given": [{"id": "b"}, None]}]},
        ),
        (
            {"name": [{"given": ["A", "B"], "_given": [None, {"id": "b"}]}]},
            [op("delete", "Patient.name[0].given[1]")],
            {"name": [{"given": ["A"]}]},
        ),
        (
            {"name": [{"given": ["A", "B"]}]},
            [
                op(
                    "add",
                    "Patient.name.given[1]",
                    name="extension",
                    value={
                        "part": [
                            part("url", valueUri="http://example.org/x"),
                            part("value", valueDecimal=ExactDecimal("1.00")),
                        ]
                    },
                )
            ],
            {
                "name": [
                    {
                        "given": ["A", "B"],
                        "_given": [
                            None,
                            {
                                "extension": [
                                    {"url": "http://example.org/x", "valueDecimal": ExactDecimal("1.00")}
                                ]
                            },
                        ],
                    }
                ]
            },
        ),
        (
            {"birthDate": "1974-12-25", "_birthDate": BIRTH_TIME},
            [op("delete", "Patient.birthDate.extension('http://example.org/time')")],
            {"birthDate": "1974-12-25"},
        ),
        (
            {
                "name": [
                    {
                        "given": ["A", None],
                        "_given": [{"extension": [{"url": "u", "valueCode": "x"}]}, {"id": "b"}],
                    }
                ]
            },
            [op("delete", "Patient.name.given[0].extension")],
            {"name": [{"given": ["A", None], "_given": [None, {"id": "b"}]}]},
        ),
        # paths with functions
        (
            {"telecom": [{"system": "phone", "value": "1"}, {"system": "email", "value": "2"}]},
            [op("replace", "Patient.telecom.where(system = 'email').value", value={"valueString": "3"})],
            {"telecom": [{"system": "phone", "value": "1"}, {"system": "email", "value": "3"}]},
        ),
        (
            {"telecom": [{"system": "phone", "rank": 1}, {"system": "phone", "use": "old"}]},
            [op("delete", "Patient.telecom.where(system = 'phone' and use.exists())")],
            {"telecom": [{"system": "phone", "rank": 1}]},
        ),
        (
            {"telecom": [{"system": "phone", "rank": 1}, {"system": "phone", "rank": 2}]},
            [op("delete", "Patient.telecom.where(rank = 2 or value.startsWith('+'))")],
            {"telecom": [{"system": "phone", "rank": 1}]},
        ),
        (
            {"identifier": identifiers(1, 2)},
            [op("delete", "Patient.identifier.first()")],
            {"identifier": identifiers(2)},
        ),
        (
            {"identifier": identifiers(1, 2)},
            [op("delete", "Patient.identifier.last()")],
            {"identifier": identifiers(1)},
        ),
        (
            {"contained": [{"resourceType": "Organization", "id": "o", "name": "x"}]},
            [op("replace", "Patient.contained.ofType(Organization).name", value={"valueString": "y"})],
            {"contained": [{"resourceType": "Organization", "id": "o", "name": "y"}]},
        ),
        (
            {},
            [
                op(
                    "add",
                    "Patient",
                    name="contained",
                    value={"resource": {"resourceType": "Organization", "id": "o"}},
                )
            ],
            {"contained": [{"resourceType": "Organization", "id": "o"}]},
        ),
        (
            {"text": {"status": "generated", "div": "<div/>"}},
            [op("replace", "Patient.text.div", value={"valueString": "<div>x</div>"})],
            {"text": {"status": "generated", "div": "<div>x</div>"}},
        ),
    ],
)
def test_operations_make_the_resource(before: Json, operations: list[Json], after: Json) -> None:
    result = apply(patient(**before), *operations)
    assert result == patient(**after)
    assert dump_json(dict(sorted(result.items()))) == dump_json(dict(sorted(patient(**after).items())))


IDENTIFIED = {"identifier": identifiers(1, 2), "birthDate": "1920-01-01"}


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        (op("replace", "Patient.gender", value={"valueCode": "male"}), "patch-path"),
        (op("replace", "Patient.nothing", value={"valueCode": "male"}), "patch-path"),
        (op("replace", "Group.type", value={"valueCode": "person"}), "patch-path"),
        (op("replace", "Patient", value={"valueCode": "male"}), "patch-path"),
        (op("replace", "Patient.identifier", value=THREE), "patch-path-many"),
        (op("replace", "Patient.identifier[2]", value=THREE), "patch-path"),
        (op("delete", "Patient.identifier"), "patch-path-many"),
        (op("delete", "Patient.identifier.value"), "patch-path-many"),
        (op("delete", "Patient"), "patch-path"),
        (op("add", "Patient.identifier", name="use", value={"valueCode": "old"}), "patch-path-many"),
        (op("add", "Patient.contact[0]", name="gender", value={"valueCode": "male"}), "patch-path"),
        (op("add", "Patient", name="nothing", value={"valueCode": "male"}), "patch-path"),
        (op("add", "Patient", name="birthDate", value={"valueDate": "1930"}), "patch-exists"),
        (op("add", "Patient", name="active", value={"valueIdentifier": {}}), "patch-value"),
        (op("add", "Patient", name="maritalStatus", value={"valueString": "x"}), "patch-value"),
        (op("add", "Patient", name="deceased", value={"valueQuantity": {"value": 1}}), "patch-value"),
        (op("add", "Patient", name="deceased", value={"part": []}), "patch-value"),
        (op("add", "Patient", name="contact", value={"part": []}), "patch-value"),
        (
            op("add", "Patient", name="contact", value={"part": [part("nothing", valueCode="x")]}),
            "patch-value",
        ),
        (
            op(
                "add",
                "Patient",
                name="contact",
                value={"part": [part("gender", valueCode="male"), part("gender", valueCode="female")]},
            ),
            "patch-value",
        ),
        (op("add", "Patient", name="gender", value={"valueCode": "x", "valueString": "x"}), "patch-value"),
        (op("add", "Patient", name="gender", value={}), "patch-value"),
        (op("insert", "Patient.identifier", index=3, value=THREE), "patch-index"),
        (op("insert", "Patient.identifier", index=-1, value=THREE), "patch-index"),
        (op("insert", "Patient.birthDate", index=0, value={"valueDate": "1930"}), "patch-path"),
        (op("insert", "Patient", index=0, value=THREE), "patch-path"),
        (op("move", "Patient.identifier", source=0, destination=2), "patch-index"),
        (op("move", "Patient.identifier", source=2, destination=0), "patch-index"),
        (op("move", "Patient.name", source=0, destination=0), "patch-index"),
        (op("replace", "Patient.id", value={"valueId": "q"}), "patch-identity"),
        (op("delete", "Patient.id"), "patch-identity"),
    ],
)
def test_operation_that_does_not_fit_is_refused(operation: Json, code: str) -> None:
    error = refused(patient(**IDENTIFIED), operation)
    assert isinstance(error, Unprocessable)
    assert error.issues[0].code == code


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        (op("delete", "Patient.identifier["), "fhirpath-syntax"),
        (op("delete", ""), "fhirpath-syntax"),
        (op("delete", "Patient.repeat(contact)"), "fhirpath-not-supported"),
        (op("delete", "Patient.descendants()"), "fhirpath-not-supported"),
        (op("delete", "Patient.name | Patient.contact.name"), "fhirpath-not-supported"),
        (op("delete", "Patient.identifier.where(value.matches('(a+)+$'))"), "fhirpath-not-supported"),
        (op("delete", "%resource.name"), "fhirpath-not-supported"),
        (op("remove", "Patient.name"), "patch-syntax"),
        (op("delete", "Patient.name", index=1), "patch-syntax"),
        (op("add", "Patient", value={"valueCode": "x"}), "patch-syntax"),
        (op("insert", "Patient.name", index="0", value={"valueCode": "x"}), "patch-syntax"),
        ({"name": "operation"}, "patch-syntax"),
        ({"name": "other", "part": []}, "patch-syntax"),
        ({"name": "operation", "part": [{"name": "type", "valueCode": "delete"}] * 2}, "patch-syntax"),
        ({"name": "operation", "part": [1]}, "patch-syntax"),
    ],
)
def test_malformed_operation_is_refused(operation: Json, code: str) -> None:
    error = refused(patient(**IDENTIFIED), operation)
    assert isinstance(error, BadRequest)
    assert error.issues[0].code == code


def test_refusal_names_the_operation_and_a_path_without_values() -> None:
    good = op("replace", "Patient.birthDate", value={"valueDate": "1930"})
    error = refused(patient(**IDENTIFIED), good, op("replace", "Patient.gender", value={"valueCode": "x"}))
    assert error.issues[0].text.startswith("Operation 2:")
    assert error.issues[0].expression == ("Patient.gender",)
    secret = op("replace", "Patient.identifier.where(value = 'secret').use", value={"valueCode": "x"})
    error = refused(patient(**IDENTIFIED), secret)
    assert "secret" not in str(error.to_json())


@pytest.mark.parametrize(
    "parameters", [None, [], {}, {"resourceType": "Patient"}, {"resourceType": "Parameters", "parameter": {}}]
)
def test_body_that_is_no_parameters_is_refused(parameters: Any) -> None:
    with pytest.raises(BadRequest) as caught:
        apply_fhirpath_patch(patient(), parameters, ELEMENTS)
    assert caught.value.issues[0].code == "patch-syntax"


def test_work_is_limited() -> None:
    many = [op("delete", "Patient.gender")] * 1001
    assert refused(patient(), *many).issues[0].code == "patch-too-large"
    wide = patient(name=[{"given": ["a"] * 500}] * 10)
    assert refused(wide, *[op("delete", "Patient.name.given.where($this = 'b')")] * 50).issues[0].code == (
        "patch-too-large"
    )


def test_given_value_is_not_shared_with_the_patch() -> None:
    value = {"valueHumanName": {"given": ["A"]}}
    add = op("add", "Patient", name="name", value=value)
    result = apply(patient(), add, add, op("replace", "Patient.name[0].given[0]", value={"valueString": "B"}))
    assert result["name"] == [{"given": ["B"]}, {"given": ["A"]}]
