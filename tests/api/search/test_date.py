"""Date parameters: implicit precision, time zones, Period, Timing. hl7.org/fhir/R4/search.html#date, #prefix."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.catalogue import Catalogue
from tests.kit.client import Fhir


def seen(id: str, **when: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id, "status": "final", "code": {"text": "x"}} | when


@pytest.fixture(scope="module")
def dated(fhir: Fhir) -> Catalogue:
    return Catalogue(
        fhir, "date",
        seen("year", effectiveDateTime="2026"), seen("month", effectiveDateTime="2026-03"),
        seen("day", effectiveDateTime="2026-03-10"), seen("noon", effectiveDateTime="2026-03-10T12:00:00Z"),
        seen("late", effectiveDateTime="2026-03-10T23:30:00-03:00"),  # the 11th in UTC
        seen("instant", effectiveInstant="2026-03-10T12:00:00.250Z"),
        seen("week", effectivePeriod={"start": "2026-03-09", "end": "2026-03-13"}),
        seen("since", effectivePeriod={"start": "2026-03-12"}), seen("until", effectivePeriod={"end": "2026-03-08"}),
        seen("timing", effectiveTiming={"event": ["2026-05-01", "2026-05-03T08:00:00Z"]}),
        seen("bounds", effectiveTiming={"repeat": {"boundsPeriod": {"start": "2026-06-01", "end": "2026-06-30"}}}),
        seen("never"),
    )  # fmt: skip


@pytest.mark.verifies("search-date-1")
@pytest.mark.parametrize(
    ("parameter", "modifier", "value", "matches"),
    [
        ("date", "", "2026-03-10", "day instant noon"),
        ("date", "", "2026-03-11", "late"),
        ("date", "", "2026-03-10T12:00Z", "instant noon"),
        ("date", "", "2026-03-10T12:00:00Z", "instant noon"),
        ("date", "", "2026-03-10T12:00:00.250Z", "instant"),
        ("date", "", "2026-03-10T09:00:00-03:00", "instant noon"),
        ("date", "", "2026-03-10T23:30-03:00", "late"),
        ("date", "", "2026-03", "day instant late month noon week"),
        ("date", "", "2026-05", "timing"),
        ("date", "", "eq2026-06", "bounds"),
        ("date", "", "gt2026-06-29", "bounds since year"),
        ("date", "", "ge2026-06-01", "bounds since year"),
        ("date", "", "lt2026-03-08", "until year month"),
        ("date", "", "le2026-03-09", "month until year"),
        ("date", "", "sa2026-03-11", "bounds since timing"),
        ("date", "", "eb2026-03-09", "until"),
        ("date", "", "ap2026-03-10T12:00:00Z", "ANY"),
        ("date", "", "2026-03-11,2026-05", "late timing"),
        ("date", ":missing", "true", "never"),
    ],
)
def test_a_date_matches(dated: Catalogue, parameter: str, modifier: str, value: str, matches: str) -> None:
    found = dated.found("Observation", (parameter + modifier, value))
    if matches == "ANY":  # what is near depends on how far away the day is
        assert {"noon", "instant", "day"} <= set(found.split())
        assert "bounds" not in found or "timing" in found
    else:
        assert found == " ".join(sorted(matches.split()))


def test_ne_holds_for_what_eq_does_not_hold_for(dated: Catalogue) -> None:
    every = set(dated.found("Observation", ("date:missing", "false")).split())
    same = set(dated.found("Observation", ("date", "2026-03-10")).split())
    assert set(dated.found("Observation", ("date", "ne2026-03-10")).split()) == every - same


def test_an_interval_is_two_values(dated: Catalogue) -> None:
    assert dated.found("Observation", ("date", "ge2026-03-10"), ("date", "lt2026-03-11")) == (
        "day instant month noon week year"
    )


@pytest.mark.verifies("search-errors-1")
@pytest.mark.parametrize(
    ("parameter", "modifier", "value", "code"),
    [
        ("date", "", "2026-13", "search-value-date"),
        ("date", "", "2026-02-30", "search-value-date"),
        ("date", "", "10/03/2026", "search-value-date"),
        ("date", "", "gt", "search-value-date"),
        ("date", "", "2026-03-10T25:00Z", "search-value-date"),
        ("date", "", "now", "search-value-date"),
        ("date", ":exact", "2026", "modifier-unknown"),
        ("_lastUpdated", "", "yesterday", "search-value-date"),
    ],
)
def test_a_date_is_refused(dated: Catalogue, parameter: str, modifier: str, value: str, code: str) -> None:
    assert dated.refused("Observation", (parameter + modifier, value)) == code


def test_last_updated_is_a_date_too(dated: Catalogue) -> None:
    stamp = dated.entries("Observation", ("_id", "@day"))[0]["meta"]["lastUpdated"]
    assert "day" in dated.found("Observation", ("_lastUpdated", stamp)).split()
    assert dated.found("Observation", ("_lastUpdated", f"gt{stamp}"), ("_id", "@day")) == ""
    assert dated.found("Observation", ("_lastUpdated", f"ge{stamp}"), ("_id", "@day")) == "day"
