"""Dates, date-times and times of any precision: comparison that may stay open, and arithmetic.

Source: hl7.org/fhirpath/N1/#datetime-equality, #time-valued-quantities
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from fhirserver.r4.fhirpath.state import failed

_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?"
    r"(T(?:(\d\d)(?::(\d\d)(?::(\d\d(?:\.\d+)?))?)?(Z|[+-]\d\d:\d\d)?)?)?",
    re.ASCII,
)
_TIME = re.compile(r"T?(\d\d)(?::(\d\d)(?::(\d\d(?:\.\d+)?))?)?", re.ASCII)
_UNCERTAIN = timedelta(hours=26)
"""What two local times may lie apart when only one of them names its offset (-12:00 to +14:00)."""
UNITS = ("year", "month", "day", "hour", "minute", "second")
# A quantity of a finer unit than the precision is counted in whole units of the precision.
_DAYS = {"year": 365, "month": 30}
_SECONDS = {
    "week": Decimal(604_800),
    "day": Decimal(86_400),
    "hour": Decimal(3_600),
    "minute": Decimal(60),
    "second": Decimal(1),
    "millisecond": Decimal("0.001"),
}
_UCUM = {"wk": "week", "d": "day", "h": "hour", "min": "minute", "s": "second", "ms": "millisecond"}


@dataclass(frozen=True, slots=True)
class Temporal:
    """A date, date-time or time.

    `kind`: Date, DateTime or Time. `parts`: year, month, day, hour, minute, second as far as given; a Time
    starts with the hour. `offset`: minutes east of UTC, None for a local time. `digits`: of the fraction.
    """

    kind: str
    parts: tuple[int | Decimal, ...]
    offset: int | None = None
    digits: int = 0

    def __str__(self) -> str:
        names = [f"{int(p):02}" for p in self.parts]
        if len(self.parts) == (3 if self.kind == "Time" else 6):
            names[-1] = f"{Decimal(self.parts[-1]):0{3 + self.digits if self.digits else 2}.{self.digits}f}"
        if self.kind == "Time":
            return ":".join(names)
        names[0] = f"{int(self.parts[0]):04}"
        text = "-".join(names[:3])
        if len(names) > 3:
            text += "T" + ":".join(names[3:])
            if self.offset is not None:
                sign, minutes = "+-"[self.offset < 0], abs(self.offset)
                text += f"{sign}{minutes // 60:02}:{minutes % 60:02}" if minutes else "Z"
        return text


def parse_temporal(text: str, kind: str = "") -> Temporal | None:
    """A literal or FHIR value; `kind` is told from the text unless given. None for what is no such value."""
    if kind == "Time" or text.startswith("T"):
        return _parse_time(text)
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    kind = kind or ("DateTime" if match[4] else "Date")
    parts = [int(part) for part in match.group(1, 2, 3, 5, 6) if part is not None]
    if match[7] is not None:
        return _valid(Temporal(kind, (*parts, Decimal(match[7])), _offset(match[8]), _digits(match[7])))
    return _valid(Temporal(kind, tuple(parts), _offset(match[8])))


def compare(left: Temporal, right: Temporal) -> int | None:
    """-1, 0 or 1; None where the precisions, or a missing offset, leave it open."""
    if (left.kind == "Time") != (right.kind == "Time"):
        raise failed("a time is compared with a date.")
    if left.kind != "Time" and len(left.parts) > 3 and len(right.parts) > 3 and left.offset != right.offset:
        if left.offset is None or right.offset is None:
            return _apart(left, right)
        left, right = _in_utc(left), _in_utc(right)
    for one, other in zip(left.parts, right.parts, strict=False):
        if one != other:
            return -1 if one < other else 1
    return 0 if len(left.parts) == len(right.parts) else None


def add(moment: Temporal, amount: Decimal, unit: str) -> Temporal:
    """`moment` plus a time-valued quantity. Raises PathError for a unit that is no such quantity."""
    unit = _UCUM.get(unit, unit).removesuffix("s")
    if unit not in _SECONDS and unit not in ("year", "month"):
        raise failed("only a quantity of calendar units or definite time is added to a date or time.")
    if unit not in ("second", "millisecond"):
        amount = Decimal(int(amount))
    if moment.kind == "Time":
        return _add_to_time(moment, amount, unit)
    finest = UNITS[len(moment.parts) - 1]
    try:
        if unit == "year":
            return (
                _add_months(moment, int(amount) * 12)
                if len(moment.parts) > 1
                else _years(moment, int(amount))
            )
        if unit == "month":
            return _months_or_years(moment, int(amount))
        seconds = amount * _SECONDS[unit]
        if finest in _DAYS:
            whole = int(int(seconds / 86_400) / _DAYS[finest])
            return _years(moment, whole) if finest == "year" else _add_months(moment, whole)
        return _add_seconds(moment, seconds, finest)
    except (ValueError, OverflowError) as error:
        raise failed("the date lies outside the years 0001 to 9999.") from error


def _parse_time(text: str) -> Temporal | None:
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    parts: list[int | Decimal] = [int(part) for part in match.group(1, 2) if part is not None]
    if match[3] is not None:
        parts.append(Decimal(match[3]))
    if parts[0] > 23 or any(part >= 60 for part in parts[1:]):
        return None
    return Temporal("Time", tuple(parts), None, _digits(match[3]))


def _valid(found: Temporal) -> Temporal | None:
    month_day = [int(part) for part in found.parts[:3]] + [1, 1]
    try:
        date(*month_day[:3])
    except ValueError:
        return None
    limits = zip(found.parts[3:], (24, 60, 61), strict=False)
    return found if all(part < limit for part, limit in limits) else None


def _digits(seconds: str | None) -> int:
    return len(seconds.partition(".")[2]) if seconds else 0


def _offset(zone: str | None) -> int | None:
    if zone is None:
        return None
    if zone == "Z":
        return 0
    minutes = int(zone[1:3]) * 60 + int(zone[4:6])
    return -minutes if zone[0] == "-" else minutes


def _instant(moment: Temporal) -> datetime:
    """The start of what a date-time covers, without its offset and fraction."""
    year, month, day, hour, minute, second = [int(part) for part in moment.parts] + [1, 1, 0, 0, 0][
        len(moment.parts) - 1 :
    ]
    start = datetime(year, month, day, hour, minute, tzinfo=UTC)
    return start + timedelta(seconds=second)


def _with(moment: Temporal, instant: datetime, fraction: Decimal) -> Temporal:
    everything = (
        instant.year,
        instant.month,
        instant.day,
        instant.hour,
        instant.minute,
        instant.second + fraction,
    )
    return replace(moment, parts=everything[: len(moment.parts)])


def _fraction(moment: Temporal) -> Decimal:
    return Decimal(moment.parts[5]) % 1 if len(moment.parts) == 6 else Decimal(0)


def _in_utc(moment: Temporal) -> Temporal:
    try:
        instant = _instant(moment) - timedelta(minutes=moment.offset or 0)
    except OverflowError:
        return moment
    return replace(_with(moment, instant, _fraction(moment)), offset=0)


def _apart(left: Temporal, right: Temporal) -> int | None:
    distance = _instant(left) - _instant(right)
    if abs(distance) <= _UNCERTAIN:
        return None
    return -1 if distance < timedelta(0) else 1


def _years(moment: Temporal, years: int) -> Temporal:
    year = int(moment.parts[0]) + years
    if not 1 <= year <= 9999:
        raise ValueError(year)
    return replace(moment, parts=(year,))


def _months_or_years(moment: Temporal, months: int) -> Temporal:
    if len(moment.parts) == 1:
        return _years(moment, int(months / 12))
    return _add_months(moment, months)


def _add_months(moment: Temporal, months: int) -> Temporal:
    year, month = divmod(int(moment.parts[0]) * 12 + int(moment.parts[1]) - 1 + months, 12)
    if not 1 <= year <= 9999:
        raise ValueError(year)
    parts: tuple[int | Decimal, ...] = (year, month + 1)
    if len(moment.parts) > 2:
        last = monthrange(year, month + 1)[1]
        parts = (*parts, min(int(moment.parts[2]), last), *moment.parts[3:])
    return replace(moment, parts=parts)


def _add_seconds(moment: Temporal, seconds: Decimal, finest: str) -> Temporal:
    unit = _SECONDS[finest]
    if finest != "second":
        seconds = int(seconds / unit) * unit
    total = _fraction(moment) + seconds
    whole = int(total // 1)
    digits = moment.digits
    if finest == "second" and total % 1:
        digits = max(digits, 3)
    shifted = _instant(moment) + timedelta(seconds=whole)
    return replace(_with(moment, shifted, total - whole), digits=digits)


def _add_to_time(moment: Temporal, amount: Decimal, unit: str) -> Temporal:
    if unit in ("year", "month", "week", "day"):
        raise failed("only hours, minutes, seconds and milliseconds are added to a time.")
    finest = _SECONDS[UNITS[3 + len(moment.parts) - 1]]
    seconds = amount * _SECONDS[unit]
    if finest != 1:
        seconds = int(seconds / finest) * finest
    hours, minutes, rest = (*moment.parts, 0, 0)[:3]
    total = (Decimal(hours) * 3600 + Decimal(minutes) * 60 + Decimal(rest) + seconds) % 86_400
    everything = (int(total // 3600), int(total % 3600 // 60), total % 60)
    return replace(moment, parts=everything[: len(moment.parts)])
