"""What of the matches a search wants to be shown: `_count`, `_total`, `_summary`, `_elements`, `_contained`.

Source: hl7.org/fhir/R4/search.html#count, #total, #summary, #elements, #contained
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fhirserver.outcome import BadRequest
from fhirserver.settings import Limits

SUMMARY = ("true", "false", "text", "data", "count")
_CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "_total": ("none", "estimate", "accurate"),
        "_summary": SUMMARY,
        "_contained": ("false", "true", "both"),
        "_containedType": ("container", "contained"),
        "_explain": ("true", "false"),
    }
)
NAMES = ("_count", "_elements", *_CHOICES)
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_ELEMENT = re.compile(r"(?:[A-Z]\w*\.)?[a-z]\w*(?:\.\w+)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Shown:
    """The shape of the answer. `count` 0: the number of matches only."""

    count: int
    total: str | None = None
    summary: str | None = None
    elements: tuple[str, ...] = ()
    contained: str = "false"
    contained_type: str = "container"
    explain: bool = False


def parse_shown(given: Mapping[str, list[str]], limits: Limits) -> Shown:
    """The shape that the parameters in NAMES ask for. `given`: name -> values in order.

    A count over the limit is clamped. Raises BadRequest (parameter-value, parameter-repeated).
    """
    choices = {name: _choice(name, given.get(name, [])) for name in _CHOICES}
    elements = tuple(
        dict.fromkeys(
            part.strip() for text in given.get("_elements", ()) for part in text.split(",") if part.strip()
        )
    )
    if any(_ELEMENT.fullmatch(element) is None for element in elements):
        raise BadRequest("_elements takes names of elements separated by commas.", code="parameter-value")
    count = min(_count(given.get("_count", []), limits), limits.count_max)
    return Shown(
        0 if choices["_summary"] == "count" else count,
        choices["_total"],
        choices["_summary"],
        elements,
        choices["_contained"] or "false",
        choices["_containedType"] or "container",
        choices["_explain"] == "true",
    )


def _choice(name: str, texts: list[str]) -> str | None:
    if not texts:
        return None
    if len(set(texts)) > 1:
        raise BadRequest(f"{name} is given twice.", code="parameter-repeated")
    if texts[0] not in _CHOICES[name]:
        raise BadRequest(f"{name} is one of {', '.join(_CHOICES[name])}.", code="parameter-value")
    return texts[0]


def _count(texts: list[str], limits: Limits) -> int:
    if not texts:
        return limits.count_default
    if len(set(texts)) > 1:
        raise BadRequest("_count is given twice.", code="parameter-repeated")
    if _NUMBER.fullmatch(texts[0]) is None:
        raise BadRequest(
            f"_count is a whole number from 0; at most {limits.count_max} are returned.",
            code="parameter-value",
        )
    return int(texts[0])
