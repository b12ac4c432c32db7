"""What is hidden of each type: the masks of a user's roles taken together, and what is not shown inside of others.

Source: docs/explanation/access.md
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fhirserver.access.compartments import Compartments
from fhirserver.access.masks import MaskBook
from fhirserver.access.roles import Role
from fhirserver.access.situation import Situation, patients_of
from fhirserver.context import Agent
from fhirserver.search.mask import Mask

PEOPLE = ("Patient", "Person", "Practitioner", "PractitionerRole", "RelatedPerson")
NO_ONES = ("OperationOutcome", "Parameters")  # types that hold no one's data
_READ = frozenset("rs")


def masked_types(
    agent: Agent, situation: Situation, roles: tuple[Role, ...], book: MaskBook, compartments: Compartments
) -> Mapping[str, Mask]:
    """The masks by type; none on a type that one of the roles sees whole, and none for a backend without a policy."""
    found = {}
    for type in {type for role in roles for type in role.masks}:
        whole = _whole(agent, situation, roles, type)
        if whole is None:
            continue
        mask = book.mask((role.masks[type] for role in roles if type in role.masks), type)
        rows = compartments.linked(type, whole) if whole else None
        found[type] = mask if rows is None else replace(mask, whole=whole, rows=rows)
    return found


def closed_types(agent: Agent, roles: tuple[Role, ...], types: Iterable[str]) -> frozenset[str]:
    """The types that are not shown inside of others: people, where no scope of the token opens their type.

    `roles`: of an agent from whom something is hidden; then also what none of them opens.
    """
    scopes = agent.scopes.resources if agent.scopes is not None else ()
    reading = [scope for scope in scopes if _READ.intersection(scope.letters)]
    closed = {type for type in PEOPLE if not any(scope.reaches(type) for scope in reading)}
    if roles:
        opened = {type for role in roles for letter, type in role.by_type if letter in _READ}
        closed.update(type for type in types if type not in opened and type not in NO_ONES)
    return frozenset(closed)


def _whole(agent: Agent, situation: Situation, roles: tuple[Role, ...], type: str) -> frozenset[str] | None:
    """Ids of the patients whose resources are seen whole by another role or in an emergency; None: all resources are."""
    whole: set[str] = set()
    for role in roles:
        if type in role.masks:
            whole.update(situation.opened if role.is_pseudonymous else ())
            continue
        for kind, grant in role.by_type.get(("r", type), ()):
            if grant.constraint or (kind, grant) not in role.by_type.get(("s", type), ()):
                continue  # what it opens in part, or for one of both, stays masked
            if kind == "all":
                return None
            if kind == "linked":
                whole.update(situation.linked, situation.opened)
            elif kind == "patients":
                whole.update(patients_of(agent))
    return frozenset(whole)
