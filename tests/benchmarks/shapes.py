"""The search shapes, each a way to draw one search from a world.

`matches` says how the work should grow with the data:
- fixed: the search finds equally much at each size (one patient, one practitioner, one rare code, a window
  that is as much narrower as the data is larger);
- page: the matches grow with the data, the page of twenty does not;
- all: every match has to be looked at (a total over a common code, a substring), so time in proportion to the
  data is no surprise. These are shown, but stay out of the growth that the target speaks of.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from random import Random
from typing import NamedTuple
from urllib.parse import quote

from tests.benchmarks.clinic import (
    BLOOD_PRESSURE,
    CITIES,
    DAYS,
    FIRST_DAY,
    GLUCOSE,
    ICD,
    LICENSE,
    LOINC,
    PATIENTS,
    PRACTITIONERS,
    RECORD,
    SYSTOLIC,
    UCUM,
    World,
)

Draw = Callable[[World, Random], str]
PAGE = 20


class Shape(NamedTuple):
    """One shape. `draw`: target below the FHIR base. `deep`: share of all matches to walk past beforehand."""

    name: str
    matches: str
    draw: Draw
    deep: float = 0.0
    post: bool = False


def _q(value: str) -> str:
    return quote(value, safe="")


def _token(system: str, value: str) -> str:
    return _q(f"{system}|{value}")


def _record(w: World, r: Random) -> str:
    return _token(RECORD, w.any_block(r).record(r.randrange(PATIENTS)))


def _doctor(w: World, r: Random) -> str:
    return w.any_block(r).practitioner(r.randrange(PRACTITIONERS))


def _license(w: World, r: Random) -> str:
    return _token(LICENSE, w.any_block(r).license(r.randrange(PRACTITIONERS)))


def _rare(w: World, r: Random) -> str:
    return _token(ICD, w.any_block(r).rare)


def _prefix(w: World, r: Random) -> str:
    return _q(w.any_block(r).family.lower())


def _family(w: World, r: Random) -> str:
    return _q(w.any_block(r).family_of(r.randrange(PATIENTS)))


def _window(w: World, r: Random) -> str:
    """A window of time that holds about twenty of the observations, whatever the size."""
    days = DAYS * PAGE / (6 * w.patients)
    start = FIRST_DAY + dt.timedelta(days=r.randrange(DAYS - 10))
    if days >= 1:
        start, end = start.replace(hour=0), start.replace(hour=0) + dt.timedelta(days=round(days))
    else:  # visits begin between 8 and 17 h
        start += dt.timedelta(minutes=r.randrange(120))
        end = start + dt.timedelta(hours=9 * days)
    return f"date=ge{_q(start.isoformat())}&date=lt{_q(end.isoformat())}"


def _glucose(w: World, r: Random) -> str:
    """A narrow band of glucose that holds about twenty values."""
    width = PAGE / (w.patients * 0.0142)  # the density of the distribution around its mean, per mg/dL
    low = 100 + r.random() * 5
    unit = _q(f"|{UCUM}|mg/dL")
    return f"value-quantity=ge{low:.2f}{unit}&value-quantity=lt{low + width:.2f}{unit}"


def _many(count: int, prefix: str = "") -> Draw:
    return lambda w, r: ",".join(prefix + w.any_patient(r) for _ in range(count))


def _near(w: World, r: Random) -> str:
    latitude, longitude = w.any_block(r).position
    return _q(f"{latitude + 0.01:.4f}|{longitude + 0.01:.4f}|5|km")


def _day(r: Random) -> str:
    return str((FIRST_DAY + dt.timedelta(days=r.randrange(DAYS // 2, DAYS))).date())


BP = _token(LOINC, BLOOD_PRESSURE)
SUGAR = _token(LOINC, GLUCOSE)
HIGH = _q(f"{LOINC}|{SYSTOLIC}$gt")
TEN, TWENTY = _many(10, "Patient/"), _many(20)

SHAPES: tuple[Shape, ...] = (
    Shape("token", "fixed", lambda w, r: f"Patient?identifier={_record(w, r)}"),
    Shape("token by POST", "fixed", lambda w, r: f"Patient?identifier={_record(w, r)}", post=True),
    Shape("token, common", "page", lambda w, r: f"Patient?gender={r.choice(('male', 'female'))}"),
    Shape("string prefix", "fixed", lambda w, r: f"Patient?family={_prefix(w, r)}"),
    Shape("string :exact", "fixed", lambda w, r: f"Patient?family:exact={_family(w, r)}"),
    Shape("string :contains", "all", lambda w, r: f"Patient?family:contains={_family(w, r)[1:6]}"),
    Shape("date range", "fixed", lambda w, r: f"Observation?{_window(w, r)}"),
    Shape("date, half open", "page", lambda w, r: f"Observation?date=ge{_day(r)}"),
    Shape("reference", "fixed", lambda w, r: f"Observation?subject=Patient/{w.any_patient(r)}"),
    Shape(
        "reference, date, sorted",
        "fixed",
        lambda w, r: f"Observation?subject=Patient/{w.any_patient(r)}&date=ge2024-06-01&_sort=-date",
    ),
    Shape("chained", "fixed", lambda w, r: f"Observation?subject:Patient.identifier={_record(w, r)}"),
    Shape(
        "chained, two hops",
        "fixed",
        lambda w, r: (
            f"Encounter?subject:Patient.general-practitioner:Practitioner.identifier={_license(w, r)}"
        ),
    ),
    Shape("_has, rare code", "fixed", lambda w, r: f"Patient?_has:Condition:subject:code={_rare(w, r)}"),
    Shape(
        "_has, common code, few candidates",
        "fixed",
        lambda w, r: (
            f"Patient?general-practitioner=Practitioner/{_doctor(w, r)}&_has:Observation:subject:code={BP}"
        ),
    ),
    Shape(
        "_has, nested",
        "fixed",
        lambda w, r: (
            f"Practitioner?_has:Patient:general-practitioner:_has:Condition:subject:code={_rare(w, r)}"
        ),
    ),
    Shape(
        "_include",
        "fixed",
        lambda w, r: (
            f"Observation?subject=Patient/{w.any_patient(r)}"
            "&_include=Observation:subject&_include=Observation:encounter"
        ),
    ),
    Shape(
        "_revinclude",
        "fixed",
        lambda w, r: f"Patient?_id={w.any_patient(r)}&_revinclude=Observation:subject",
    ),
    Shape(
        "_include:iterate",
        "fixed",
        lambda w, r: (
            f"Observation?subject=Patient/{w.any_patient(r)}"
            "&_include=Observation:subject&_include:iterate=Patient:general-practitioner"
        ),
    ),
    Shape(
        "composite, one patient",
        "fixed",
        lambda w, r: f"Observation?subject=Patient/{w.any_patient(r)}&component-code-value-quantity={HIGH}40",
    ),
    Shape(
        "composite, page",
        "page",
        lambda w, r: f"Observation?component-code-value-quantity={HIGH}{r.randrange(110, 130)}",
    ),
    Shape("quantity range", "fixed", lambda w, r: f"Observation?code={SUGAR}&{_glucose(w, r)}"),
    Shape("sorted page", "page", lambda w, r: f"Patient?_sort=family&gender={r.choice(('male', 'female'))}"),
    Shape("sorted page, descending", "page", lambda w, r: "Patient?_sort=-birthdate&active=true"),
    Shape("sorted by two keys", "page", lambda w, r: "Patient?_sort=gender,-birthdate&active=true"),
    Shape(
        "reference, sorted by date",
        "fixed",
        lambda w, r: f"Appointment?practitioner=Practitioner/{_doctor(w, r)}&date=ge2026-01-10&_sort=date",
    ),
    Shape(
        "free slots of a schedule",
        "fixed",
        lambda w, r: (
            f"Slot?schedule=Schedule/{w.any_block(r).schedule(r.randrange(PRACTITIONERS))}"
            f"&status=free&start=ge2026-02-{r.randrange(2, 9):02d}&_sort=start"
        ),
    ),
    Shape("deep page", "page", lambda w, r: "Patient?_sort=family", deep=0.9),
    Shape("deep page, unsorted", "page", lambda w, r: "Patient?active=true", deep=0.9),
    Shape(
        "count, one patient",
        "fixed",
        lambda w, r: f"Observation?subject=Patient/{w.any_patient(r)}&_summary=count",
    ),
    Shape("count, common code", "all", lambda w, r: f"Observation?code={BP}&_summary=count"),
    Shape("_elements", "fixed", lambda w, r: f"Patient?family={_prefix(w, r)}&_elements=identifier,name"),
    Shape("_summary", "fixed", lambda w, r: f"Patient?family={_prefix(w, r)}&_summary=true"),
    Shape(
        "four criteria",
        "page",
        lambda w, r: (
            f"Patient?gender=female&address-city={_q(r.choice(CITIES))}&birthdate=ge1980-01-01&active=true"
        ),
    ),
    Shape(
        "four criteria, one patient",
        "fixed",
        lambda w, r: (
            f"Encounter?subject=Patient/{w.any_patient(r)}&status=finished,cancelled&class=AMB,EMER&date=ge2023-01-01"
        ),
    ),
    Shape("OR list", "fixed", lambda w, r: f"Observation?subject={TEN(w, r)}&_count=100"),
    Shape("near", "fixed", lambda w, r: f"Location?near={_near(w, r)}"),
    Shape(
        ":missing",
        "fixed",
        lambda w, r: f"Patient?general-practitioner=Practitioner/{_doctor(w, r)}&phone:missing=true",
    ),
    Shape(
        ":not",
        "fixed",
        lambda w, r: f"Appointment?practitioner=Practitioner/{_doctor(w, r)}&status:not=cancelled",
    ),
    Shape("_lastUpdated", "page", lambda w, r: "Observation?_lastUpdated=gt2020-01-01"),
    Shape("compartment", "fixed", lambda w, r: f"Patient/{w.any_patient(r)}/Observation"),
    Shape("_id list", "fixed", lambda w, r: f"Patient?_id={TWENTY(w, r)}"),
    Shape("$everything", "fixed", lambda w, r: f"Patient/{w.any_patient(r)}/$everything?_count=100"),
)
