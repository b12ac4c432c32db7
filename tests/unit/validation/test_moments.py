"""Order of dates of any precision, where it is certain. Source: hl7.org/fhir/R4/datatypes.html#dateTime."""

from __future__ import annotations

import pytest

from fhirserver.validation.moments import after


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("2020", "2020", False),
        ("2021", "2020", True),
        ("2020", "2020-05-01", False),
        ("2020-06", "2020-05-31", True),
        ("2020-05", "2020-05-01", False),
        ("2020-05-02", "2020-05-01", True),
        ("2020-05-02T00:00:00Z", "2020-05-01", False),
        ("2020-05-03T00:00:00Z", "2020-05-01", True),
        ("2020-05-01T10:00:00Z", "2020-05-01T07:00:00-03:00", False),
        ("2020-05-01T10:00:01Z", "2020-05-01T07:00:00-03:00", True),
        ("2020-05-01T10:00:00.5Z", "2020-05-01T10:00:00Z", False),
        ("2020-05-01T10:00:00.25Z", "2020-05-01T10:00:00.125Z", True),
        ("2020-05-01T10:00:00+02:00", "2020-05-01T09:00:00+00:00", False),
        ("9999-12-31T23:59:59-14:00", "9999-12-31", False),
        ("0001-01-01T00:00:00+14:00", "0001", False),
    ],
)
def test_only_a_certain_order_counts(first: str, second: str, expected: bool) -> None:
    assert after(first, second) is expected
    if expected:
        assert not after(second, first)
