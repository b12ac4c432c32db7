"""Composite parameters: component values that must match on one and the same element.

Stored: `ix.<code>` = {a, b, c}: for each component the entries in its own layout. Source:
hl7.org/fhir/R4/search.html#composite
"""

from __future__ import annotations

from fhirserver.outcome import InvalidSearchValue
from fhirserver.search.types.escapes import split

# The names of the components in a stored entry, in order.
NAMES = ("a", "b", "c")


def parse(text: str, count: int) -> list[str]:
    """The texts of `count` components, still escaped: each is parsed by its own type.

    Raises InvalidSearchValue (search-value-composite).
    """
    parts = split(text, "$")
    if len(parts) != count or not all(parts):
        raise InvalidSearchValue(
            f"This composite takes {count} values joined by $.", code="search-value-composite"
        )
    return parts
