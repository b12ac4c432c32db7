"""The demo clinic: the same every time, of the promised size, and whole in itself."""

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from fhirserver.cli.demo import ENTRIES, SEED, build
from fhirserver.cli.demo.record import TZ
from fhirserver.r4.elements import Elements
from fhirserver.validation import Validator
from tests.unit.cli.test_identifiers import cns_is_valid, cpf_is_valid

TODAY = dt.date(2026, 11, 25)
Json = dict[str, Any]


@pytest.fixture(scope="module")
def bundles() -> list[Json]:
    return build(SEED, TODAY)


@pytest.fixture(scope="module")
def resources(bundles: list[Json]) -> list[Json]:
    return [entry["resource"] for bundle in bundles for entry in bundle["entry"]]


def of_type(resources: list[Json], type: str) -> list[Json]:
    return [resource for resource in resources if resource["resourceType"] == type]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from references(item)


def test_the_same_seed_and_date_give_the_same_clinic(bundles: list[Json]) -> None:
    assert json.dumps(build(SEED, TODAY)) == json.dumps(bundles)


def test_another_seed_or_date_gives_another_clinic(bundles: list[Json]) -> None:
    assert json.dumps(build(SEED + 1, TODAY)) != json.dumps(bundles)
    assert json.dumps(build(SEED, TODAY + dt.timedelta(days=1))) != json.dumps(bundles)


def test_bundles_are_transactions_within_the_limit(bundles: list[Json]) -> None:
    assert all(bundle["type"] == "transaction" and len(bundle["entry"]) <= ENTRIES for bundle in bundles)
    for bundle in bundles:
        for entry in bundle["entry"]:
            resource = entry["resource"]
            assert entry["request"] == {
                "method": "PUT",
                "url": f"{resource['resourceType']}/{resource['id']}",
            }


def test_the_clinic_has_the_promised_size(resources: list[Json]) -> None:
    counts = Counter(resource["resourceType"] for resource in resources)
    assert 15_000 <= len(resources) <= 25_000
    assert (counts["Patient"], counts["Practitioner"], counts["Location"], counts["Schedule"]) == (
        300,
        10,
        2,
        20,
    )
    assert counts["Organization"] == 2 + 3
    for type, least in {
        "Slot": 3000, "Appointment": 1200, "Encounter": 700, "Observation": 5000, "Condition": 400,
        "Claim": 400, "ClaimResponse": 300, "MedicationRequest": 300, "Immunization": 200,
        "AllergyIntolerance": 40, "Coverage": 200, "DiagnosticReport": 100, "DocumentReference": 50,
        "Communication": 300, "RelatedPerson": 30,
    }.items():  # fmt: skip
        assert counts[type] >= least, type


def test_every_reference_points_to_a_resource_of_the_same_bundle_or_an_earlier_one(
    bundles: list[Json],
) -> None:
    known: set[str] = set()
    for bundle in bundles:
        names = [entry["request"]["url"] for entry in bundle["entry"]]
        assert known.isdisjoint(names)
        assert len(set(names)) == len(names)
        known.update(names)
        assert set(references(bundle)) <= known


def test_people_carry_numbers_that_no_real_person_has(resources: list[Json]) -> None:
    values = [(i["system"], i["value"]) for p in of_type(resources, "Patient") for i in p["identifier"]]
    cpfs = [value for system, value in values if system.endswith("/cpf")]
    cards = [value for system, value in values if system.endswith("/cns")]
    assert len(set(cpfs)) == len(set(cards)) == 300
    assert all(value.startswith("999") and cpf_is_valid(value) for value in cpfs)
    assert all(value.startswith("700") and cns_is_valid(value) for value in cards)


def test_slots_lie_in_business_hours_and_no_professional_is_in_two_places(resources: list[Json]) -> None:
    professional = {s["id"]: s["actor"][0]["reference"] for s in of_type(resources, "Schedule")}
    taken: set[tuple[str, str]] = set()
    for slot in of_type(resources, "Slot"):
        start, end = dt.datetime.fromisoformat(slot["start"]), dt.datetime.fromisoformat(slot["end"])
        assert start.weekday() < 5
        assert 8 <= start.hour < 17
        assert start.hour != 12
        assert end - start == dt.timedelta(minutes=30)
        who = professional[slot["schedule"]["reference"].removeprefix("Schedule/")]
        assert (who, slot["start"]) not in taken
        taken.add((who, slot["start"]))


def test_statuses_fit_their_time(resources: list[Json]) -> None:
    midnight = dt.datetime.combine(TODAY, dt.time(), TZ)
    statuses = {True: set[str](), False: set[str]()}
    for appointment in of_type(resources, "Appointment"):
        past = dt.datetime.fromisoformat(appointment["start"]) < midnight
        statuses[past].add(appointment["status"])
    assert statuses == {True: {"fulfilled", "noshow", "cancelled"}, False: {"booked", "pending"}}
    assert all(e["status"] == "finished" for e in of_type(resources, "Encounter"))


def test_a_busy_slot_has_one_appointment_and_a_free_one_none_but_a_cancelled(resources: list[Json]) -> None:
    holders: dict[str, list[str]] = {}
    for appointment in of_type(resources, "Appointment"):
        holders.setdefault(appointment["slot"][0]["reference"], []).append(appointment["status"])
    for slot in of_type(resources, "Slot"):
        found = holders.get(f"Slot/{slot['id']}", [])
        assert len(found) <= 1
        assert (slot["status"] == "busy") == (bool(found) and found != ["cancelled"])


def test_nobody_is_treated_before_birth_or_after_death(resources: list[Json]) -> None:
    patients = {f"Patient/{p['id']}": p for p in of_type(resources, "Patient")}
    for encounter in of_type(resources, "Encounter"):
        patient, day = patients[encounter["subject"]["reference"]], encounter["period"]["start"][:10]
        assert patient["birthDate"] <= day
        assert day <= patient.get("deceasedDateTime", "9999")


def test_totals_are_the_sums_of_their_items(resources: list[Json]) -> None:
    claims = {f"Claim/{c['id']}": c for c in of_type(resources, "Claim")}
    for claim in claims.values():
        assert claim["total"]["value"] == pytest.approx(sum(item["net"]["value"] for item in claim["item"]))
        assert claim["total"]["currency"] == "BRL"
    for response in of_type(resources, "ClaimResponse"):
        granted = sum(item["adjudication"][1]["amount"]["value"] for item in response["item"])
        assert response["payment"]["amount"]["value"] == pytest.approx(granted)
        assert len(response["item"]) == len(claims[response["request"]["reference"]]["item"])


def test_every_resource_is_valid_r4(resources: list[Json]) -> None:
    validator = Validator(Elements.load())
    issues = [issue for resource in resources for issue in validator.validate(resource)]
    assert issues == []
    assert validator.validate({**resources[0], "unknown": 1}) != []
