"""The elements of R4 as others read them: children, choices, content references, targets, bindings, rules."""

from __future__ import annotations

import pytest

from fhirserver.r4.elements import Binding, Elements, TypeRef

ELEMENTS = Elements.load()


def test_every_resource_and_data_type_is_known() -> None:
    assert len(ELEMENTS.resource_types) == 146
    assert {"Patient", "Bundle", "Parameters"} <= ELEMENTS.resource_types
    assert not {"Resource", "DomainResource", "HumanName", "Definition"} & ELEMENTS.resource_types
    assert {"HumanName", "Extension", "Timing"} <= ELEMENTS.data_types
    assert ELEMENTS.is_primitive("xhtml")
    assert not ELEMENTS.is_primitive("Quantity")
    assert ELEMENTS.base("Patient") == "DomainResource"
    assert ELEMENTS.base("Age") == "Quantity"


def test_children_come_in_the_order_of_the_definition_inherited_ones_first() -> None:
    names = [element.name for element in ELEMENTS.children("Patient")]
    assert names[:9] == [
        "id",
        "meta",
        "implicitRules",
        "language",
        "text",
        "contained",
        "extension",
        "modifierExtension",
        "identifier",
    ]
    assert names[-1] == "link"
    assert [element.name for element in ELEMENTS.children("Period")] == ["id", "extension", "start", "end"]
    assert [element.name for element in ELEMENTS.children("string")] == ["id", "extension"]


def test_a_choice_names_each_of_its_json_properties() -> None:
    deceased = ELEMENTS.element("Patient.deceased[x]")
    assert deceased.choice
    assert deceased.name == "deceased"
    assert dict(deceased.json_names) == {"deceasedBoolean": "boolean", "deceasedDateTime": "dateTime"}
    assert dict(ELEMENTS.element("Patient.name").json_names) == {"name": "HumanName"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("Patient.name", "HumanName"),
        ("Patient.contact", "Patient.contact"),
        ("Patient.birthDate", ""),
        ("Patient.deceased", ""),
        ("Bundle.entry.resource", ""),
        ("Observation.component.referenceRange", "Observation.referenceRange"),
        ("Questionnaire.item.item", "Questionnaire.item"),
    ],
)
def test_path_says_where_the_children_are(path: str, expected: str) -> None:
    element = ELEMENTS.element(path)
    assert element.path == expected
    if expected:
        assert ELEMENTS.children(path) == ELEMENTS.children(expected)


def test_cardinality_targets_bindings_and_flags_are_those_of_the_definition() -> None:
    gender = ELEMENTS.element("Patient.gender")
    assert (gender.min, gender.max, gender.summary, gender.modifier) == (0, 1, True, False)
    assert gender.binding == Binding("required", "http://hl7.org/fhir/ValueSet/administrative-gender")
    assert ELEMENTS.element("Observation.status").modifier
    practitioner = ELEMENTS.element("Patient.generalPractitioner")
    assert practitioner.max is None
    assert practitioner.targets == ("Organization", "Practitioner", "PractitionerRole")
    assert ELEMENTS.element("Basic.subject").targets == ()
    assert ELEMENTS.element("Range.low").types == (TypeRef("Quantity", (), "SimpleQuantity"),)
    assert ELEMENTS.element("Extension.url").xml_attribute
    assert ELEMENTS.element("Narrative.div").xhtml


def test_the_id_of_a_resource_is_an_id_and_that_of_an_element_a_string() -> None:
    assert ELEMENTS.element("Patient.id").types == (TypeRef("id"),)
    assert ELEMENTS.element("Patient.contact.id").types == (TypeRef("string"),)
    assert ELEMENTS.element("HumanName.id").xml_attribute


def test_rules_stand_at_the_element_that_declares_them() -> None:
    assert [rule.key for rule in ELEMENTS.rules("Patient.contact")] == ["pat-1"]
    assert [rule.key for rule in ELEMENTS.rules("Patient")] == []
    assert "dom-3" in [rule.key for rule in ELEMENTS.rules("DomainResource")]
    assert ELEMENTS.rule("inv-1", "Task").expression.startswith("lastModified")


@pytest.mark.parametrize("path", ["Patient.nothing", "Nothing", "Patient.birthDate.x"])
def test_an_unknown_path_is_a_key_error(path: str) -> None:
    with pytest.raises(KeyError):
        ELEMENTS.children(path)


def test_every_path_and_type_can_be_read() -> None:
    for path in ELEMENTS.paths():
        for element in ELEMENTS.children(path):
            assert element.types or element.path
            if element.path:
                assert ELEMENTS.children(element.path)
