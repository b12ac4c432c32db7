"""create and conditional create. Source: hl7.org/fhir/R4/http.html#create, #ccreate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhirserver.context import Interaction, Permission, Result
from fhirserver.interactions.auditevents import AUDIT_TYPE, accept
from fhirserver.interactions.conditional import Criteria, match_one, parse_criteria, serialised

if TYPE_CHECKING:
    from fhirserver.services import Services


async def handle(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """201 with the new version; with If-None-Exist 200 and the one match, 412 for several.

    An id in the body is replaced by the server's. Inside a transaction `interaction.id` is the id already given.
    """
    if interaction.type == AUDIT_TYPE:
        return await accept(interaction, permission, services)
    none_exist = interaction.headers.get("if-none-exist")
    if none_exist is None:
        return await create(interaction, permission, services)
    criteria = parse_criteria(none_exist, interaction.type or "")
    return await create_unless(criteria, interaction, permission, services)


async def create(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """Store the body under a new id."""
    id = interaction.id or services.new_id()
    version = await services.store.create(interaction.type or "", id, interaction.body, permission=permission)
    return Result(201, version=version)


async def create_unless(
    criteria: Criteria, interaction: Interaction, permission: Permission, services: Services
) -> Result:
    """Store the body unless a resource matches; two with the same criteria never both create."""

    async def work(bound: Services) -> Result:
        match = await match_one(interaction.type or "", criteria, permission, bound)
        if match is not None:
            return Result(200, version=match)
        return await create(interaction, permission, bound)

    return await serialised(interaction.type or "", criteria, services, work)
