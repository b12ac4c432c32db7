"""Prefixes on intervals. Covers hl7.org/fhir/R4/search.html#prefix, for dates, numbers and ranges."""

import itertools

import pytest

from fhirserver.search.types import date, number
from fhirserver.search.types.ranges import NARROW, PREFIXES, Bound, date_condition, holds, number_condition

NOW = date.parse("2026-06-01").lo

# stored, then for a search of 2026-03-10 (a day): eq ne gt lt ge le sa eb
DATES = [
    ("2026-03-10", "eq ge le"),
    ("2026-03-10T08:00:00Z", "eq ge le"),
    ("2026-03-11", "ne gt ge sa"),
    ("2026-03-09", "ne lt le eb"),
    ("2026-03", "ne gt lt ge le"),
    ("2026", "ne gt lt ge le"),
    ("2026-03-10T23:30:00-03:00", "ne gt ge sa"),
    ("2026-03-10T00:30:00+03:00", "ne lt le eb"),
    ("2025", "ne lt le eb"),
    ("2027-01", "ne gt ge sa"),
]


@pytest.mark.parametrize(("stored", "matches"), DATES)
@pytest.mark.parametrize("prefix", PREFIXES[:-1])
def test_dates_match_by_their_intervals(stored: str, matches: str, prefix: str) -> None:
    value = date.parse(f"{prefix}2026-03-10")
    interval = date.index("dateTime", stored)
    assert interval is not None
    assert holds(value.condition(NOW), *interval) == (prefix in matches.split())


@pytest.mark.parametrize(
    ("period", "search", "matches"),
    [
        ({"start": "2026-03-01", "end": "2026-03-20"}, "ge2026-03-10", True),
        ({"start": "2026-03-01", "end": "2026-03-20"}, "eq2026-03", True),
        ({"start": "2026-03-01", "end": "2026-04-01"}, "eq2026-03", False),
        ({"start": "2026-03-01"}, "gt2099", True),
        ({"start": "2026-03-01"}, "eq2026", False),
        ({"start": "2026-03-01"}, "eb2099", False),
        ({"end": "2026-03-01"}, "lt1950", True),
        ({"end": "2026-03-01"}, "gt2026-03-01", False),
        ({"end": "2026-03-01"}, "sa1950", False),
    ],
)
def test_periods_match_by_their_outer_limits(period: dict[str, str], search: str, matches: bool) -> None:
    interval = date.index("Period", period)
    assert interval is not None
    assert holds(date.parse(search).condition(NOW), *interval) == matches


def test_ap_widens_by_a_tenth_of_the_distance_to_now() -> None:
    value = date.parse("ap2016-06-01")  # ten years before NOW: about one year
    assert holds(value.condition(NOW), *_interval("2015-09"))
    assert holds(value.condition(NOW), *_interval("2017-05-20"))
    assert not holds(value.condition(NOW), *_interval("2015-01"))
    assert not holds(value.condition(NOW), *_interval("2017-08"))


def _interval(text: str) -> tuple[int, int]:
    value = date.parse(text)
    return value.lo, value.hi


def test_the_bounds_added_for_narrow_intervals_change_no_answer() -> None:
    """Every prefix, against intervals up to NARROW around the search interval, on a grid of the edges."""
    step = NARROW // 4
    for prefix, width in itertools.product(PREFIXES, (1, step, 3 * NARROW)):
        lo, hi = 40 * NARROW, 40 * NARROW + width
        plain = date_condition(prefix, lo, hi, now=lo)
        narrow = date_condition(prefix, lo, hi, now=lo, narrow=True)
        for start in range(lo - 2 * NARROW, hi + 2 * NARROW, step):
            for length in (1, step, NARROW):
                assert holds(plain, start, start + length) == holds(narrow, start, start + length)


def test_narrow_bounds_close_an_index_scan_on_both_sides() -> None:
    (bounds,) = date_condition("eq", 0, NARROW, now=0, narrow=True)
    assert {b.comparison for b in bounds if b.field == "lo"} == {"ge", "lt"}
    (bounds,) = date_condition("gt", 0, NARROW, now=0, narrow=True)
    assert Bound("lo", "gt", 0) in bounds


NUMBERS = [
    ("100", 100, "eq ge le ap"),
    ("100", 100.4, "eq gt ge sa ap"),
    ("100", 99.5, "eq lt le eb ap"),
    ("100", 100.5, "ne gt ge sa ap"),
    ("100", 109.9, "ne gt ge sa ap"),
    ("100", 111, "ne gt ge sa"),
    ("100", 89, "ne lt le eb"),
    ("100.00", 100.004, "eq gt ge sa ap"),
    ("100.00", 100.006, "ne gt ge sa ap"),
    ("1e2", 95, "eq lt le eb ap"),
    ("1e2", 105, "ne gt ge sa ap"),
    ("-2", -2.2, "eq lt le eb ap"),
    ("0", 0.4, "eq gt ge sa ap"),
]


@pytest.mark.parametrize(("search", "stored", "matches"), NUMBERS)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_only_eq_and_ne_heed_the_precision_of_a_number(
    search: str, stored: float, matches: str, prefix: str
) -> None:
    value = number.parse(prefix + search)
    assert holds(value.condition(), stored, stored) == (prefix in matches.split())


@pytest.mark.parametrize(
    ("stored", "search", "matches"),
    [
        ({"low": {"value": 5}, "high": {"value": 10}}, "7", False),
        ({"low": {"value": 5}, "high": {"value": 10}}, "gt9", True),
        ({"low": {"value": 5}, "high": {"value": 10}}, "sa4", True),
        ({"low": {"value": 5}, "high": {"value": 10}}, "sa5", False),
        ({"low": {"value": 5}}, "gt1000", True),
        ({"low": {"value": 5}}, "lt5", False),
        ({"high": {"value": 10}}, "lt-1000", True),
        ({"high": {"value": 10}}, "eb11", True),
    ],
)
def test_ranges_match_by_their_ends(stored: dict[str, dict[str, float]], search: str, matches: bool) -> None:
    interval = number.index("Range", stored)
    assert interval is not None
    assert holds(number.parse(search).condition(), *interval) == matches


def test_an_unknown_prefix_is_no_condition() -> None:
    with pytest.raises(KeyError):
        number_condition("xx", 1, 0, 2)  # type: ignore[arg-type]
