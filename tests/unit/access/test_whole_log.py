"""Rule: auditors see the whole log, whatever labels and consents say; everybody else what is theirs. docs/decisions/0091."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from fhirserver.access.compartments import Compartments
from fhirserver.access.consent import Policy, Provision
from fhirserver.access.masks import MaskBook
from fhirserver.access.plan import Planner
from fhirserver.access.roles import Roles
from fhirserver.access.scopes import parse
from fhirserver.access.situation import Situation
from fhirserver.access.vocabulary import DefinedVocabulary
from fhirserver.audit.parameters import PARAMETERS
from fhirserver.context import Agent, Interaction, Kind, Permission
from fhirserver.operations.auditreports import require_auditor
from fhirserver.outcome import Forbidden
from fhirserver.r4.definitions import Definitions
from fhirserver.r4.elements import Elements
from fhirserver.search.expression import Equals
from fhirserver.search.types.reference import Site
from fhirserver.settings import Limits, RoleSettings

DENYING = (Policy(("p1",), Provision(denies=True)),)
LOOK = Interaction(Kind.SEARCH_TYPE, "AuditEvent")


@cache
def planner() -> Planner:
    definitions = Definitions.load().with_parameters(PARAMETERS)
    site = Site("t", "https://clinic.example/fhir", frozenset(definitions.resource_types))
    roles = Roles(
        DefinedVocabulary(definitions), {"watcher": RoleSettings(all="AuditEvent.rs Observation.rs")}
    )
    masks = MaskBook(definitions, Elements.load())
    return Planner(definitions, roles, Compartments(definitions, site.key), site, Limits(), masks)


def planned(role: str, scope: str, interaction: Interaction = LOOK, **more: Any) -> Permission:
    """The permission of a user of `role` where a consent of p1 denies everything."""
    scopes = parse(scope, DefinedVocabulary(planner().definitions))
    who: dict[str, Any] = {"user": "u", "fhir_user": "Practitioner/1", "roles": frozenset((role,))}
    agent = Agent("x", client="app", scopes=scopes, **who | more)
    return planner().permission(agent, Situation(policies=DENYING), interaction)


def test_the_log_is_whole_for_an_auditor_though_a_consent_denies() -> None:
    permission = planned("auditor", "user/AuditEvent.rs user/Provenance.rs")
    assert permission.restriction("AuditEvent") is None
    assert "AuditEvent" not in permission.denied
    require_auditor(permission)


def test_the_exception_is_for_the_log_alone() -> None:
    scope, other = "user/AuditEvent.rs user/Observation.rs", Interaction(Kind.SEARCH_TYPE, "Observation")
    assert planned("watcher", scope).restriction("AuditEvent") is None
    assert planned("watcher", scope, other).restriction("Observation") is not None


def test_a_backend_with_the_scope_sees_the_whole_log_too() -> None:
    permission = planned("", "system/AuditEvent.rs", user=None, fhir_user=None, roles=frozenset())
    assert permission.restriction("AuditEvent") is None
    require_auditor(permission)


def test_a_patient_sees_their_own_part_of_it() -> None:
    who = {"fhir_user": "Patient/p1", "acts_for": frozenset(("p1",)), "patient": "p1"}
    permission = planned("patient", "patient/AuditEvent.rs", **who)
    assert permission.restriction("AuditEvent") == Equals("~Patient", ("t/Patient/p1",))
    with pytest.raises(Forbidden):
        require_auditor(permission)


def test_a_constraint_of_the_scope_holds_for_auditors_as_well() -> None:
    permission = planned("auditor", "user/AuditEvent.rs?outcome=4")
    assert permission.restriction("AuditEvent") is not None


@pytest.mark.parametrize("role", ["practitioner", "reception", "billing", "manager", "admin", "patient"])
def test_other_roles_do_not_see_it_whatever_their_scopes(role: str) -> None:
    with pytest.raises(Forbidden):
        require_auditor(planned(role, "user/AuditEvent.rs user/*.rs"))


@pytest.mark.parametrize("kind", [Kind.CREATE, Kind.UPDATE, Kind.PATCH, Kind.DELETE])
def test_nobody_with_an_account_writes_to_it(kind: Kind) -> None:
    with pytest.raises(Forbidden):
        planned("auditor", "user/AuditEvent.cruds", Interaction(kind, "AuditEvent", "1", body={}))
