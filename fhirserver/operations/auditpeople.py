"""What the alert rules must know of the people behind the facts: who cares for whom, and who lives where.

The answers are references and codes; what was read to find them stays here. Source: docs/how-to/audit-alerts.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fhirserver.audit.disclosure.people import linked, meeting
from fhirserver.context import Permission
from fhirserver.operations.auditdata import read_all
from fhirserver.r4.jsontext import parse_json

if TYPE_CHECKING:
    from fhirserver.services import Services

_MOST = 1000
_IDS = 100
_ENDED_TEAMS = frozenset(("proposed", "inactive", "entered-in-error"))


async def care_teams(
    services: Services, patients: Iterable[str], permission: Permission
) -> dict[str, frozenset[str]]:
    """Who cares for each of `patients` (references): general practitioners, members of care teams, those who act for them.

    A PractitionerRole stands for its practitioner and the other way round, an organization in a team for all who work for
    it. The organization that manages a patient is no team: in a clinic that is everybody.
    """
    teams: dict[str, set[str]] = {patient: set() for patient in patients}
    for resource in await read_all(services, teams, permission):
        named = _references(resource.get("generalPractitioner") or ())
        teams[f"Patient/{resource['id']}"] |= {one for one in named if not one.startswith("Organization/")}
    for patient, team in teams.items():
        for care_team in await _found(services, "CareTeam", [("patient", patient)], permission):
            team |= set(_members(care_team, services.clock()))
        for relative in await _found(services, "RelatedPerson", [("patient", patient)], permission):
            if relative.get("active", True):
                team.add(f"RelatedPerson/{relative['id']}")
    roles = await _roles(services, set().union(*teams.values()), permission)
    return {patient: frozenset(team | _equals(team, roles)) for patient, team in teams.items()}


async def kin(
    services: Services, pairs: Iterable[tuple[str, str]], permission: Permission
) -> dict[tuple[str, str], str]:
    """The rule that each pair of a member of staff and a patient meets, own-record or same-address; the others are left out."""
    patients_of: dict[str, set[str]] = defaultdict(set)
    for user, patient in pairs:
        patients_of[user].add(patient)
    patients = set().union(*patients_of.values())
    by_reference = {f"Patient/{one['id']}": one for one in await read_all(services, patients, permission)}
    found: dict[tuple[str, str], str] = {}
    for user, theirs in patients_of.items():
        resources, own = await _human(services, user, permission)
        for patient in theirs & by_reference.keys():
            if rule := meeting(resources, own, by_reference[patient]):
                found[user, patient] = rule
    return found


async def _human(
    services: Services, user: str, permission: Permission
) -> tuple[list[dict[str, Any]], frozenset[str]]:
    """The resources of the human behind `user`, and the references of all that is known to be theirs."""
    own = {user}
    resources = await read_all(services, own, permission)
    practitioners = {one.get("practitioner", {}).get("reference", "") for one in resources} - {""}
    resources += await read_all(services, practitioners, permission)
    own |= practitioners
    for reference in sorted(own):
        for person in await _found(services, "Person", [("link", reference)], permission):
            resources.append(person)
            own |= linked(person)
    return resources, frozenset(own)


def _members(care_team: Mapping[str, Any], now: int) -> Iterator[str]:
    """Who belongs to a care team now."""
    if care_team.get("status") in _ENDED_TEAMS or _is_over(care_team, now):
        return
    for participant in care_team.get("participant") or ():
        if not _is_over(participant, now):
            yield from _references([participant.get("member", {})])


def _is_over(what: Mapping[str, Any], now: int) -> bool:
    end = what.get("period", {}).get("end", "")
    return bool(end) and end < datetime.fromtimestamp(now / 1_000_000, UTC).isoformat()[: len(end)]


async def _roles(services: Services, team: set[str], permission: Permission) -> list[dict[str, Any]]:
    """The PractitionerRoles that have to do with anybody in `team`."""
    named = await read_all(services, {one for one in team if one.startswith("PractitionerRole/")}, permission)
    by_id = {role["id"]: role for role in named}
    for parameter, type in (("practitioner", "Practitioner/"), ("organization", "Organization/")):
        keys = sorted(one for one in team if one.startswith(type))
        for at in range(0, len(keys), _IDS):
            pairs = [(parameter, ",".join(keys[at : at + _IDS]))]
            by_id |= {
                role["id"]: role for role in await _found(services, "PractitionerRole", pairs, permission)
            }
    return [role for role in by_id.values() if role.get("active", True)]


def _equals(team: set[str], roles: Iterable[Mapping[str, Any]]) -> set[str]:
    """Those whom `roles` make members of `team` beside those who are named."""
    found = set()
    for role in roles:
        own, practitioner = (
            f"PractitionerRole/{role['id']}",
            role.get("practitioner", {}).get("reference", ""),
        )
        if team & {own, practitioner, role.get("organization", {}).get("reference", "")} - {""}:
            found |= {own, practitioner} - {""}
    return found


def _references(references: Iterable[Mapping[str, Any]]) -> set[str]:
    return {one.get("reference", "").partition("/_history/")[0] for one in references} - {""}


async def _found(
    services: Services, type: str, pairs: list[tuple[str, str]], permission: Permission
) -> list[dict[str, Any]]:
    versions = await services.find(type, pairs, permission, limit=_MOST)
    return [parse_json(version.raw or b"{}") for version in versions]
