"""Dates as intervals.

Covers hl7.org/fhir/R4/datatypes.html#dateTime and R4/search.html#date (implicit precision).
"""

from datetime import UTC, datetime

import pytest

from fhirserver.r4.dates import DAY, MINUTE, SECOND, date_range, time_range


def at(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * SECOND


@pytest.mark.parametrize(
    ("text", "lo", "hi"),
    [
        ("1970", 0, 365 * DAY),
        ("2024", at(2024, 1, 1), at(2025, 1, 1)),
        ("2024-02", at(2024, 2, 1), at(2024, 3, 1)),
        ("2023-12", at(2023, 12, 1), at(2024, 1, 1)),
        ("2024-02-29", at(2024, 2, 29), at(2024, 3, 1)),
        ("2000-02-29", at(2000, 2, 29), at(2000, 3, 1)),
        ("2026-03-01T10:30", at(2026, 3, 1, 10, 30), at(2026, 3, 1, 10, 31)),
        ("2026-03-01T10:30Z", at(2026, 3, 1, 10, 30), at(2026, 3, 1, 10, 31)),
        ("2026-03-01T10:30:15", at(2026, 3, 1, 10, 30, 15), at(2026, 3, 1, 10, 30, 16)),
        ("2026-03-01T10:30:15-03:00", at(2026, 3, 1, 13, 30, 15), at(2026, 3, 1, 13, 30, 16)),
        ("2026-03-01T00:30:00+05:30", at(2026, 2, 28, 19, 0, 0), at(2026, 2, 28, 19, 0, 1)),
        (
            "2026-03-01T10:30:15.5Z",
            at(2026, 3, 1, 10, 30, 15) + 500_000,
            at(2026, 3, 1, 10, 30, 15) + 600_000,
        ),
        (
            "2026-03-01T10:30:15.123456Z",
            at(2026, 3, 1, 10, 30, 15) + 123_456,
            at(2026, 3, 1, 10, 30, 15) + 123_457,
        ),
        (
            "2026-03-01T10:30:15.123456789Z",
            at(2026, 3, 1, 10, 30, 15) + 123_456,
            at(2026, 3, 1, 10, 30, 15) + 123_457,
        ),
        ("2016-12-31T23:59:60Z", at(2017, 1, 1), at(2017, 1, 1, 0, 0, 1)),
        ("9999-12-31", at(9999, 12, 31), at(9999, 12, 31) + DAY),
        ("9999", at(9999, 1, 1), at(9999, 12, 31) + DAY),
        ("0001-01-01", (1 - 719163) * DAY, (2 - 719163) * DAY),
    ],
)
def test_a_date_covers_what_it_leaves_open(text: str, lo: int, hi: int) -> None:
    assert date_range(text) == (lo, hi)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0000",
        "202",
        "20240",
        "2024-13",
        "2024-00",
        "2024-2",
        "2023-02-29",
        "1900-02-29",
        "2024-02-30",
        "2024-02-29T24:00:00Z",
        "2024-02-29T23:60:00Z",
        "2024-02-29T23:59:61Z",
        "2024-02-29T10Z",
        "2024-02-29T",
        "2024-02-29Z",
        "2024-02T10:00:00Z",
        "2024-02-29 10:00:00",
        "2024-02-29T10:00:00+14:01",
        "2024-02-29T10:00:00+3",
        "2024-02-29T10:00:00.Z",
        " 2024",
        "2024\n",
        "\uff12\uff10\uff12\uff14",
        "today",
        "-2024",
        "2024-02-29T10:00:00z",
    ],
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        date_range(text)


def test_a_time_of_day_is_an_interval_from_midnight() -> None:
    assert time_range("08:30") == (510 * MINUTE, 511 * MINUTE)
    assert time_range("08:30:01.25") == (510 * MINUTE + 1_250_000, 510 * MINUTE + 1_260_000)


@pytest.mark.parametrize("text", ["24:00", "8:30", "08:30Z", "08:60", ""])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        time_range(text)
