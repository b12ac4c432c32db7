"""$everything of a Patient or an Encounter: its compartment and what that refers to, page by page.

Source: hl7.org/fhir/R4/patient-operation-everything.html, hl7.org/fhir/R4/encounter-operation-everything.html
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fhirserver.context import Entry, Interaction, Page, Permission, Result, Version
from fhirserver.interactions.history import parse_count
from fhirserver.interactions.paging import below_base, page_links, split_cursor
from fhirserver.outcome import BadRequest, NotFound, UnknownParameter
from fhirserver.r4.dates import date_range
from fhirserver.r4.jsontext import parse_json

if TYPE_CHECKING:
    from fhirserver.services import Services

_PARAMETERS = ("start", "end", "_since", "_type", "_count", "_format", "_pretty")
_SURROUNDINGS = (
    "Practitioner",
    "PractitionerRole",
    "Organization",
    "Location",
    "Medication",
    "Device",
    "Substance",
)
_REFERENCE = re.compile(
    rb'"reference"\s*:\s*"(%b)/([A-Za-z0-9\-.]{1,64})"' % "|".join(_SURROUNDINGS).encode()
)
_CARE_DATES = (
    "date",
    "period",
    "effective",
    "onset-date",
    "authored",
    "authoredon",
    "authored-on",
    "occurrence",
    "started",
    "created",
    "issued",
    "recorded-date",
    "sent",
    "whenhandedover",
)

Interval = tuple[int | None, int | None]


async def handle(interaction: Interaction, permission: Permission, services: Services) -> Result:
    """A searchset page: the compartment's members as matches, what they refer to as includes.

    404 where the resource itself is unknown or out of reach. All pages together hold every member once; what they
    refer to may come again on another page.
    """
    type, id = interaction.type or "", interaction.id or ""
    await services.store.read(type, id, permission=permission)
    pairs, cursor = split_cursor([*interaction.query, *_from_body(interaction.body)])
    query = services.query(None, _criteria(pairs, type, services), compartment=(type, id))
    found = await services.search(replace(query, cursor=cursor), permission)
    interval = _interval(pairs, type)
    members = [version for version in found.matches if _in_care(version, interval, services)]
    around = await _surroundings(members, permission, services)
    links = page_links(services.settings.fhir_base, below_base(interaction), pairs, cursor, next=found.next)
    entries = [Entry(version, "match") for version in members] + [
        Entry(version, "include") for version in around
    ]
    total = found.total if interval == (None, None) else None
    return Result(200, page=Page("searchset", tuple(entries), total, links, found.issues))


def _criteria(pairs: Sequence[tuple[str, str]], type: str, services: Services) -> list[tuple[str, str]]:
    criteria = []
    count = services.settings.limits.count_max
    for name, value in pairs:
        if name not in _PARAMETERS or (type != "Patient" and name in ("start", "end")):
            raise UnknownParameter(f"$everything takes {', '.join(_PARAMETERS)}.", code="parameter-unknown")
        if name == "_since":
            date_range(value)
            criteria.append(("_lastUpdated", f"ge{value}"))
        elif name == "_type":
            criteria.append((name, value))
        elif name == "_count":
            count = parse_count(value, services)
    return [*criteria, ("_count", str(count))]


def _interval(pairs: Sequence[tuple[str, str]], type: str) -> Interval:
    """The time of care that `start` and `end` ask for, microseconds, half open; None: unbounded."""
    start = next((date_range(value)[0] for name, value in pairs if name == "start"), None)
    end = next((date_range(value)[1] for name, value in pairs if name == "end"), None)
    if start is not None and end is not None and start >= end:
        raise BadRequest(f"$everything of {type}: start must not be after end.", code="parameter-value")
    return start, end


def _in_care(version: Version, interval: Interval, services: Services) -> bool:
    """True where the resource's care dates touch the interval, or it has none."""
    start, end = interval
    if (start is None and end is None) or version.raw is None:
        return True
    ix = services.indexer.index(version.type, parse_json(version.raw)).ix
    ranges: Iterable[Any] = next((ix[code] for code in _CARE_DATES if code in ix), ())
    found = [(r.get("lo", r.get("wl")), r.get("hi", r.get("wh"))) for r in ranges if isinstance(r, dict)]
    return not found or any((end is None or lo < end) and (start is None or hi > start) for lo, hi in found)


async def _surroundings(
    members: Sequence[Version], permission: Permission, services: Services
) -> list[Version]:
    """What the members refer to outside of their compartment, each once; what is gone or out of reach is left out."""
    own = {(version.type, version.id) for version in members}
    wanted: dict[tuple[str, str], None] = {}
    for version in members:
        for found in _REFERENCE.finditer(version.raw or b""):
            target = (found[1].decode(), found[2].decode())
            if target not in own:
                wanted[target] = None

    async def load(target: tuple[str, str]) -> Version | None:
        try:
            version = await services.store.current(*target, permission=permission)
        except NotFound:
            return None
        return version if version is not None and not version.deleted else None

    loaded = await asyncio.gather(*(load(target) for target in wanted))
    return [version for version in loaded if version is not None]


def _from_body(body: Any) -> list[tuple[str, str]]:
    """The `Parameters` of a POST as query pairs."""
    if body is None:
        return []
    if not isinstance(body, dict) or body.get("resourceType") != "Parameters":
        raise BadRequest(
            "Send a Parameters resource, or the parameters in the URL.", code="parameters-invalid"
        )
    pairs = []
    parameters = body.get("parameter", [])
    for parameter in parameters if isinstance(parameters, list) else [None]:
        values = (
            [v for key, v in parameter.items() if key.startswith("value")]
            if isinstance(parameter, dict)
            else []
        )
        if len(values) != 1 or not isinstance(values[0], str | int):
            raise BadRequest(
                "Each parameter of $everything has one primitive value.", code="parameters-invalid"
            )
        pairs.append((str(parameter.get("name")), str(values[0])))
    return pairs
