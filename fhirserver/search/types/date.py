"""Date parameters: intervals on both sides.

Stored: `ix.<code>` = {lo, hi} up to a day, {wl, wh} beyond; half open, microseconds since 1970 UTC.
Source: hl7.org/fhir/R4/search.html#date
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from fhirserver.outcome import InvalidSearchValue
from fhirserver.r4.dates import OPEN_END, OPEN_START, date_range
from fhirserver.search.types.escapes import unescape
from fhirserver.search.types.ranges import NARROW, Condition, Prefix, date_condition, split_prefix

Interval: TypeAlias = tuple[int, int]
# A '+' that nobody percent-encoded arrives as a blank.
_LOST_PLUS = re.compile(r" (\d\d:\d\d)$")


@dataclass(frozen=True, slots=True)
class DateValue:
    """One value: prefix and the half-open interval that the text covers, microseconds."""

    prefix: Prefix
    lo: int
    hi: int

    def condition(self, now: int, *, narrow: bool = False) -> Condition:
        """What must hold for a stored interval; `narrow`: for {lo, hi}, else for {wl, wh}."""
        return date_condition(self.prefix, self.lo, self.hi, now=now, narrow=narrow)


def parse(text: str) -> DateValue:
    """A search text: prefix and partial date, 'ge2026-03'. Raises InvalidSearchValue (search-value-date)."""
    prefix, rest = split_prefix(unescape(text))
    try:
        return DateValue(prefix, *date_range(_LOST_PLUS.sub(r"+\1", rest)))
    except ValueError:
        raise InvalidSearchValue(
            "A date to search for is YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm[:ss][Z|+hh:mm], "
            "after an optional prefix (eq ne gt lt ge le sa eb ap).",
            code="search-value-date",
        ) from None


def _text(value: Any) -> Interval | None:
    if type(value) is not str:
        return None
    try:
        return date_range(value)
    except ValueError:
        return None


def _period(value: Any) -> Interval | None:
    if type(value) is not dict:
        return None
    start, end = _text(value.get("start")), _text(value.get("end"))
    if start is None and end is None:
        return None
    lo = start[0] if start else OPEN_START
    return lo, max(lo + 1, end[1] if end else OPEN_END)


def _timing(value: Any) -> Interval | None:
    """Only the outer limits matter: from the first event or bound to the last."""
    if type(value) is not dict:
        return None
    repeat = value.get("repeat")
    bounds = _period(repeat.get("boundsPeriod")) if type(repeat) is dict else None
    found = [interval for event in value.get("event", ()) if (interval := _text(event))]
    if bounds:
        found.append(bounds)
    return (min(lo for lo, _ in found), max(hi for _, hi in found)) if found else None


INTERVALS: Mapping[str, Callable[[Any], Interval | None]] = MappingProxyType(
    {**dict.fromkeys(("date", "dateTime", "instant"), _text), "Period": _period, "Timing": _timing}
)


def index(type: str, value: Any) -> Interval | None:
    """The interval of one value of a FHIR type, None when it has no bounds at all."""
    return INTERVALS[type](value)


def entry(lo: int, hi: int) -> dict[str, int]:
    """An interval as it is stored."""
    return {"lo": lo, "hi": hi} if hi - lo <= NARROW else {"wl": lo, "wh": hi}


def sort_value(lo: int, hi: int) -> int:
    """The instant that stands for an interval in a sorted list.

    Its start, or its end when the start is open.
    """
    return lo if lo != OPEN_START else hi


def sort_key(instant: int) -> str:
    """The order-preserving key of an instant between OPEN_START and OPEN_END."""
    return f"{instant - OPEN_START:016x}"
