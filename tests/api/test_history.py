"""history at instance, type and system level. Source: hl7.org/fhir/R4/http.html#history"""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.builders import a_patient
from tests.kit.client import Fhir, assert_outcome


def versions(fhir: Fhir, url: str) -> list[tuple[str, str, str]]:
    """(id, version, method) over all pages."""
    found: list[tuple[str, str, str]] = []
    while url:
        body: dict[str, Any] = fhir.get(url).json()
        assert body["type"] == "history", body
        for e in body.get("entry", []):
            id = e["fullUrl"].rpartition("/")[2]
            found.append((id, e["response"]["etag"][3:-1], e["request"]["method"]))
        url = next((link["url"] for link in body["link"] if link["relation"] == "next"), "")
    return found


@pytest.mark.verifies("http-history-1")
def test_instance_history_is_newest_first_and_complete_over_pages(fhir: Fhir) -> None:
    patient = fhir.made(a_patient())
    id = patient["id"]
    for number in range(5):
        fhir.update(patient | {"multipleBirthInteger": number + 1})
    fhir.delete(f"/Patient/{id}")
    expected = [(id, "7", "DELETE"), *((id, str(v), "PUT") for v in range(6, 1, -1)), (id, "1", "POST")]
    assert versions(fhir, f"/Patient/{id}/_history") == expected
    assert versions(fhir, f"/Patient/{id}/_history?_count=2") == expected
    deleted = fhir.get(f"/Patient/{id}/_history").json()["entry"][0]
    assert "resource" not in deleted
    assert deleted["response"]["status"].startswith("204")


@pytest.mark.verifies("http-history-1")
def test_type_and_system_history_hold_every_change_in_order(fhir: Fhir) -> None:
    first = fhir.made({"resourceType": "Basic", "code": {"text": "one"}})
    since = first["meta"]["lastUpdated"]
    second = fhir.made({"resourceType": "Basic", "code": {"text": "two"}})
    fhir.update(first | {"code": {"text": "changed"}})
    fhir.delete(f"/Basic/{second['id']}")
    expected = [
        (second["id"], "2", "DELETE"),
        (first["id"], "2", "PUT"),
        (second["id"], "1", "POST"),
        (first["id"], "1", "POST"),
    ]
    assert versions(fhir, f"/Basic/_history?_since={since}") == expected
    assert versions(fhir, f"/Basic/_history?_since={since}&_count=1") == expected
    mine = {first["id"], second["id"]}
    assert [v for v in versions(fhir, f"/_history?_since={since}&_count=3") if v[0] in mine] == expected


@pytest.mark.verifies("http-history-2")
def test_at_shows_what_was_current_then(fhir: Fhir) -> None:
    first = fhir.made({"resourceType": "Basic", "code": {"text": "one"}})
    second = fhir.update(first | {"code": {"text": "two"}}).json()
    fhir.update(second | {"code": {"text": "three"}})
    url = f"/Basic/{first['id']}/_history"
    assert versions(fhir, f"{url}?_at={second['meta']['lastUpdated']}")[0][1] == "2"


def test_history_refuses_what_it_does_not_know(fhir: Fhir) -> None:
    assert_outcome(fhir.get("/Patient/never/_history"), 404, "not-found", "resource-unknown")
    assert_outcome(fhir.get("/Patient/_history?_sort=x"), 400, "not-supported", "parameter-unknown")
    assert fhir.get("/Patient/_history?_sort=x", headers={"prefer": "handling=lenient"}).status_code == 200
    assert_outcome(fhir.get("/Patient/_history?_count=x"), 400, "invalid", "parameter-value")
    assert fhir.get("/Patient/_history?_since=yesterday").status_code == 400
    assert fhir.get("/Patient/_history?_cursor=forged").status_code == 400


@pytest.mark.verifies("http-history-3")
def test_history_tells_creations_from_updates(fhir: Fhir) -> None:
    id = fhir.made(a_patient())["id"]
    fhir.update(a_patient(id=id, active=True))
    fhir.delete(f"/Patient/{id}")
    fhir.update(a_patient(id=id))
    entries = fhir.get(f"/Patient/{id}/_history").json()["entry"]
    told = [(e["request"]["method"], e["response"]["status"]) for e in entries]
    assert told == [("PUT", "201"), ("DELETE", "204"), ("PUT", "200"), ("POST", "201")]
