"""search at type, system and compartment level. Source: hl7.org/fhir/R4/http.html#search, hl7.org/fhir/R4/search.html."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fhirserver.context import Entry, Interaction, Page, Permission, Result, Version
from fhirserver.outcome import Issue, IssueCode
from fhirserver.paging import below_base, page_links, split_cursor
from fhirserver.r4.jsontext import dump_json, parse_json
from fhirserver.search.summary import subset

if TYPE_CHECKING:
    from fhirserver.search.query import SearchQuery
    from fhirserver.services import Services
    from fhirserver.store.search import FoundPage


async def handle(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """One page of a searchset Bundle."""
    pairs, cursor = split_cursor(interaction.query)
    query = services.query(
        interaction.type, pairs, lenient=interaction.lenient, compartment=interaction.compartment
    )
    found = await services.search(replace(query, cursor=cursor), permission)
    if found.plan is not None:
        return Result(200, resource=found.plan)
    used = [pair for pair in pairs if pair[0] not in query.ignored]
    links = page_links(services.settings.fhir_base, below_base(interaction), used, cursor, next=found.next)
    issues = (*_ignored(query), *found.issues)
    return Result(200, page=Page("searchset", _entries(found, query, services), found.total, links, issues))


def _entries(found: FoundPage, query: SearchQuery, services: Services) -> tuple[Entry, ...]:
    matches = tuple(Entry(version, "match", _shown(version, query, services)) for version in found.matches)
    included = tuple(
        Entry(version, "include", _shown(version, query, services)) for version in found.included
    )
    return matches + included


def _shown(version: Version, query: SearchQuery, services: Services) -> bytes | None:
    """The resource as `_summary` or `_elements` want it; None where it is shown whole."""
    if version.raw is None or (query.summary in (None, "false") and not query.elements):
        return None
    resource = parse_json(version.raw)
    return dump_json(
        subset(resource, summary=query.summary, elements=query.elements, definitions=services.elements)
    )


def _ignored(query: SearchQuery) -> tuple[Issue, ...]:
    if not query.ignored:
        return ()
    names = ", ".join(sorted(set(query.ignored)))
    text = f"Ignored, because handling=lenient was asked and the server does not know them here: {names}"
    return (Issue(IssueCode.NOT_SUPPORTED, "parameter-ignored", text, severity="warning"),)
