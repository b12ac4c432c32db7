"""What one request may cost: security.md section 4, D1-D9 and D13, attack by attack, over real HTTP.

Rule: whatever is over a limit is refused at once with an OperationOutcome, and the server serves on.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kit.builders import SYSTEM, a_patient
from tests.kit.client import JSON, Fhir, assert_outcome, entry, unique

MIB = 2**20
BODY, BINARY = 10 * MIB, 50 * MIB
FHIR_JSON = {"content-type": JSON}
PATCH = {"content-type": "application/json-patch+json"}


@pytest.fixture(autouse=True)
def still_serving(fhir: Fhir) -> Iterator[None]:
    """The positive control of every attack: afterwards a sound request is answered as ever."""
    yield
    created = fhir.create(a_patient())
    assert created.status_code == 201
    assert fhir.get(f"/Patient/{created.json()['id']}").status_code == 200


@pytest.mark.parametrize(
    ("url", "content_type", "limit"), [("/Patient", JSON, BODY), ("/Binary", "application/pdf", BINARY)]
)
@pytest.mark.parametrize("chunked", [False, True])
def test_d1_a_body_over_its_limit(fhir: Fhir, url: str, content_type: str, limit: int, chunked: bool) -> None:
    def parts(size: int) -> Iterator[bytes]:
        for start in range(0, size, MIB):
            yield b" " * min(MIB, size - start)

    content: Any = parts(limit + 1) if chunked else b" " * (limit + 1)
    response = fhir.post(url, content=content, headers={"content-type": content_type})
    assert_outcome(response, 413, "too-long", "body-too-large")


def test_d1_control_a_body_at_its_limit_is_read(fhir: Fhir) -> None:
    body = json.dumps(a_patient()).encode()
    assert (
        fhir.post("/Patient", content=body + b" " * (BODY - len(body)), headers=FHIR_JSON).status_code == 201
    )


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_d2_a_small_body_that_becomes_large(fhir: Fhir, encoding: str) -> None:
    whole = b" " * (20 * BODY)
    bomb = gzip.compress(whole) if encoding == "gzip" else zlib.compress(whole)
    assert len(bomb) < MIB
    response = fhir.post("/Patient", content=bomb, headers=FHIR_JSON | {"content-encoding": encoding})
    assert_outcome(response, 413, "too-long", "body-too-large")


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "gzip;q=1", "x"])
def test_d2_encodings_that_are_not_offered(fhir: Fhir, encoding: str) -> None:
    nested = gzip.compress(gzip.compress(b"{}"))
    response = fhir.post("/Patient", content=nested, headers=FHIR_JSON | {"content-encoding": encoding})
    assert_outcome(response, 415, "not-supported", "encoding-unknown")


DEEP = 65
HOSTILE: dict[str, bytes] = {
    "nested 65 levels": b'{"resourceType":"Patient","a":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "nested 100000 levels": b"[" * 100_000,
    "a million nulls": b'{"resourceType":"Patient","name":[' + b"null," * 999_999 + b"null]}",
    "a number of 5 MB": b'{"resourceType":"Patient","a":' + b"9" * (5 * MIB) + b"}",
    "a key of 1 MB": b'{"resourceType":"Patient","' + b"k" * MIB + b'":1}',
    "a lone surrogate": b'{"resourceType":"Patient","gender":"\\ud800"}',
    "NUL": b'{"resourceType":"Patient","gender":"\\u0000"}',
    "NaN": b'{"resourceType":"Observation","valueQuantity":{"value":NaN}}',
    "Infinity": b'{"resourceType":"Observation","valueQuantity":{"value":-Infinity}}',
    "1e400": b'{"resourceType":"Observation","valueQuantity":{"value":1e400}}',
    "1e-99999999": b'{"resourceType":"Observation","valueQuantity":{"value":1e-99999999}}',
    "UTF-16": '{"resourceType":"Patient"}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + b'{"resourceType":"Patient"}',
    "invalid UTF-8": b'{"resourceType":"Patient","gender":"\xff"}',
    "trailing data": b'{"resourceType":"Patient"}{}',
    "nothing": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_d3_hostile_json(fhir: Fhir, name: str) -> None:
    response = fhir.post("/Patient", content=HOSTILE[name], headers=FHIR_JSON)
    assert response.status_code == 400, response.text
    assert response.json()["issue"][0]["details"]["coding"][0]["code"].startswith("json-")


def test_d4_a_bundle_of_too_many_entries_and_a_bundle_in_a_bundle(fhir: Fhir) -> None:
    for kind in ("batch", "transaction"):
        many = fhir.bundle(kind, *[entry("GET", "Patient/x")] * 1001)
        assert_outcome(many, 413, "too-long", "bundle-too-large")
        inner = {"resourceType": "Bundle", "type": kind, "entry": [entry("GET", "Patient/x")]}
        response = fhir.bundle(kind, entry("POST", "/", inner))
        told = response if kind == "transaction" else response.json()["entry"][0]["response"]["outcome"]
        assert "bundle-nested" in str(told if isinstance(told, dict) else told.text)
    assert fhir.bundle("batch", *[entry("GET", "Patient/x")] * 1000).status_code == 200


def test_d6_an_iterated_include_on_a_ring(fhir: Fhir) -> None:
    ring = unique("ring")
    size = 12
    entries = [
        entry("PUT", f"Organization/{ring}-{n}", {
            "resourceType": "Organization", "id": f"{ring}-{n}", "name": "x",
            "partOf": {"reference": f"Organization/{ring}-{(n + 1) % size}"},
        })
        for n in range(size)
    ]  # fmt: skip
    assert fhir.bundle("transaction", *entries).status_code == 200
    url = f"/Organization?_id={ring}-0&_include=Organization:partof&_include:iterate=Organization:partof"
    body = fhir.get(url).json()
    modes = [e["search"]["mode"] for e in body["entry"]]
    assert modes.count("match") == 1
    assert 3 <= modes.count("include") < size
    assert modes.count("outcome") == 1


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("patient.organization.partof.partof.name=x", 400, "chain-too-deep"),
        ("&".join(["status=final"] * 51), 400, "too-many-parameters"),
        ("code=" + ",".join(["x"] * 501), 400, "too-many-values"),
        ("code=" + "x" * 16 * 1024, 414, "url-too-long"),
        ("_sort=" + ",".join(["date"] * 9), 400, "sort-too-many"),
    ],
)
def test_d7_searches_over_their_limits(fhir: Fhir, query: str, status: int, code: str) -> None:
    issue = "too-long" if status == 414 else "too-costly"
    assert_outcome(fhir.get(f"/Observation?{query}"), status, issue, code)


def test_d7_control_searches_at_their_limits(fhir: Fhir) -> None:
    for query in (
        "patient.organization.partof.name=x",
        "&".join(["status=final"] * 50),
        "code=" + ",".join(["x"] * 500),
    ):
        assert fhir.get(f"/Observation?{query}").status_code == 200, query


@pytest.mark.parametrize("value", ["(a+)+$", ".*", "[", "a" * 10_000 + "!", "%", "\\"])
def test_d8_patterns_are_plain_text(fhir: Fhir, value: str) -> None:
    tag = unique("d8")
    own = fhir.made(
        a_patient(name=[{"family": f"x{value}x"}], meta={"tag": [{"system": SYSTEM, "code": tag}]})
    )
    fhir.made(a_patient(name=[{"family": "aaaaaa"}], meta={"tag": [{"system": SYSTEM, "code": tag}]}))
    text = value.replace("\\", "\\\\")
    form = {"family:contains": text, "_tag": tag}
    found = fhir.post("/Patient/_search", data=form).json()
    assert [e["resource"]["id"] for e in found.get("entry", ())] == [own["id"]]


def test_d13_patches_and_filters_that_cost_too_much(fhir: Fhir) -> None:
    url = f"/Patient/{fhir.made(a_patient())['id']}"
    many = [{"op": "test", "path": "/resourceType", "value": "Patient"}] * 100_000
    assert_outcome(fhir.patch(url, json=many, headers=PATCH), 400, "too-costly", "patch-too-large")
    growing = [{"op": "copy", "from": "/name", "path": "/name/-"}] * 60
    assert fhir.patch(url, json=growing, headers=PATCH).status_code in (400, 422)
    deep = [{"op": "add", "path": "/" + "a/" * 10_000, "value": 1}]
    assert fhir.patch(url, json=deep, headers=PATCH).status_code in (400, 422)
    for filter in ("(" * 5000 + "gender eq male", " or ".join(["gender eq male"] * 300)):
        response = fhir.post("/Patient/_search", data={"_filter": filter})
        assert response.status_code == 400, response.text
    for path in (
        "Patient.repeat(children())",
        "Patient." + "name." * 5000 + "given",
        "Patient.name.where(" * 500,
    ):
        parts = [{"name": "type", "valueCode": "delete"}, {"name": "path", "valueString": path}]
        patch = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}
        response = fhir.patch(url, json=patch, headers=FHIR_JSON)
        assert response.status_code in (400, 422), response.text
    assert fhir.get(url).json()["meta"]["versionId"] == "1"


def test_a_resource_larger_than_a_document_of_the_database(fhir: Fhir) -> None:
    response = fhir.post("/Binary", content=b"x" * (17 * MIB), headers={"content-type": "application/pdf"})
    assert_outcome(response, 413, "too-long", "resource-too-large")
    assert (
        fhir.post(
            "/Binary", content=b"x" * (5 * MIB), headers={"content-type": "application/pdf"}
        ).status_code
        == 201
    )
