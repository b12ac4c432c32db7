"""Snapshots from differentials. Source: hl7.org/fhir/R4/profiling.html, elementdefinition.html."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from fhirserver.outcome import Unprocessable
from fhirserver.r4.elements import Elements
from fhirserver.r4.snapshot import Snapshots
from tests.unit.validation.profilekit import CANONICAL, R4, Rows, profile, sliced

Json = dict[str, Any]


@cache
def elements() -> Elements:
    return Elements.load()


def snapshot(*definitions: Json) -> dict[str, Json]:
    """The elements of the last definition's snapshot by id."""
    known = {definition["url"]: definition for definition in definitions}
    made = Snapshots(elements(), known).snapshot(definitions[-1]["url"])
    return {element["id"]: element for element in made}


def of(type: str, rows: Rows) -> dict[str, Json]:
    return snapshot(profile("x", type, rows))


def test_an_empty_differential_leaves_the_type_as_it_is() -> None:
    made = of("Patient", {})
    assert made["Patient.name"]["max"] == "*"
    assert made["Patient.contact.name"]["type"] == [{"code": "HumanName"}]
    assert made["Patient.gender"]["binding"]["strength"] == "required"
    assert "Patient.name.family" not in made
    assert {rule["key"] for rule in made["Patient"]["constraint"]} >= {"dom-2", "dom-6"}


def test_elements_keep_the_order_of_the_type_and_slices_follow_their_element() -> None:
    made = list(
        of("Patient", {"identifier": sliced("value", "system"), "identifier:a.system": {"fixedUri": "urn:a"}})
    )
    assert made.index("Patient.identifier:a") == made.index("Patient.identifier") + 1
    assert made.index("Patient.identifier:a.system") < made.index("Patient.active")


def test_a_data_type_is_unfolded_where_the_profile_walks_into_it() -> None:
    made = of("Patient", {"name.family": {"min": 1}})
    assert made["Patient.name.family"]["min"] == 1
    assert made["Patient.name.given"]["max"] == "*"
    assert made["Patient.name.family"]["base"] == {"path": "HumanName.family", "min": 0, "max": "1"}


def test_a_content_reference_is_unfolded_where_the_profile_walks_into_it() -> None:
    assert of("Observation", {"component.referenceRange.text": {"min": 1}})[
        "Observation.component.referenceRange.text"
    ]["min"] == 1  # fmt: skip


def test_a_profile_on_a_data_type_is_unfolded_with_what_it_says() -> None:
    inner = profile("id", "Identifier", {"system": {"fixedUri": "urn:a"}})
    outer = profile(
        "x",
        "Patient",
        {
            "identifier": {"type": [{"code": "Identifier", "profile": [inner["url"]]}]},
            "identifier.value": {"min": 1},
        },
    )
    made = snapshot(inner, outer)
    assert made["Patient.identifier.system"]["fixedUri"] == "urn:a"
    assert made["Patient.identifier.value"]["min"] == 1


def test_a_profile_on_a_profile_adds_slices_to_its_slicing() -> None:
    below = profile("below", "Patient", {"identifier": sliced("value", "system"), "identifier:a": {"min": 1}})
    above = profile("above", "Patient", {"identifier:b": {"max": "1"}}, base=below["url"])
    made = snapshot(below, above)
    assert made["Patient.identifier:a"]["min"] == 1
    assert made["Patient.identifier:b"]["max"] == "1"
    assert made["Patient.identifier"]["slicing"]["rules"] == "open"


def test_elements_without_ids_find_their_place_by_path_slice_name_and_order() -> None:
    definition = profile("x", "Patient", {})
    definition["differential"]["element"] = [
        {"path": "Patient.identifier", **sliced("value", "system")},
        {"path": "Patient.identifier", "sliceName": "a"},
        {"path": "Patient.identifier.system", "fixedUri": "urn:a"},
        {"path": "Patient.identifier", "sliceName": "b"},
        {"path": "Patient.identifier.system", "fixedUri": "urn:b"},
    ]
    made = snapshot(definition)
    assert made["Patient.identifier:a.system"]["fixedUri"] == "urn:a"
    assert made["Patient.identifier:b.system"]["fixedUri"] == "urn:b"


def test_one_named_type_of_a_choice_leaves_no_other_and_two_become_slices() -> None:
    one = of("Observation", {"valueQuantity": {"min": 1}})
    assert one["Observation.value[x]"]["type"] == [{"code": "Quantity"}]
    assert one["Observation.value[x]:valueQuantity"]["min"] == 1
    two = of("Observation", {"valueQuantity": {}, "valueString": {}})
    assert len(two["Observation.value[x]"]["type"]) == 11
    assert two["Observation.value[x]:valueString"]["type"] == [{"code": "string"}]


def test_a_slice_starts_optional() -> None:
    made = of("Patient", {"name": {"min": 1, **sliced("value", "use")}, "name:a": {}})
    assert (made["Patient.name"]["min"], made["Patient.name:a"]["min"]) == (1, 0)


WEAKER = {"gender": {"binding": {"strength": "example"}}}
IMPOSSIBLE: list[tuple[str, str, Rows, str, str]] = [
    ("a lower minimum", "Observation", {"status": {"min": 0}}, "profile-cardinality", "element[0].min"),
    ("a higher maximum", "Patient", {"gender": {"max": "2"}}, "profile-cardinality", "element[0].max"),
    ("no maximum where there is one", "Patient", {"gender": {"max": "*"}}, "profile-cardinality", "element[0].max"),
    ("more at least than at most", "Patient", {"name": {"min": 2, "max": "1"}}, "profile-cardinality", "element[0].min"),
    ("a maximum that is no number", "Patient", {"name": {"max": "many"}}, "profile-cardinality", "element[0].max"),
    ("a type that the element has not", "Observation", {"value[x]": {"type": [{"code": "Money"}]}}, "profile-types", "element[0].type"),
    ("an element that the type has not", "Patient", {"nickname": {"min": 1}}, "profile-path", "element[0].path"),
    ("a child of a primitive that it has not", "Patient", {"gender.x": {}}, "profile-path", "element[0].path"),
    ("children of a choice of many types", "Observation", {"value[x].unit": {}}, "profile-types", "element[0].path"),
    ("a slice of what is not sliced", "Patient", {"name:a": {}}, "profile-slicing", "element[0].sliceName"),
    ("a binding that is weaker", "Patient", WEAKER, "profile-binding", "element[0].binding.strength"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("type", "rows", "code", "place"), [case[1:] for case in IMPOSSIBLE], ids=[case[0] for case in IMPOSSIBLE]
)
def test_what_cannot_be_is_refused_at_its_place(type: str, rows: Rows, code: str, place: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        of(type, rows)
    [issue] = refused.value.issues
    assert (issue.code, issue.expression) == (code, (f"StructureDefinition.differential.{place}",))


def test_a_path_of_another_type_an_unknown_base_and_a_circle_are_refused() -> None:
    other = profile("x", "Patient", {})
    other["differential"]["element"] = [{"path": "Observation.status"}]
    circle = [
        profile("a", "Patient", {}, base=CANONICAL + "b"),
        profile("b", "Patient", {}, base=CANONICAL + "a"),
    ]
    for definitions, code in (
        ([other], "profile-path"),
        ([profile("x", "Patient", {}, base="urn:nowhere")], "profile-unknown-base"),
        ([profile("x", "Patient", {}, base=R4 + "Observation")], "profile-type"),
        (circle, "profile-circular"),
    ):
        with pytest.raises(Unprocessable) as refused:
            snapshot(*definitions)
        assert refused.value.issues[0].code == code


def test_the_tree_of_a_base_is_not_changed_by_what_rests_on_it() -> None:
    below = profile("below", "Patient", {})
    snapshots = Snapshots(
        elements(),
        {d["url"]: d for d in (below, profile("x", "Patient", {"name": {"max": "1"}}, base=below["url"]))},
    )
    assert {e["id"]: e for e in snapshots.snapshot(CANONICAL + "x")}["Patient.name"]["max"] == "1"
    assert {e["id"]: e for e in snapshots.snapshot(below["url"])}["Patient.name"]["max"] == "*"


MALFORMED: list[Any] = [
    "text",
    {"path": 1},
    {"path": "Patient", "min": "1"},
    {"path": "Patient", "min": True},
    {"path": "Patient", "max": 1},
    {"path": "Patient.name", "type": [{"code": 1}]},
    {"path": "Patient.name", "type": [{"code": "HumanName", "profile": "x"}]},
    {"path": "Patient.name", "slicing": {"discriminator": [{"path": "x"}]}},
    {"path": "Patient.name", "binding": {"valueSet": 1}},
    {"path": "Patient.name", "constraint": [{"human": "x"}]},
    {"path": "Patient.name", "constraint": [{"key": "x", "expression": 1}]},
]


@pytest.mark.parametrize("row", MALFORMED)
def test_an_element_of_another_form_is_refused(row: Any) -> None:
    definition = profile("x", "Patient", {})
    definition["differential"]["element"] = [row]
    with pytest.raises(Unprocessable) as refused:
        snapshot(definition)
    assert refused.value.issues[0].code == "profile-malformed"
