"""FHIR date, dateTime, instant and time text to intervals of microseconds.

A partial date covers the whole of what it leaves open: 2026-03 is [2026-03-01, 2026-04-01). Text without an
offset is read as UTC (the date type never has one). Source: hl7.org/fhir/R4/datatypes.html#dateTime,
R4/search.html#date
"""

from __future__ import annotations

import re
from datetime import date

DAY = 86_400_000_000
MINUTE = 60_000_000
SECOND = 1_000_000
# What an open start or end of a Period stands for; beyond every date of the years 0001 to 9999.
OPEN_START = -(2**62)
OPEN_END = 2**62

_EPOCH = date(1970, 1, 1).toordinal()
_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)"
    r"(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:\d\d)?)?)?)?",
    re.ASCII,
)


def date_range(text: str) -> tuple[int, int]:
    """The half-open interval [lo, hi) that a date, dateTime or instant covers, microseconds since 1970 UTC.

    `text`: YYYY, YYYY-MM, YYYY-MM-DD or with a time of minutes, seconds or fractions and an optional offset.
    Second 60 is the first second of the next minute. Raises ValueError for anything else, a day that does not
    exist included.
    """
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    if hour is not None:
        start = (date(int(year), int(month), int(day)).toordinal() - _EPOCH) * DAY
        offset, width = _time(hour, minute, second, fraction)
        start += offset
        if zone is not None and zone != "Z":
            start -= _offset(zone)
        return start, start + width
    if day is not None:
        start = (date(int(year), int(month), int(day)).toordinal() - _EPOCH) * DAY
        return start, start + DAY
    first, last = (int(month), int(month)) if month is not None else (1, 12)
    return _month(int(year), first), _month(int(year), last + 1)


def _month(year: int, month: int) -> int:
    """The start of a month; month 13 is the January that follows, also after 9999."""
    if month == 13:
        return (date(year, 12, 31).toordinal() + 1 - _EPOCH) * DAY
    return (date(year, month, 1).toordinal() - _EPOCH) * DAY


def _time(hour: str, minute: str, second: str | None, fraction: str | None) -> tuple[int, int]:
    hours, minutes = int(hour), int(minute)
    if hours > 23 or minutes > 59:
        raise ValueError(hour)
    start = (hours * 60 + minutes) * MINUTE
    if second is None:
        return start, MINUTE
    seconds = int(second)
    if seconds > 60:
        raise ValueError(second)
    start += seconds * SECOND
    if fraction is None:
        return start, SECOND
    return start + int(fraction[:6].ljust(6, "0")), 10 ** max(0, 6 - len(fraction))


def _offset(zone: str) -> int:
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if minutes > 59 or hours * 60 + minutes > 14 * 60:
        raise ValueError(zone)
    offset = (hours * 60 + minutes) * MINUTE
    return -offset if zone[0] == "-" else offset
