"""Conditional create, update, patch, delete. Source: hl7.org/fhir/R4/http.html#ccreate, #cond-update, #3.1.0.7.1"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.kit.builders import SYSTEM, a_patient, identified
from tests.kit.client import Fhir, assert_outcome, unique


@pytest.mark.verifies("http-create-3")
def test_conditional_create_creates_once(fhir: Fhir) -> None:
    value = unique()
    first = fhir.create(identified(value), if_none_exist=f"identifier={SYSTEM}|{value}")
    second = fhir.create(identified(value, active=True), if_none_exist=f"identifier={SYSTEM}|{value}")
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == first.json()


def test_conditional_create_with_two_matches_is_refused(fhir: Fhir) -> None:
    value = unique()
    fhir.made(identified(value))
    fhir.made(identified(value))
    response = fhir.create(identified(value), if_none_exist=f"identifier={SYSTEM}|{value}")
    assert_outcome(response, 412, "multiple-matches", "multiple-matches")


@pytest.mark.parametrize("criteria", ["", "?", "_format=json"])
def test_conditional_create_without_criteria_is_refused(fhir: Fhir, criteria: str) -> None:
    assert_outcome(fhir.create(a_patient(), if_none_exist=criteria), 400, "invalid", "criteria-missing")


def test_conditional_create_with_an_unknown_parameter_is_refused(fhir: Fhir) -> None:
    response = fhir.create(a_patient(), if_none_exist="colour=red")
    assert_outcome(response, 400, "not-supported", "parameter-unknown")


@pytest.mark.verifies("http-create-4")
def test_a_hundred_parallel_conditional_creates_of_one_identifier_make_one_resource(fhir: Fhir) -> None:
    value = unique("race")
    body = identified(value)

    def attempt(_: int) -> int:
        headers = {"content-type": "application/fhir+json", "if-none-exist": f"identifier={SYSTEM}|{value}"}
        return httpx.post(f"{fhir.base_url}Patient", json=body, headers=headers, timeout=60).status_code

    with ThreadPoolExecutor(20) as pool:
        statuses = sorted(pool.map(attempt, range(100)))
    assert statuses == [200] * 99 + [201]
    assert len(fhir.ids(f"/Patient?identifier={SYSTEM}|{value}")) == 1


@pytest.mark.verifies("http-update-4")
def test_conditional_update_creates_updates_and_refuses_ambiguity(fhir: Fhir) -> None:
    value = unique()
    url = f"/Patient?identifier={SYSTEM}|{value}"
    headers = {"content-type": "application/fhir+json"}
    created = fhir.put(url, json=identified(value), headers=headers)
    assert created.status_code == 201
    updated = fhir.put(url, json=identified(value, active=True), headers=headers)
    assert updated.status_code == 200
    assert updated.json()["id"] == created.json()["id"]
    assert updated.json()["meta"]["versionId"] == "2"
    other = fhir.put(url, json=identified(value, id="another"), headers=headers)
    assert_outcome(other, 400, "invalid", "id-mismatch", "Patient.id")
    fhir.made(identified(value))
    assert_outcome(
        fhir.put(url, json=identified(value), headers=headers), 412, "multiple-matches", "multiple-matches"
    )


def test_conditional_update_without_a_match_takes_the_bodys_id(fhir: Fhir) -> None:
    value = unique()
    url = f"/Patient?identifier={SYSTEM}|{value}"
    response = fhir.put(
        url, json=identified(value, id=value), headers={"content-type": "application/fhir+json"}
    )
    assert response.status_code == 201
    assert response.json()["id"] == value


def test_conditional_update_without_criteria_is_refused(fhir: Fhir) -> None:
    response = fhir.put("/Patient", json=a_patient(), headers={"content-type": "application/fhir+json"})
    assert_outcome(response, 400, "invalid", "criteria-missing")


@pytest.mark.verifies("http-delete-3")
def test_conditional_delete_takes_one_match_only(fhir: Fhir) -> None:
    value = unique()
    url = f"/Patient?identifier={SYSTEM}|{value}"
    assert fhir.delete(url).status_code == 204
    id = fhir.made(identified(value))["id"]
    second = fhir.made(identified(value))["id"]
    assert_outcome(fhir.delete(url), 412, "multiple-matches", "multiple-matches")
    fhir.delete(f"/Patient/{second}")
    assert fhir.delete(url).status_code == 204
    assert fhir.get(f"/Patient/{id}").status_code == 410
    assert_outcome(fhir.delete("/Patient"), 400, "invalid", "criteria-missing")


@pytest.mark.verifies("http-patch-3")
def test_conditional_patch_needs_exactly_one_match(fhir: Fhir) -> None:
    value = unique()
    url = f"/Patient?identifier={SYSTEM}|{value}"
    patch = [{"op": "add", "path": "/active", "value": True}]
    headers = {"content-type": "application/json-patch+json"}
    assert_outcome(fhir.patch(url, json=patch, headers=headers), 404, "not-found", "no-match")
    fhir.made(identified(value))
    assert fhir.patch(url, json=patch, headers=headers).json()["active"] is True
    fhir.made(identified(value))
    assert_outcome(fhir.patch(url, json=patch, headers=headers), 412, "multiple-matches", "multiple-matches")
