"""Business days, holidays, opening hours. Cases: brazil.md P-17 and calendars of the Brazilian government."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from fhirserver.audit.disclosure.calendar import (
    OpeningHours,
    after_business_days,
    easter,
    is_business_day,
    is_holiday,
)


@pytest.mark.parametrize(
    ("year", "day"),
    [
        (2024, date(2024, 3, 31)),
        (2025, date(2025, 4, 20)),
        (2026, date(2026, 4, 5)),
        (2038, date(2038, 4, 25)),
    ],
)
def test_easter_is_on_the_right_sunday(year: int, day: date) -> None:
    assert easter(year) == day


@pytest.mark.parametrize(
    ("day", "holiday"),
    [
        (date(2026, 1, 1), True),
        (date(2026, 4, 3), True),  # Good Friday
        (date(2026, 4, 21), True),
        (date(2026, 11, 20), True),
        (date(2023, 11, 20), False),  # national since 2024
        (date(2026, 2, 17), False),  # Carnival is no national holiday
        (date(2026, 7, 9), False),
    ],
)
def test_national_holidays_are_known(day: date, holiday: bool) -> None:
    assert is_holiday(day) is holiday


def test_a_local_holiday_counts_where_it_is_given() -> None:
    assert is_holiday(date(2026, 7, 9), [date(2026, 7, 9)])
    assert not is_business_day(date(2026, 7, 9), [date(2026, 7, 9)])
    assert is_business_day(date(2026, 7, 9))
    assert not is_business_day(date(2026, 7, 11))


@pytest.mark.parametrize(
    ("known", "days", "due"),
    [
        (date(2026, 3, 5), 3, date(2026, 3, 10)),  # Thursday -> Tuesday
        (date(2026, 3, 6), 3, date(2026, 3, 11)),  # Friday
        (date(2026, 3, 7), 3, date(2026, 3, 11)),  # Saturday
        (date(2026, 4, 16), 3, date(2026, 4, 22)),  # Tiradentes on Tuesday is skipped
        (date(2026, 4, 1), 3, date(2026, 4, 7)),  # Good Friday is skipped
        (date(2026, 3, 5), 20, date(2026, 4, 2)),
    ],
)
def test_terms_are_counted_in_business_days(known: date, days: int, due: date) -> None:
    assert after_business_days(known, days) == due


def at(*numbers: int) -> datetime:
    return datetime(*numbers, tzinfo=ZoneInfo("America/Sao_Paulo"))  # type: ignore[misc,arg-type]


def test_opening_hours_are_read_and_asked() -> None:
    hours = OpeningHours.parse("mo-fr 07:00-12:00 13:00-19:00; sa 08:00-12:00", [date(2026, 3, 5)])
    when = {
        at(2026, 3, 3, 7, 0): True,
        at(2026, 3, 3, 6, 59): False,
        at(2026, 3, 3, 12, 30): False,
        at(2026, 3, 3, 18, 59): True,
        at(2026, 3, 3, 19, 0): False,
        at(2026, 3, 7, 9, 0): True,
        at(2026, 3, 8, 9, 0): False,
        at(2026, 3, 5, 9, 0): False,  # a local holiday
        at(2026, 4, 21, 9, 0): False,
    }
    assert {moment: hours.is_open(moment) for moment in when} == when
    assert OpeningHours.parse("su 00:00-24:00").is_open(at(2026, 3, 8, 23, 59, 59))


@pytest.mark.parametrize("text", ["mo", "xx 07:00-12:00", "mo 7-12", "mo-xx 07:00-12:00", "mo 07:00-25:00"])
def test_opening_hours_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        OpeningHours.parse(text)
