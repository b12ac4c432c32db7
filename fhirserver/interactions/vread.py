"""vread: one version of a resource. Source: hl7.org/fhir/R4/http.html#vread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhirserver.context import Interaction, Permission, Result
from fhirserver.interactions.read import unchanged
from fhirserver.interactions.view import view
from fhirserver.outcome import NotFound

if TYPE_CHECKING:
    from fhirserver.services import Services


async def handle(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """The version asked for; 404 unknown, 410 where that version is a deletion."""
    vid = interaction.vid or ""
    if not vid.isascii() or not vid.isdigit() or len(vid) > 9:
        raise NotFound(
            "There is no such version; version ids are whole numbers, from 1.", code="version-unknown"
        )
    version = await services.store.vread(*interaction.instance, int(vid), permission=permission)
    if unchanged(version, interaction):
        return Result(304, version=version)
    return view(version, interaction, services)
