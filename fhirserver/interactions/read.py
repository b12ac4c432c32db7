"""read, HEAD and conditional read. Source: hl7.org/fhir/R4/http.html#read, #cread."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from fhirserver.context import Interaction, Permission, Result, Version
from fhirserver.interactions.view import view

if TYPE_CHECKING:
    from fhirserver.services import Services


async def handle(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """The current version; 304 where the caller has it already, 404 unknown, 410 deleted."""
    version = await services.store.read(*interaction.instance, permission=permission)
    if interaction.headers and unchanged(version, interaction):
        return Result(304, version=version)
    if interaction.query:
        return view(version, interaction, services)
    return Result(200, version=version)


def unchanged(version: Version, interaction: Interaction) -> bool:
    """True where If-None-Match or If-Modified-Since says that the caller holds this version.

    Source: RFC 9110 section 13.2.2: If-None-Match wins over If-Modified-Since.
    """
    none_match = interaction.headers.get("if-none-match")
    if none_match:
        tags = {tag.strip().removeprefix("W/").strip('"') for tag in none_match.split(",")}
        return "*" in tags or str(version.vid) in tags
    since = interaction.headers.get("if-modified-since")
    if not since:
        return False
    try:
        moment = parsedate_to_datetime(since)
    except ValueError:
        return False
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return datetime.fromtimestamp(version.ts // 1_000_000, UTC) <= moment
