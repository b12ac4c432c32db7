"""$everything of a Patient or an Encounter: its compartment and what that refers to, page by page.

Source: hl7.org/fhir/R4/patient-operation-everything.html, hl7.org/fhir/R4/encounter-operation-everything.html
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fhirserver.context import Entry, Interaction, Page, Permission, Result
from fhirserver.outcome import BadRequest, UnknownParameter
from fhirserver.paging import below_base, page_links, parse_count, parse_moment, split_cursor

if TYPE_CHECKING:
    from fhirserver.services import Services

_PARAMETERS = ("start", "end", "_since", "_type", "_count", "_format", "_pretty")
# the world around a patient, that a compartment refers to but does not hold
_SURROUNDINGS = ("Practitioner", "PractitionerRole", "Organization", "Location", "Medication", "Device")


async def handle(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """A searchset page: the compartment's members as matches, what they refer to as includes.

    404 where the resource itself is unknown or out of reach; all pages together hold every member once.
    """
    type, id = interaction.type or "", interaction.id or ""
    await services.store.read(type, id, permission=permission)
    given = list(interaction.query) + _from_body(interaction.body)
    pairs, cursor = split_cursor(given)
    criteria = _criteria(pairs, type, services)
    query = services.query(None, criteria, compartment=(type, id))
    query = replace(query, cursor=cursor, surroundings=_wanted(pairs), care_dates=_care_dates(pairs, type))
    found = await services.search(query, permission)
    links = page_links(services.settings.fhir_base, below_base(interaction), pairs, cursor, next=found.next)
    entries = [Entry(version, "match") for version in found.matches]
    entries += [Entry(version, "include") for version in found.included]
    return Result(200, page=Page("searchset", tuple(entries), found.total, links, found.issues))


def _wanted(pairs: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """The surrounding types to include: those that `_type` names, all without it."""
    named = {type for name, value in pairs if name == "_type" for type in value.split(",")}
    return tuple(type for type in _SURROUNDINGS if not named or type in named)


def _criteria(pairs: tuple[tuple[str, str], ...], type: str, services: Services) -> list[tuple[str, str]]:
    criteria = []
    count = None
    for name, value in pairs:
        if name not in _PARAMETERS or (type != "Patient" and name in ("start", "end")):
            raise UnknownParameter(f"$everything takes {', '.join(_PARAMETERS)}.", code="parameter-unknown")
        if name == "_since":
            parse_moment(name, value)
            criteria.append(("_lastUpdated", f"ge{value}"))
        elif name == "_type":
            criteria.append((name, value))
        elif name == "_count":
            count = parse_count(value, services.settings.limits)
    return [*criteria, ("_count", str(count if count is not None else services.settings.limits.count_max))]


def _care_dates(pairs: tuple[tuple[str, str], ...], type: str) -> tuple[int | None, int | None]:
    """The interval of care that `start` and `end` ask for, microseconds, half open; None: unbounded."""
    start = [parse_moment(name, value)[0] for name, value in pairs if name == "start"]
    end = [parse_moment(name, value)[1] for name, value in pairs if name == "end"]
    if start and end and start[0] >= end[0]:
        raise BadRequest(f"$everything of {type}: start must not be after end.", code="parameter-value")
    return (start[0] if start else None, end[0] if end else None)


def _from_body(body: Any) -> list[tuple[str, str]]:
    """The `Parameters` of a POST as query pairs."""
    if body is None:
        return []
    if not isinstance(body, dict) or body.get("resourceType") != "Parameters":
        raise BadRequest(
            "Send a Parameters resource, or the parameters in the URL.", code="parameters-invalid"
        )
    pairs = []
    for parameter in body.get("parameter") or ():
        values = [str(value) for key, value in parameter.items() if key.startswith("value")]
        if len(values) != 1:
            raise BadRequest(
                "Each parameter of $everything has one primitive value.", code="parameters-invalid"
            )
        pairs.append((str(parameter.get("name")), values[0]))
    return pairs
