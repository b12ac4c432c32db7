"""read, vread, create, update, delete over HTTP. Source: hl7.org/fhir/R4/http.html#read ... #delete"""

from __future__ import annotations

import pytest

from tests.kit.builders import a_patient
from tests.kit.client import Fhir, assert_outcome, unique


@pytest.mark.verifies("http-create-1")
def test_create_answers_the_stored_resource_and_where_it_is(fhir: Fhir) -> None:
    response = fhir.create(
        a_patient(id="mine", meta={"versionId": "7", "lastUpdated": "2001-01-01T00:00:00Z"})
    )
    body = response.json()
    assert response.status_code == 201
    assert body["id"] != "mine"
    assert body["meta"]["versionId"] == "1"
    assert not body["meta"]["lastUpdated"].startswith("2001")
    assert response.headers["location"] == f"{fhir.base_url}Patient/{body['id']}/_history/1".replace(
        "//Pat", "/Pat"
    )
    assert response.headers["etag"] == 'W/"1"'
    assert response.headers["content-type"] == "application/fhir+json; charset=utf-8"
    assert response.headers["last-modified"].endswith("GMT")


@pytest.mark.verifies("http-read-1")
def test_read_answers_what_create_stored_byte_for_byte(fhir: Fhir) -> None:
    created = fhir.create(a_patient())
    read = fhir.get(f"/Patient/{created.json()['id']}")
    assert read.content == created.content
    assert read.headers["etag"] == created.headers["etag"]


@pytest.mark.verifies("http-read-4")
def test_head_answers_the_headers_of_a_read(fhir: Fhir) -> None:
    id = fhir.made(a_patient())["id"]
    read, head = fhir.get(f"/Patient/{id}"), fhir.head(f"/Patient/{id}")
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == read.headers["content-length"]


@pytest.mark.verifies("http-read-2")
def test_read_of_an_unknown_id_is_not_found(fhir: Fhir) -> None:
    assert_outcome(fhir.get("/Patient/nobody"), 404, "not-found", "resource-unknown")


@pytest.mark.parametrize("id", ["a" * 65, "under_score", "sp%20ace", "%00"])
def test_malformed_ids_are_refused(fhir: Fhir, id: str) -> None:
    assert fhir.get(f"/Patient/{id}").status_code in (400, 404)


def test_unknown_types_are_not_found(fhir: Fhir) -> None:
    assert_outcome(fhir.get("/Person2/1"), 404, "not-found", "type-unknown")
    assert_outcome(fhir.get("/patient/1"), 404, "not-found", "type-unknown")


@pytest.mark.verifies("http-read-3")
def test_conditional_read_answers_not_modified(fhir: Fhir) -> None:
    created = fhir.create(a_patient())
    url = f"/Patient/{created.json()['id']}"
    assert fhir.get(url, headers={"if-none-match": created.headers["etag"]}).status_code == 304
    assert fhir.get(url, headers={"if-none-match": 'W/"9"'}).status_code == 200
    assert fhir.get(url, headers={"if-modified-since": created.headers["last-modified"]}).status_code == 304
    assert fhir.get(url, headers={"if-modified-since": "Mon, 01 Jan 2001 00:00:00 GMT"}).status_code == 200


@pytest.mark.verifies("http-vread-1", "http-update-1")
def test_update_makes_the_next_version_and_keeps_the_first(fhir: Fhir) -> None:
    first = fhir.made(a_patient())
    response = fhir.update(first | {"active": True})
    assert response.status_code == 200
    assert response.json()["meta"]["versionId"] == "2"
    assert response.headers["etag"] == 'W/"2"'
    old = fhir.get(f"/Patient/{first['id']}/_history/1")
    assert old.json() == first
    assert fhir.get(f"/Patient/{first['id']}/_history/2").json()["active"] is True
    assert_outcome(fhir.get(f"/Patient/{first['id']}/_history/3"), 404, "not-found", "resource-unknown")


@pytest.mark.verifies("http-update-2")
def test_update_as_create_uses_the_callers_id(fhir: Fhir) -> None:
    id = unique("own")
    response = fhir.update(a_patient(id=id))
    assert response.status_code == 201
    assert response.headers["location"].endswith(f"/Patient/{id}/_history/1")
    assert fhir.get(f"/Patient/{id}").json()["id"] == id


@pytest.mark.verifies("http-update-1")
def test_update_refuses_an_id_that_differs_from_the_url(fhir: Fhir) -> None:
    response = fhir.put(
        "/Patient/one", json=a_patient(id="two"), headers={"content-type": "application/fhir+json"}
    )
    assert_outcome(response, 400, "invalid", "id-mismatch", "Patient.id")
    response = fhir.put("/Patient/one", json=a_patient(), headers={"content-type": "application/fhir+json"})
    assert_outcome(response, 400, "invalid", "id-mismatch", "Patient.id")


@pytest.mark.verifies("http-update-3")
def test_a_stale_if_match_is_refused_and_nothing_is_lost(fhir: Fhir) -> None:
    first = fhir.made(a_patient())
    assert fhir.update(first | {"active": True}, if_match='W/"1"').status_code == 200
    assert_outcome(fhir.update(first, if_match='W/"1"'), 412, "conflict", "version-mismatch")
    assert fhir.get(f"/Patient/{first['id']}").json()["active"] is True
    assert_outcome(fhir.update(a_patient(id=unique()), if_match='W/"1"'), 412, "conflict", "version-mismatch")


@pytest.mark.verifies("http-read-2")
def test_read_answers_gone_after_delete_and_history_stays(fhir: Fhir) -> None:
    patient = fhir.made(a_patient())
    url = f"/Patient/{patient['id']}"
    response = fhir.delete(url)
    assert response.status_code == 204
    assert response.content == b""
    assert_outcome(fhir.get(url), 410, "deleted", "resource-deleted")
    assert fhir.get(f"{url}/_history/1").json() == patient
    assert_outcome(fhir.get(f"{url}/_history/2"), 410, "deleted", "resource-deleted")
    assert fhir.delete(url).status_code == 204
    assert [e["request"]["method"] for e in fhir.get(f"{url}/_history").json()["entry"]] == ["DELETE", "POST"]


@pytest.mark.verifies("http-delete-2")
def test_delete_of_an_unknown_id_succeeds_and_leaves_nothing(fhir: Fhir) -> None:
    assert fhir.delete("/Patient/never-was").status_code == 204
    assert_outcome(fhir.get("/Patient/never-was"), 404, "not-found", "resource-unknown")


def test_a_deleted_resource_comes_back_by_update(fhir: Fhir) -> None:
    patient = fhir.made(a_patient())
    fhir.delete(f"/Patient/{patient['id']}")
    response = fhir.update(patient)
    assert response.status_code == 201
    assert response.json()["meta"]["versionId"] == "3"
    assert fhir.get(f"/Patient/{patient['id']}").status_code == 200


@pytest.mark.verifies("http-create-2")
def test_an_invalid_resource_is_refused_with_every_problem_named(fhir: Fhir) -> None:
    response = fhir.create({"resourceType": "Patient", "active": "true", "gender": "robot", "nmae": []})
    assert response.status_code == 422
    told = {e for issue in response.json()["issue"] for e in issue["expression"]}
    assert {"Patient.active", "Patient.gender", "Patient.nmae"} <= told
    assert "robot" not in response.text


def test_the_body_must_be_of_the_type_in_the_url(fhir: Fhir) -> None:
    response = fhir.post("/Observation", json=a_patient(), headers={"content-type": "application/fhir+json"})
    assert_outcome(response, 400, "invalid", "type-mismatch")


@pytest.mark.verifies("json-3")
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "json-empty"),
        (b"{", "json-syntax"),
        (b'{"resourceType":"Patient","id":"a","id":"b"}', "json-duplicate-key"),
        (b'\xef\xbb\xbf{"resourceType":"Patient"}', "json-encoding"),
        (b'{"resourceType":"Patient","x":NaN}', "json-number"),
        (b'{"resourceType":"Patient"} {}', "json-syntax"),
        (b'{"resourceType":"Patient","x":"\xff"}', "json-encoding"),
        (b"[" * 100 + b"]" * 100, "json-depth"),
    ],
)
def test_broken_json_is_refused(fhir: Fhir, body: bytes, code: str) -> None:
    response = fhir.post("/Patient", content=body, headers={"content-type": "application/fhir+json"})
    assert response.status_code == 400
    assert response.json()["issue"][0]["details"]["coding"][0]["code"] == code


@pytest.mark.verifies("http-prefer-1")
def test_prefer_decides_what_a_write_answers(fhir: Fhir) -> None:
    minimal = fhir.create(a_patient(), prefer="return=minimal")
    assert (minimal.status_code, minimal.content) == (201, b"")
    assert "location" in minimal.headers
    told = fhir.create(a_patient(), prefer="return=OperationOutcome").json()
    assert told["resourceType"] == "OperationOutcome"
    assert fhir.create(a_patient(), prefer="return=representation").json()["resourceType"] == "Patient"


def test_decimals_keep_their_precision_everywhere(fhir: Fhir) -> None:
    body = (
        b'{"resourceType":"Observation","status":"final","code":{"text":"x"},'
        b'"valueQuantity":{"value":1.00,"unit":"mg"},"referenceRange":[{"low":{"value":0.10},"high":{"value":12345678901234567890.123}}]}'
    )
    created = fhir.post("/Observation", content=body, headers={"content-type": "application/fhir+json"})
    assert created.status_code == 201
    id = created.json()["id"]
    for response in (
        created,
        fhir.get(f"/Observation/{id}"),
        fhir.get(f"/Observation?_id={id}"),
        fhir.get(f"/Observation/{id}/_history"),
        fhir.get(f"/Observation/{id}?_pretty=true"),
        fhir.get(f"/Observation?_id={id}&_elements=value,referenceRange"),
    ):
        text = response.text.replace(" ", "")
        assert '"value":1.00' in text
        assert '"value":0.10' in text
        assert '"value":12345678901234567890.123' in text
    xml = fhir.get(f"/Observation/{id}", headers={"accept": "application/fhir+xml"}).text
    assert '<value value="1.00"/>' in xml
    assert '<value value="12345678901234567890.123"/>' in xml
