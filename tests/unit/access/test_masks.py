"""The tables of masks against R4, and how the masks of several roles go together. docs/explanation/access.md."""

from __future__ import annotations

from functools import cache

import pytest

from fhirserver.access.compartments import Compartments
from fhirserver.access.hidden import NO_ONES, PEOPLE, closed_types, masked_types
from fhirserver.access.masks import TABLES, MaskBook
from fhirserver.access.roles import DEFAULT, Roles
from fhirserver.access.scopes import parse
from fhirserver.access.situation import Situation
from fhirserver.access.vocabulary import DefinedVocabulary
from fhirserver.context import Agent
from fhirserver.r4.definitions import Definitions
from fhirserver.r4.elements import Elements
from fhirserver.search.expression import NOTHING, Equals, Ids
from fhirserver.search.mask import Mask
from fhirserver.settings import RoleSettings

REVIEWER = RoleSettings(
    all="Patient.rs Encounter.rs", masks={"Patient": "pseudonymous", "Encounter": "pseudonymous"}
)
# mask, type -> parameters that are hidden, beside _content, _text, _tag, _profile and _source, which always are
HIDDEN = {
    ("desk", "Encounter"): "account diagnosis reason-code reason-reference special-arrangement",
    ("billing", "Encounter"): "diagnosis reason-code reason-reference special-arrangement",
    ("administrative", "Patient"): "general-practitioner language mothersMaidenName",
    ("administrative", "RelatedPerson"): "",
    ("administrative", "Encounter"): "account diagnosis reason-code reason-reference special-arrangement",
    ("administrative", "Procedure"): "instantiates-canonical instantiates-uri reason-code reason-reference",
    ("desk", "Procedure"): "based-on category identifier instantiates-canonical instantiates-uri location part-of "
    "reason-code reason-reference",
    ("pseudonymous", "Patient"): "address address-city address-country address-postalcode address-state address-use email "
    "family general-practitioner given identifier language mothersMaidenName name phone phonetic telecom",
    ("pseudonymous", "Coverage"): "class-type class-value dependent identifier policy-holder subscriber",
}  # fmt: skip


@cache
def definitions() -> Definitions:
    return Definitions.load()


@cache
def book() -> MaskBook:
    return MaskBook(definitions(), Elements.load())


def masks(
    *names: str, situation: Situation | None = None, user: str | None = "u", **more: RoleSettings
) -> dict[str, Mask]:
    roles = Roles(DefinedVocabulary(definitions()), {"reviewer": REVIEWER} | more)
    agent = Agent(
        "x", user=user, fhir_user="Patient/own" if "patient" in names else None, roles=frozenset(names)
    )
    compartments = Compartments(definitions(), lambda *parts: "t/" + "/".join(parts))
    return dict(masked_types(agent, situation or Situation(), roles.known(names), book(), compartments))


@pytest.mark.parametrize(("mask", "type"), HIDDEN, ids=" ".join)
def test_parameters_are_hidden_with_the_elements_that_they_are_made_of(mask: str, type: str) -> None:
    fields = book().mask([mask], type).fields
    hidden = set(definitions().search_parameters(type)) - fields
    assert hidden == {*HIDDEN[mask, type].split(), "_content", "_text", "_tag", "_profile", "_source"}


def test_the_words_of_a_code_are_hidden_where_its_text_is() -> None:
    fields = book().mask(["administrative"], "Procedure").fields
    assert {"code", "encounter", "status", "status~text", "subject~id"} <= fields
    assert not {"code~text", "encounter~id"} & fields


@pytest.mark.parametrize(("mask", "type"), [(m, t) for m in TABLES for t in TABLES[m] if t != "Coverage"])
def test_the_compartment_of_a_patient_can_be_asked_for(mask: str, type: str) -> None:
    assert "~Patient" in book().mask([mask], type).fields


def test_the_default_roles_have_the_masks_of_the_table() -> None:
    assert {name: sorted(masks(name)) for name in DEFAULT if masks(name)} == {
        "reception": ["Encounter"],
        "billing": ["Encounter", "Patient"],
        "manager": ["Encounter", "Patient", "Procedure", "RelatedPerson", "ServiceRequest"],
    }
    assert sorted(masks("billing", user=None)) == ["Encounter", "Patient"]  # a backend with this policy
    assert masks(user=None) == {}


def test_a_role_that_sees_all_of_a_type_lifts_the_mask_of_another() -> None:
    assert set(masks("billing", "reception")) == {"Encounter"}  # the desk sees patients whole
    half, some = RoleSettings(all="Encounter.r"), RoleSettings(all="Encounter.rs?status=planned")
    assert set(masks("reception", "half", "some", half=half, some=some)) == {"Encounter"}
    assert masks("reception", "full", full=RoleSettings(all="Encounter.rs")) == {}


def test_what_either_of_two_masks_shows_is_shown_and_can_be_searched() -> None:
    both = masks("reception", "billing")["Encounter"]
    assert "account" in both.fields
    assert "account" not in masks("reception")["Encounter"].fields


def test_linked_patients_of_another_role_are_seen_whole() -> None:
    found = masks(
        "billing", "practitioner", situation=Situation(linked=frozenset(("p1",)), opened={"p2": "x"})
    )
    assert found["Patient"].rows == Ids(("p1", "p2"))
    assert found["Encounter"].rows == Equals("~Patient", ("t/Patient/p1", "t/Patient/p2"))
    assert found["Encounter"].is_whole("Encounter", "e", ("p9", "p1"))
    for patients in ((), None, ("p9",)):
        assert not found["Encounter"].is_whole("Encounter", "e", patients)
    assert not found["Patient"].is_whole("Patient", "p9", ("p9", "p1"))  # which names another one as its link
    assert masks("billing", "patient")["Patient"].whole == {"own"}


def test_an_emergency_lifts_pseudonyms_and_no_other_mask() -> None:
    opened = Situation(opened={"p1": "reason"})
    assert masks("reviewer", situation=opened)["Patient"].rows == Ids(("p1",))
    for name, type in (("billing", "Patient"), ("manager", "Encounter"), ("reception", "Encounter")):
        assert masks(name, situation=opened)[type].rows == NOTHING


@pytest.mark.parametrize(
    ("type", "mask"), [("Observation", "administrative"), ("Patient", "desk"), ("Nonsense", "desk")]
)
def test_a_mask_that_there_is_not_is_a_wrong_setting(type: str, mask: str) -> None:
    with pytest.raises(ValueError, match=r"roles\.x\.masks"):
        Roles(DefinedVocabulary(definitions()), {"x": RoleSettings(all="Patient.rs", masks={type: mask})})


@pytest.mark.parametrize(
    ("scopes", "roles", "closed"),
    [("user/*.rs", (), ""), ("user/Patient.rs", (), "Person Practitioner PractitionerRole RelatedPerson"),
     ("user/Practitioner.cu patient/Patient.r", (), "Person Practitioner PractitionerRole RelatedPerson"),
     ("openid", (), "Patient Person Practitioner PractitionerRole RelatedPerson"),
     ("user/*.cruds", ("billing", "practitioner"), "Person")],
)  # fmt: skip
def test_people_whom_no_scope_opens_are_not_shown_inside_of_others(
    scopes: str, roles: tuple[str, ...], closed: str
) -> None:
    agent = Agent("x", user="u", scopes=parse(scopes, DefinedVocabulary(definitions())))
    known = Roles(DefinedVocabulary(definitions()), {}).known(roles)
    found = closed_types(agent, known, definitions().resource_types)
    assert found & set(PEOPLE) == set(closed.split())
    assert found <= set(PEOPLE) or roles
    assert "Medication" not in found
    assert not set(NO_ONES) & found


def test_to_a_role_with_masks_the_types_that_it_does_not_read_are_closed_inside_of_others() -> None:
    agent = Agent("x", user="u", scopes=parse("user/*.rs", DefinedVocabulary(definitions())))
    billing = Roles(DefinedVocabulary(definitions()), {}).known(["billing"])
    found = closed_types(agent, billing, definitions().resource_types)
    assert {"Condition", "Observation", "RelatedPerson", "Communication"} <= found
    assert not {"Patient", "Encounter", "Claim", "Organization", "Practitioner"} & found
