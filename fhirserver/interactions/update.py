"""update, update-as-create and conditional update. Source: hl7.org/fhir/R4/http.html#update, #upsert, #cond-update."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fhirserver.context import Interaction, JsonObject, Permission, Result, Version
from fhirserver.interactions.conditional import check_if_match, match_one, require_criteria, serialised
from fhirserver.outcome import BadRequest, PreconditionFailed

if TYPE_CHECKING:
    from fhirserver.services import Services


async def handle(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """200 with the new version, 201 where the id was free or deleted; 412 when If-Match names another version."""
    if interaction.id is None:
        return await _conditional(interaction, permission, services)
    if interaction.body.get("id") != interaction.id:
        raise BadRequest(
            "The resource's id must be present and equal to the id in the URL.",
            code="id-mismatch",
            expression=f"{interaction.type}.id",
        )
    return await update(interaction, permission, services)


async def update(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """Store the body as the next version of `interaction.id`."""

    async def change(current: Version | None) -> JsonObject:
        check_if_match(interaction.headers.get("if-match"), current)
        if "if-none-match" in interaction.headers and current is not None and not current.deleted:
            raise PreconditionFailed(
                "If-None-Match: * asks to create only, but the resource exists.", code="resource-exists"
            )
        body: JsonObject = interaction.body
        return body

    version = await services.store.modify(
        *interaction.instance, change, permission=permission, method="PUT", submitted=interaction.body
    )
    return Result(201 if version.created else 200, version=version)


async def _conditional(interaction: Interaction, permission: Permission, services: Services) -> Result:
    criteria = require_criteria(interaction.query)
    type = interaction.type or ""

    async def work(bound: Services) -> Result:
        match = await match_one(type, criteria, permission, bound)
        given = interaction.body.get("id")
        if match is None and given is None:
            check_if_match(interaction.headers.get("if-match"), None)
            created = await bound.store.create(type, bound.new_id(), interaction.body, permission=permission)
            return Result(201, version=created)
        if match is not None and given is not None and given != match.id:
            raise BadRequest(
                "The criteria match a resource with another id than the body's; leave the id out or correct it.",
                code="id-mismatch",
                expression=f"{type}.id",
            )
        id = match.id if match is not None else given
        body = {**interaction.body, "id": id}
        return await update(replace(interaction, id=id, body=body), permission, bound)

    return await serialised(type, criteria, services, work)
