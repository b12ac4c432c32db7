"""What paged interactions share: cursor, page size, times, links. Source: hl7.org/fhir/R4/http.html#paging."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from fhirserver.context import Interaction
from fhirserver.outcome import BadRequest
from fhirserver.r4.dates import date_range

if TYPE_CHECKING:
    from fhirserver.settings import Limits

CURSOR = "_cursor"


def split_cursor(query: Sequence[tuple[str, str]]) -> tuple[tuple[tuple[str, str], ...], str | None]:
    """The query without its paging cursor, and the cursor. Raises BadRequest when there are two."""
    cursors = [value for name, value in query if name == CURSOR]
    if len(cursors) > 1:
        raise BadRequest("A page has one _cursor; use the link as it was given.", code="cursor-invalid")
    return tuple(pair for pair in query if pair[0] != CURSOR), cursors[0] if cursors else None


def page_links(
    base: str, path: str, query: Sequence[tuple[str, str]], cursor: str | None, *, next: str | None
) -> tuple[tuple[str, str], ...]:
    """(relation, URL) for this page and, where there is one, the next.

    `base`: FHIR base URL. `path`: below it, without slashes around. `query`: the parameters in force, decoded.
    """
    stem = f"{base}/{path}".rstrip("/")

    def link(position: str | None) -> str:
        pairs = [*query, (CURSOR, position)] if position else list(query)
        return stem + ("?" + urlencode(pairs, safe=":|,/$") if pairs else "")

    links = (("self", link(cursor)),)
    return links if next is None else (*links, ("next", link(next)))


def below_base(interaction: Interaction) -> str:
    """The path that a page of this interaction lives under; POST _search pages live under the GET form."""
    parts = []
    if interaction.compartment:
        parts = [*interaction.compartment, interaction.type or "*"]
    elif interaction.type:
        parts = [interaction.type]
        if interaction.id:
            parts.append(interaction.id)
    if interaction.kind.value.startswith("history"):
        parts.append("_history")
    if interaction.operation:
        parts.append(f"${interaction.operation}")
    return "/".join(parts)


def parse_count(text: str | None, limits: Limits) -> int:
    """The page size that `_count` asks for, clamped to the limit. Raises BadRequest."""
    if text is None:
        return limits.count_default
    if not (text.isascii() and text.isdigit()):
        raise BadRequest("_count is a whole number, 0 or more.", code="parameter-value")
    return min(int(text[:9]), limits.count_max)


def parse_moment(name: str, text: str) -> tuple[int, int]:
    """The interval that a date or instant covers: microseconds since 1970 UTC, half open. Raises BadRequest."""
    try:
        return date_range(text.replace(" ", "+"))  # a plus sign that nobody encoded
    except ValueError as error:
        raise BadRequest(
            f"{name} is a date or an instant such as 2026-03-01T12:00:00Z.", code="date-invalid"
        ) from error
