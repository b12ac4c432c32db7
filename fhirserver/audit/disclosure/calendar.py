"""Days that count in Brazil: national holidays, business days, opening hours. Pure.

Sources: Lei 662/1949, Lei 6.802/1980, Lei 14.759/2023 (national holidays); Carnival and Corpus Christi are no national
holidays and do not stop a deadline unless the clinic lists them. Resolução CD/ANPD 15/2024 art. 6, 8 (business days).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

_FIXED = {
    (1, 1): "Confraternização Universal",
    (4, 21): "Tiradentes",
    (5, 1): "Dia do Trabalho",
    (9, 7): "Independência",
    (10, 12): "Nossa Senhora Aparecida",
    (11, 2): "Finados",
    (11, 15): "Proclamação da República",
    (11, 20): "Consciência Negra",
    (12, 25): "Natal",
}
_CONSCIENCE_SINCE = 2024
_DAYS = ("mo", "tu", "we", "th", "fr", "sa", "su")
_SPAN = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)")


def easter(year: int) -> date:
    """Easter Sunday (Gregorian). Source: Meeus, Astronomical Algorithms, chapter 8."""
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    m = (32 + 2 * e + 2 * i - h - k) % 7
    n = (a + 11 * h + 22 * m) // 451
    month, day = divmod(h + m - 7 * n + 114, 31)
    return date(year, month, day + 1)


def is_holiday(day: date, local: Collection[date] = ()) -> bool:
    """True for a national holiday, and for those of `local`."""
    if day in local or day == easter(day.year) - timedelta(days=2):  # Good Friday
        return True
    if (day.month, day.day) == (11, 20) and day.year < _CONSCIENCE_SINCE:
        return False
    return (day.month, day.day) in _FIXED


def is_business_day(day: date, local: Collection[date] = ()) -> bool:
    """True from Monday to Friday, holidays excepted."""
    return day.weekday() < 5 and not is_holiday(day, local)


def after_business_days(start: date, count: int, local: Collection[date] = ()) -> date:
    """The day on which a term of `count` business days ends; the day it starts on is not counted."""
    day = start
    while count:
        day += timedelta(days=1)
        count -= is_business_day(day, local)
    return day


@dataclass(frozen=True, slots=True)
class OpeningHours:
    """When a place is open. `spans`: weekday (0 = Monday) -> [from, to) of that day."""

    spans: dict[int, tuple[tuple[time, time], ...]]
    holidays: frozenset[date] = frozenset()

    @classmethod
    def parse(cls, text: str, holidays: Collection[date] = ()) -> OpeningHours:
        """The hours of a text such as `mo-fr 07:00-12:00 13:00-19:00; sa 08:00-12:00`. Raises ValueError."""
        spans: dict[int, tuple[tuple[time, time], ...]] = {}
        for part in filter(None, (part.strip() for part in text.split(";"))):
            days, *hours = part.split()
            first, _, last = days.partition("-")
            if first not in _DAYS or (last or first) not in _DAYS or not hours:
                raise ValueError("opening hours look like: mo-fr 07:00-19:00; sa 08:00-12:00")
            numbers = range(_DAYS.index(first), _DAYS.index(last or first) + 1)
            spans |= dict.fromkeys(numbers, tuple(_span(span) for span in hours))
        return cls(spans, frozenset(holidays))

    def is_open(self, local: datetime) -> bool:
        """True where `local`, in the timezone of the place, is within the hours and no holiday."""
        if is_holiday(local.date(), self.holidays):
            return False
        return any(start <= local.time() < end for start, end in self.spans.get(local.weekday(), ()))


def _span(text: str) -> tuple[time, time]:
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError("opening hours look like: mo-fr 07:00-19:00; sa 08:00-12:00")
    a, b, c, d = map(int, found.groups())
    return time(a, b), time.max if (c, d) == (24, 0) else time(c, d)
