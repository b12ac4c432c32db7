"""String parameters: folded text at the front of a string, whole for :exact, anywhere for :contains.

Stored: `ix.<code>` folded strings, `x.<code>` the originals. A HumanName or Address counts as all of its
string parts. A CEP with a hyphen is stored without it as well. Source: hl7.org/fhir/R4/search.html#string
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from fhirserver.outcome import InvalidSearchValue
from fhirserver.r4.identifiers import postal_digits
from fhirserver.search.fold import fold
from fhirserver.search.types.escapes import unescape

POSTAL_CODE = "postalCode"
"""Stands for the FHIR type of strings that are postal codes."""
_NAME = ("family", "given", "prefix", "suffix", "text")
_ADDRESS = ("line", "city", "district", "state", "postalCode", "country", "text")
# Only the front of a string decides its place in a sorted list; the logical id follows it.
SORTED_LENGTH = 128


@dataclass(frozen=True, slots=True)
class StringValue:
    """One value: `folded` for the default match and :contains, `text` for :exact."""

    text: str
    folded: str


def parse(text: str) -> StringValue:
    """A search text, escapes resolved.

    Raises InvalidSearchValue (search-value-empty) when nothing is left of it.
    """
    plain = unescape(text)
    folded = fold(plain)
    if not folded:
        raise InvalidSearchValue("A string to search for must not be blank.", code="search-value-empty")
    return StringValue(plain, folded)


def _plain(value: Any) -> list[str]:
    return [value] if isinstance(value, str) and value else []


def _parts(names: tuple[str, ...]) -> Callable[[Any], list[str]]:
    def read(value: Any) -> list[str]:
        found: list[str] = []
        if isinstance(value, dict):
            for name in names:
                part = value.get(name)
                if type(part) is str:
                    found.append(part)
                elif type(part) is list:
                    found += [item for item in part if type(item) is str]
        return found

    return read


def _concept(value: Any) -> list[str]:
    if not isinstance(value, dict):
        return []
    texts = [value.get("text"), *(c.get("display") for c in value.get("coding", ()) if isinstance(c, dict))]
    return [text for text in texts if isinstance(text, str)]


STRINGS: Mapping[str, Callable[[Any], list[str]]] = MappingProxyType(
    {
        **dict.fromkeys(("string", "markdown", "code", "id", "uri"), _plain),
        "HumanName": _parts(_NAME),
        "Address": _parts(_ADDRESS),
        "Annotation": _parts(("text",)),
        "CodeableConcept": _concept,
        POSTAL_CODE: _plain,
    }
)


def index(type: str, value: Any) -> list[tuple[str, str]]:
    """The (folded, original) pairs of one value of a FHIR type, or of POSTAL_CODE; blank ones are left out."""
    pairs = [(folded, text) for text in STRINGS[type](value) if (folded := fold(text))]
    if type == POSTAL_CODE:
        return pairs + [(plain, text) for _, text in pairs if (plain := postal_digits(text))]
    if type == "Address" and isinstance(value, dict) and isinstance(text := value.get("postalCode"), str):
        plain = postal_digits(text)
        return pairs + ([(plain, text)] if plain else [])
    return pairs


def sort_key(folded: str) -> str:
    """The order-preserving key of a folded string."""
    return folded[:SORTED_LENGTH].replace("\x00", " ")
