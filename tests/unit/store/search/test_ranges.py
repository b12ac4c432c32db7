"""Dates, numbers, quantities, composites.

hl7.org/fhir/R4/search.html#prefix, #date, #number, #quantity, #composite.
"""

from __future__ import annotations

from typing import Any

import pytest

from fhirserver.search.types import date, number
from fhirserver.search.types.ranges import PREFIXES, holds
from tests.kit.corpus import Corpus, refused, url_of

DATES = {
    "year": "1990", "month": "1990-05", "day": "1990-05-05", "minute": "1990-05-05T10:00Z",
    "instant": "1990-05-05T10:00:00.000Z", "offset": "1990-05-05T23:30:00-03:00",
    "next": "1990-05-06", "old": "1066-10-14",
}  # fmt: skip
PERIODS = {
    "hour": {"start": "2026-03-01T10:00:00Z", "end": "2026-03-01T11:00:00Z"},
    "week": {"start": "2026-03-01", "end": "2026-03-07"},
    "open-end": {"start": "2026-03-03"},
    "open-start": {"end": "2026-03-03"},
}
SEARCHED = ("1990", "1990-05", "1990-05-05", "1990-05-05T10:00:00Z", "1990-05-06T02:30:00Z", "1990-05-06",
            "2026-03-01",
            "2026-03-03", "2026-03", "2026-03-01T10:30:00Z", "0999", "9999-12-31")  # fmt: skip


def observed(id: str, **value: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"coding": [{"code": "c"}]},
    } | value


NUMBERS = {"0.1": 0.1, "0.5": 0.5, "0.50": 0.504, "1": 1, "neg": -0.2, "big": 0.9999}


@pytest.fixture(scope="module")
def corpus(make_corpus: Any) -> Corpus:
    kg = {"system": "http://unitsofmeasure.org", "code": "kg", "unit": "quilo"}
    made: Corpus = make_corpus(
        *(observed(f"d-{id}", effectiveDateTime=text) for id, text in DATES.items()),
        *(observed(f"p-{id}", effectivePeriod=period) for id, period in PERIODS.items()),
        *({"resourceType": "RiskAssessment", "id": f"n-{n}", "status": "final",
           "subject": {"reference": "Patient/1"},
           "prediction": [{"probabilityDecimal": value}]} for n, value in enumerate(NUMBERS.values())),
        observed("q-kg", valueQuantity={"value": 5.4, **kg}),
        observed("q-g", valueQuantity={"value": 5400, "system": "http://unitsofmeasure.org", "code": "g"}),
        observed("q-unit", valueQuantity={"value": 5.4, "unit": "kg"}),
        observed("q-less", valueQuantity={"value": 5, "comparator": "<", **kg}),
        observed("two", component=[
            {"code": {"coding": [{"code": "sys"}]}, "valueQuantity": {"value": 120}},
            {"code": {"coding": [{"code": "dia"}]}, "valueQuantity": {"value": 80}}]),
    )  # fmt: skip
    return made


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("text", SEARCHED)
def test_dates_match_as_the_ranges_say(corpus: Corpus, prefix: str, text: str) -> None:
    condition = date.parse(prefix + text).condition(corpus.now)
    expected = [f"d-{id}" for id, value in DATES.items() if holds(condition, *interval("dateTime", value))]
    expected += [f"p-{id}" for id, value in PERIODS.items() if holds(condition, *interval("Period", value))]
    assert corpus.found(url_of("Observation", ("date", prefix + text), ("_count", "100"))) == " ".join(
        sorted(expected)
    )


def interval(type: str, value: Any) -> tuple[int, int]:
    found = date.index(type, value)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("value", "matches"),
    [
        ("1990-05-05", "d-day d-instant d-minute"),
        ("1990-05-06", "d-next d-offset"),
        ("1990-05", "d-day d-instant d-minute d-month d-next d-offset"),
        ("lt1100", "d-old p-open-start"),
        ("sa2026-03-02", "p-open-end"),
        ("2026-03-01", "p-hour"),
        ("1990-05-05,2026-03-01", "d-day d-instant d-minute p-hour"),
        ("1990-05-05T20:30:00-06:00", "d-offset"),
        ("1990-05-05T20:30:00 00:00", ""),
    ],
)
def test_a_date_matches(corpus: Corpus, value: str, matches: str) -> None:
    assert corpus.found(url_of("Observation", ("date", value))) == matches


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("text", ["0.5", "0.50", "0.1", "1", "1.0", "1e0", "-0.2", "0.9999", "100"])
def test_numbers_match_as_the_ranges_say(corpus: Corpus, prefix: str, text: str) -> None:
    condition = number.parse(prefix + text).condition()
    expected = [f"n-{n}" for n, value in enumerate(NUMBERS.values()) if holds(condition, value, value)]
    assert corpus.found(url_of("RiskAssessment", ("probability", prefix + text))) == " ".join(expected)


UCUM = "http://unitsofmeasure.org"


@pytest.mark.parametrize(
    ("parameter", "value", "matches"),
    [
        ("value-quantity", "5.4", "q-kg q-unit"),
        ("value-quantity", f"5.4|{UCUM}|kg", "q-kg"),
        ("value-quantity", "5.4||kg", "q-kg q-unit"),
        ("value-quantity", "5.4||quilo", "q-kg"),
        ("value-quantity", f"gt5|{UCUM}|kg", "q-kg"),
        ("value-quantity", f"lt5|{UCUM}|kg", "q-less"),
        ("value-quantity", "5.400", "q-kg q-unit"),
        ("value-quantity", "5", "q-kg q-unit"),
        ("value-quantity", "gt5000", "q-g"),
        ("code-value-quantity", f"c$5.4|{UCUM}|kg", "q-kg"),
        ("code-value-quantity", "d$5.4", ""),
        ("component-code-value-quantity", "sys$120", "two"),
        ("component-code-value-quantity", "sys$gt100", "two"),
        ("component-code-value-quantity", "sys$80", ""),
        ("component-code-value-quantity", "sys$80,dia$80", "two"),
    ],
)
def test_a_quantity_or_composite_matches(corpus: Corpus, parameter: str, value: str, matches: str) -> None:
    assert corpus.found(url_of("Observation", (parameter, value))) == matches


@pytest.mark.parametrize(
    ("parameter", "value", "code"),
    [
        ("date", "1990-13", "search-value-date"),
        ("date", "xx1990", "search-value-date"),
        ("date", "$gt", "search-value-date"),
        ("date:exact", "1990", "modifier-unknown"),
        ("value-quantity", "abc", "search-value-number"),
        ("value-quantity", "1e999", "search-value-number"),
        ("value-quantity", "NaN", "search-value-number"),
        ("value-quantity", "5|kg", "search-value-quantity"),
        ("code-value-quantity", "c", "search-value-composite"),
        ("code-value-quantity", "c$5$6", "search-value-composite"),
        ("code-value-quantity:exact", "c$5", "modifier-unknown"),
    ],
)
def test_a_range_search_is_refused(corpus: Corpus, parameter: str, value: str, code: str) -> None:
    assert refused(corpus, "Observation", (parameter, value)) == code
