"""patch by JSON Patch and FHIRPath Patch. Source: hl7.org/fhir/R4/http.html#patch, hl7.org/fhir/R4/fhirpatch.html"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.kit.builders import a_patient
from tests.kit.client import Fhir, assert_outcome

JSON_PATCH = {"content-type": "application/json-patch+json"}
FHIR_JSON = {"content-type": "application/fhir+json"}


def fhirpath_patch(kind: str, path: str, **values: Any) -> dict[str, Any]:
    parts = [{"name": "type", "valueCode": kind}, {"name": "path", "valueString": path}]
    parts += [
        {"name": name.partition("_")[0], f"value{name.partition('_')[2]}": value}
        for name, value in values.items()
    ]
    return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}


@pytest.mark.verifies("http-patch-1")
def test_json_patch_makes_the_next_version(fhir: Fhir) -> None:
    id = fhir.made(a_patient())["id"]
    patch = [
        {"op": "test", "path": "/name/0/family", "value": "Souza"},
        {"op": "add", "path": "/active", "value": True},
    ]
    response = fhir.patch(f"/Patient/{id}", json=patch, headers=JSON_PATCH)
    assert response.status_code == 200
    assert response.json()["active"] is True
    assert response.json()["meta"]["versionId"] == "2"


@pytest.mark.verifies("http-patch-2")
def test_fhirpath_patch_makes_the_next_version(fhir: Fhir) -> None:
    id = fhir.made(a_patient())["id"]
    response = fhir.patch(
        f"/Patient/{id}",
        json=fhirpath_patch("add", "Patient", name_String="birthDate", value_Date="1980-05-01"),
        headers=FHIR_JSON,
    )
    assert response.status_code == 200, response.text
    assert response.json()["birthDate"] == "1980-05-01"


@pytest.mark.verifies("http-patch-1")
def test_a_patch_that_does_not_apply_changes_nothing(fhir: Fhir) -> None:
    id = fhir.made(a_patient())["id"]
    patch = [
        {"op": "add", "path": "/active", "value": True},
        {"op": "test", "path": "/name/0/family", "value": "Lima"},
    ]
    assert fhir.patch(f"/Patient/{id}", json=patch, headers=JSON_PATCH).status_code in (400, 422)
    assert "active" not in fhir.get(f"/Patient/{id}").json()


def test_a_patch_to_something_invalid_is_refused(fhir: Fhir) -> None:
    id = fhir.made(a_patient())["id"]
    for patch in (
        [{"op": "add", "path": "/gender", "value": "robot"}],
        [{"op": "replace", "path": "/id", "value": "other"}],
        [{"op": "replace", "path": "/resourceType", "value": "Person"}],
    ):
        assert fhir.patch(f"/Patient/{id}", json=patch, headers=JSON_PATCH).status_code in (400, 422)
    assert fhir.get(f"/Patient/{id}").json()["meta"]["versionId"] == "1"


def test_patch_refuses_what_is_not_there_and_other_media(fhir: Fhir) -> None:
    patch = [{"op": "add", "path": "/active", "value": True}]
    assert_outcome(
        fhir.patch("/Patient/nobody", json=patch, headers=JSON_PATCH), 404, "not-found", "resource-unknown"
    )
    id = fhir.made(a_patient())["id"]
    stale = JSON_PATCH | {"if-match": 'W/"5"'}
    assert_outcome(
        fhir.patch(f"/Patient/{id}", json=patch, headers=stale), 412, "conflict", "version-mismatch"
    )
    text = {"content-type": "text/plain"}
    assert_outcome(
        fhir.patch(f"/Patient/{id}", json=patch, headers=text), 415, "not-supported", "media-type-unknown"
    )
    fhir.delete(f"/Patient/{id}")
    assert_outcome(
        fhir.patch(f"/Patient/{id}", json=patch, headers=JSON_PATCH), 410, "deleted", "resource-deleted"
    )


def test_parallel_patches_lose_no_change(fhir: Fhir) -> None:
    id = fhir.made(a_patient(telecom=[]) | {"telecom": [{"system": "phone", "value": "0"}]})["id"]

    def add(number: int) -> int:
        patch = [{"op": "add", "path": "/telecom/-", "value": {"system": "phone", "value": str(number)}}]
        return httpx.patch(
            f"{fhir.base_url}Patient/{id}", json=patch, headers=JSON_PATCH, timeout=60
        ).status_code

    with ThreadPoolExecutor(10) as pool:
        statuses = list(pool.map(add, range(1, 31)))
    assert statuses == [200] * 30
    stored = fhir.get(f"/Patient/{id}").json()
    assert sorted(int(t["value"]) for t in stored["telecom"]) == list(range(31))
    assert stored["meta"]["versionId"] == "31"
