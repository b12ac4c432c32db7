"""Conditional interactions: criteria instead of an id, race-free. Source: hl7.org/fhir/R4/http.html#ccreate, #cond-update.

Two requests with the same criteria serialise on one lock document inside a transaction; others run in parallel.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from fhirserver.outcome import BadRequest, MultipleMatches, PreconditionFailed

if TYPE_CHECKING:
    from fhirserver.context import Permission, Result, Version
    from fhirserver.services import Services

Criteria = Sequence[tuple[str, str]]


def parse_criteria(text: str, type: str) -> Criteria:
    """The search parameters of an If-None-Exist header or a conditional reference, `identifier=system|value`.

    A leading `Type?` is tolerated where it names `type`. Raises BadRequest when nothing is left to search by.
    """
    text = text.strip().removeprefix(f"{type}?").removeprefix("?")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError as error:
        raise BadRequest(
            "The criteria are not valid percent-encoded UTF-8.", code="criteria-malformed"
        ) from error
    return require_criteria(pairs)


def require_criteria(pairs: Criteria) -> Criteria:
    """`pairs` without those that do not select, `_format` and the like. Raises BadRequest when none is left."""
    kept = [(name, value) for name, value in pairs if name not in ("_format", "_pretty") and value]
    if not kept:
        raise BadRequest(
            "A conditional interaction needs criteria in its query, such as ?identifier=system|value; "
            "without criteria it would concern every resource of the type.",
            code="criteria-missing",
        )
    return kept


async def match_one(type: str, pairs: Criteria, permission: Permission, services: Services) -> Version | None:
    """The one current version that matches, None where none does. Raises MultipleMatches."""
    found = await services.find(type, pairs, permission.matching, limit=2)
    if len(found) > 1:
        raise MultipleMatches(
            "The criteria match more than one resource; make them select exactly one.",
            code="multiple-matches",
        )
    return found[0] if found else None


async def serialised(
    type: str, pairs: Criteria, services: Services, work: Callable[[Services], Awaitable[Result]]
) -> Result:
    """Run `work` inside a transaction that no other with the same criteria can overlap."""
    key = lock_key(type, pairs)
    if services.store.session is not None:
        await services.store.lock(key)
        return await work(services)

    async def locked(store: object) -> Result:
        bound = services.within(store)  # type: ignore[arg-type]
        await bound.store.lock(key)
        return await work(bound)

    services.query(type, pairs)  # refuses bad criteria before a transaction is opened
    return await services.store.transaction(locked, types=[type])


def lock_key(type: str, pairs: Criteria) -> str:
    """One text for all spellings of the same criteria: names and values sorted."""
    return f"{type}?{urlencode(sorted(pairs))}"


def check_if_match(if_match: str | None, current: Version | None) -> None:
    """Raise PreconditionFailed unless the current version is the one that If-Match names.

    Source: hl7.org/fhir/R4/http.html#concurrency
    """
    if not if_match:
        return
    tags = {tag.strip().removeprefix("W/").strip('"') for tag in if_match.split(",")}
    if current is None or current.deleted or ("*" not in tags and str(current.vid) not in tags):
        raise PreconditionFailed(
            "If-Match names another version than the current one; read the resource again and repeat the change.",
            code="version-mismatch",
        )
