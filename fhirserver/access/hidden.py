"""What the roles of a user hide of each type: their masks, taken together. Source: docs/explanation/access.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fhirserver.access.compartments import Compartments
from fhirserver.access.masks import MaskBook
from fhirserver.access.roles import Role
from fhirserver.access.situation import Situation, patients_of
from fhirserver.context import Agent
from fhirserver.search.mask import Mask


def masked_types(
    agent: Agent, situation: Situation, roles: tuple[Role, ...], book: MaskBook, compartments: Compartments
) -> Mapping[str, Mask]:
    """The masks by type; none for a backend, and none on a type that one of the roles sees whole."""
    if agent.user is None:
        return {}
    found = {}
    for type in {type for role in roles for type in role.masks}:
        whole = _whole(agent, situation, roles, type)
        if whole is None:
            continue
        mask = book.mask((role.masks[type] for role in roles if type in role.masks), type)
        rows = compartments.linked(type, whole) if whole else None
        found[type] = mask if rows is None else replace(mask, whole=whole, rows=rows)
    return found


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
