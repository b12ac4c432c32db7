"""patch and conditional patch, by JSON Patch or FHIRPath Patch. Source: hl7.org/fhir/R4/http.html#patch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fhirserver.context import Interaction, JsonObject, Permission, Result, Version
from fhirserver.interactions.conditional import check_if_match, match_one, require_criteria, serialised
from fhirserver.outcome import Gone, NotFound
from fhirserver.r4.fhirpathpatch import apply_fhirpath_patch
from fhirserver.r4.jsonpatch import apply_json_patch
from fhirserver.r4.jsontext import parse_json

if TYPE_CHECKING:
    from fhirserver.services import Services


async def handle(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """200 with the patched version; 404 and 410 where there is nothing to patch, 422 where the result is invalid."""
    if interaction.id is None:
        return await _conditional(interaction, permission, services)
    return await patch(interaction, permission, services)


async def patch(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """Apply the patch to the current version; a lost race applies it anew to the winner's version."""

    async def change(current: Version | None) -> JsonObject:
        check_if_match(interaction.headers.get("if-match"), current)
        if current is None:
            raise NotFound("There is no such resource to patch.", code="resource-unknown")
        if current.raw is None:
            raise Gone("The resource was deleted; create it anew by an update.", code="resource-deleted")
        resource = parse_json(current.raw)
        if isinstance(interaction.body, list):
            patched: JsonObject = apply_json_patch(resource, interaction.body)
        else:
            patched = apply_fhirpath_patch(resource, interaction.body, services.elements)
        services.validator.require(patched, interaction.type)
        return patched

    version = await services.store.modify(
        *interaction.instance, change, permission=permission, method="PATCH"
    )
    return Result(200, version=version)


async def _conditional(interaction: Interaction, permission: Permission, services: Services) -> Result:
    criteria = require_criteria(interaction.query)
    type = interaction.type or ""

    async def work(bound: Services) -> Result:
        match = await match_one(type, criteria, permission, bound)
        if match is None:
            raise NotFound("The criteria match no resource; there is nothing to patch.", code="no-match")
        return await patch(replace(interaction, id=match.id), permission, bound)

    return await serialised(type, criteria, services, work)
