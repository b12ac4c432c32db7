"""What patients reach of each type, and what roles may hold at most. docs/explanation/access.md."""

from __future__ import annotations

from functools import cache

import pytest

from fhirserver.access.compartments import KNOWLEDGE, Compartments
from fhirserver.access.labels import SYSTEM_OF, uncleared
from fhirserver.access.roles import DEFAULT, ROWS, Roles
from fhirserver.access.scopes import narrow, parse
from fhirserver.access.vocabulary import DefinedVocabulary
from fhirserver.r4.definitions import Definitions
from fhirserver.search.expression import EVERYTHING, Equals, Ids, Missing, Only, Or
from fhirserver.settings import RoleSettings


@cache
def definitions() -> Definitions:
    return Definitions.load()


def compartments() -> Compartments:
    return Compartments(definitions(), lambda *parts: "t/" + "/".join(parts))


def roles(**more: RoleSettings) -> Roles:
    return Roles(DefinedVocabulary(definitions()), more)


# R4's own list, with the types that this server leaves out of a patient's reach
MEMBERS = {
    type for type, codes in Definitions.load().compartment("Patient").items() if codes
} - {"Group", "Person", "Patient", "Schedule"}  # fmt: skip


def test_the_members_of_the_compartment_are_those_of_r4() -> None:
    assert len(MEMBERS) == 62
    for type in definitions().resource_types:
        rows = compartments().rows(type, "r", ("p1",))
        if type in MEMBERS:
            assert rows == Equals("~Patient", ("t/Patient/p1",)), type
            writable = "c" in compartments().letters(type)
            assert compartments().rows(type, "c", ("p1",)) == (
                Only("~Patient", "t/Patient/p1") if writable else None
            )


@pytest.mark.parametrize(
    "type", ["Group", "Person", "Task", "Subscription", "Bundle", "MessageHeader", "Linkage"]
)
def test_what_lists_others_or_is_not_known_is_out_of_reach(type: str) -> None:
    assert all(compartments().rows(type, letter, ("p1",)) is None for letter in "cruds")


def test_the_special_types_have_their_rules() -> None:
    rows = compartments().rows
    assert rows("Patient", "r", ("p1", "p2")) == Ids(("p1", "p2"))
    assert [rows("Patient", letter, ("p1",)) for letter in "cd"] == [None, None]
    assert rows("Schedule", "s", ("p1",)) == Or((Missing("~Patient"), Equals("~Patient", ("t/Patient/p1",))))
    assert rows("Device", "s", ("p1",)) == Or((Missing("patient"), Equals("patient", ("t/Patient/p1",))))
    assert [rows("Binary", letter, ("p1",)) for letter in "crus"] == [None, EVERYTHING, None, None]
    for type in (*KNOWLEDGE, "Practitioner", "ValueSet", "Slot"):
        assert [rows(type, letter, ("p1",)) for letter in "cruds"] == [
            None,
            EVERYTHING,
            None,
            None,
            EVERYTHING,
        ]
    for type, letters in (("AuditEvent", "rs"), ("Provenance", "rs"), ("Consent", "crus")):
        assert compartments().letters(type) == set(letters)
    assert rows("Observation", "r", ()) is None


@pytest.mark.parametrize(
    ("token", "left"),
    [("patient/Observation.cruds", "patient/Observation.cruds"), ("patient/Group.rs", None),
     ("patient/Practitioner.cruds", "patient/Practitioner.rs"), ("patient/*.cruds", "patient/*.cruds"),
     ("user/Group.rs", "user/Group.rs"), ("patient/Patient.read", "patient/Patient.read")],
)  # fmt: skip
def test_a_patient_scope_is_cut_to_what_it_can_reach(token: str, left: str | None) -> None:
    (scope,) = parse(token, DefinedVocabulary(definitions())).resources
    found = compartments().within_patient_level(scope)
    assert (None if found is None else str(found)) == left


def test_no_role_deletes_and_the_trail_is_the_auditors() -> None:
    known = roles()
    for name in DEFAULT:
        granted = {rows: known[name].grants[rows] for rows in ROWS}
        assert all("d" not in scope.letters for scopes in granted.values() for scope in scopes), name
        named = {scope.type for scopes in granted.values() for scope in scopes}
        assert ("AuditEvent" in named) == (name in ("auditor", "patient"))
        assert "*" not in named
    assert {str(s) for s in known["auditor"].grants["all"]} == {"user/AuditEvent.rs", "user/Provenance.rs"}


@pytest.mark.parametrize("role", ["manager", "custodian"])
def test_who_gets_figures_is_granted_the_scope_for_them_and_no_more(role: str) -> None:
    asked = parse("user/AuditEvent.rs", DefinedVocabulary(definitions())).resources
    assert [str(scope) for scope in narrow(asked, roles().ceiling([role]))] == ["user/AuditEvent.s"]
    assert narrow(asked, roles().ceiling(["practitioner"])) == ()


def test_a_role_of_the_settings_replaces_or_adds() -> None:
    known = roles(
        reception=RoleSettings(all="Patient.r"),
        triage=RoleSettings(linked="Observation.rs", clearance=["HIV"]),
    )
    assert [str(s) for s in known["reception"].grants["all"]] == ["user/Patient.r"]
    assert {str(s) for s in known.ceiling(["triage"])} == {"user/Observation.rs", "patient/*.rs"}
    assert known.ceiling(["unknown"]) == ()
    for wrong in ("Patient", "patient.rs", "Patient.x", "Nonsense.rs", "*.rs", "user/Patient.rs"):
        with pytest.raises(ValueError, match=r"roles\.x\.all"):
            roles(x=RoleSettings(all=wrong))


def test_clearance_adds_up_over_roles() -> None:
    known = roles(triage=RoleSettings(clearance=["HIV"]))
    none = uncleared(known.known(["reception"]))
    assert len(none) == 2 * len(SYSTEM_OF)
    doctor = uncleared(known.known(["practitioner", "triage"]))
    assert not [entry for entry in doctor if entry.endswith(("|R", "|HIV"))]
    assert len(doctor) == len(none) - 4
    assert uncleared(known.known(["patient", "reception"])) == ()
