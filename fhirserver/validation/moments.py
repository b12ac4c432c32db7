"""Order of dates and times of any precision, as far as it is certain.

A value is an interval, so 2020 is not before 2020-05; a value without zone may lie 14 hours to either side
of one with a zone. The text must have passed its primitive check.
Source: hl7.org/fhir/R4/datatypes.html#dateTime
"""

from __future__ import annotations

import calendar
from datetime import date

DAY = 86_400_000_000
SECOND = 1_000_000
FUZZ = 14 * 3600 * SECOND


def interval(text: str) -> tuple[int, int, bool]:
    """Lo <= t < hi in microseconds since year 1, and whether the value has a zone (then in UTC)."""
    year = int(text[:4])
    if len(text) == 4:
        return _day(year, 1, 1), _day(year, 12, 31) + DAY, False
    month = int(text[5:7])
    if len(text) == 7:
        return _day(year, month, 1), _day(year, month, calendar.monthrange(year, month)[1]) + DAY, False
    start = _day(year, month, int(text[8:10]))
    if len(text) == 10:
        return start, start + DAY, False
    clock = text[11:]
    zone = clock.rfind("+") if "+" in clock else clock.rfind("-")
    offset = 0
    if zone > 0:
        offset = (int(clock[zone + 1 : zone + 3]) * 60 + int(clock[zone + 4 : zone + 6])) * 60 * SECOND
        offset = -offset if clock[zone] == "-" else offset
        clock = clock[:zone]
    whole, _, fraction = clock.rstrip("Z").partition(".")
    hours, minutes, seconds = whole.split(":")
    start += ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * SECOND - offset
    start += int(fraction[:6].ljust(6, "0")) if fraction else 0
    return start, start + (1 if fraction else SECOND), True


def after(first: str, second: str) -> bool:
    """True where `first` is certainly later than `second`."""
    if len(first) == len(second) and first[19:] == second[19:]:
        return first > second
    low, _, first_zoned = interval(first)
    _, high, second_zoned = interval(second)
    return low - (FUZZ if first_zoned != second_zoned else 0) >= high


def _day(year: int, month: int, day: int) -> int:
    return date(year, month, day).toordinal() * DAY
