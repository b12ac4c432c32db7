"""history of an instance, a type, the system. Source: hl7.org/fhir/R4/http.html#history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhirserver.context import Entry, Interaction, Page, Permission, Result
from fhirserver.outcome import BadRequest, UnknownParameter
from fhirserver.paging import below_base, page_links, parse_count, parse_moment, split_cursor

if TYPE_CHECKING:
    from fhirserver.services import Services

_PARAMETERS = ("_count", "_since", "_at", "_format", "_pretty")


async def handle(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """One page of a history Bundle, newest first, deletions included."""
    pairs, cursor = split_cursor(interaction.query)
    asked = _parameters(pairs, lenient=interaction.lenient)
    count = parse_count(asked.get("_count"), services.settings.limits)
    since = parse_moment("_since", asked["_since"])[0] if "_since" in asked else None
    at = parse_moment("_at", asked["_at"]) if "_at" in asked else None
    found = await services.store.history(
        type=interaction.type,
        id=interaction.id,
        since=since,
        at=at,
        count=count,
        cursor=cursor,
        permission=permission,
    )
    links = page_links(services.settings.fhir_base, below_base(interaction), pairs, cursor, next=found.next)
    entries = tuple(Entry(version, "") for version in found.versions)
    return Result(200, page=Page("history", entries, found.total, links))


def _parameters(pairs: tuple[tuple[str, str], ...], *, lenient: bool) -> dict[str, str]:
    asked: dict[str, str] = {}
    for name, value in pairs:
        if name not in _PARAMETERS:
            if lenient:
                continue
            raise UnknownParameter(f"A history takes {', '.join(_PARAMETERS)}.", code="parameter-unknown")
        if name in asked:
            raise BadRequest(f"{name} may be given once.", code="parameter-repeated")
        asked[name] = value
    return asked
