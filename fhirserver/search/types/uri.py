"""Uri parameters.

Compared whole and as written. Stored: `ix.<code>` = [uri]; a canonical also without its version.

Source: hl7.org/fhir/R4/search.html#uri
"""

from __future__ import annotations

from typing import Any

from fhirserver.outcome import InvalidSearchValue
from fhirserver.r4.references import split_canonical
from fhirserver.search.types.escapes import unescape


def parse(text: str) -> str:
    """A search text as the entry to look for. Raises InvalidSearchValue (search-value-empty)."""
    uri = unescape(text)
    if not uri:
        raise InvalidSearchValue("A uri to search for must not be empty.", code="search-value-empty")
    return uri


def index(type: str, value: Any) -> list[str]:
    """The entries of one value of a FHIR type."""
    if not isinstance(value, str) or not value:
        return []
    if type != "canonical":
        return [value]
    url, version = split_canonical(value)
    return [entry for entry in (url, f"{url}|{version}" if version else "") if entry]
