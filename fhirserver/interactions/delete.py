"""delete and conditional delete (one match only). Source: hl7.org/fhir/R4/http.html#delete."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fhirserver.context import Interaction, Permission, Result, Version
from fhirserver.interactions.conditional import check_if_match, match_one, require_criteria, serialised
from fhirserver.outcome import NotFound
from fhirserver.store.write import DELETE, Deletion

if TYPE_CHECKING:
    from fhirserver.services import Services


async def handle(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """204 whether the resource existed or not; afterwards a read answers 410 and the history stays."""
    if interaction.id is None:
        return await _conditional(interaction, permission, services)
    return await delete(interaction, permission, services)


async def delete(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """Record the deletion as the next version; deleting twice changes nothing."""

    async def change(current: Version | None) -> Deletion | None:
        if_match = interaction.headers.get("if-match")
        check_if_match(if_match, current)
        return None if current is None or current.deleted else DELETE

    try:
        version = await services.store.modify(
            *interaction.instance, change, permission=permission, method="DELETE"
        )
    except NotFound:
        return Result(204)
    return Result(204, version=version)


async def _conditional(interaction: Interaction, permission: Permission, services: Services) -> Result:
    criteria = require_criteria(interaction.query)
    type = interaction.type or ""

    async def work(bound: Services) -> Result:
        match = await match_one(type, criteria, permission, bound)
        if match is None:
            return Result(204)
        return await delete(replace(interaction, id=match.id), permission, bound)

    return await serialised(type, criteria, services, work)
