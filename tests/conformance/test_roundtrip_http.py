"""Every valid example of the package goes through the server unchanged: update, read, vread, search, history, XML.

What the server adds (meta.versionId, meta.lastUpdated) is its own; everything else comes back to the last digit.
Sources: hl7.org/fhir/R4/http.html, hl7.org/fhir/R4/json.html, hl7.org/fhir/R4/datatypes.html#decimal
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest

from fhirserver.r4.elements import Elements
from fhirserver.r4.jsontext import dump_json, parse_json
from fhirserver.r4.xmltext import dump_xml, parse_xml
from tests.conformance.test_roundtrip_text import DEFINITIONS, files, same
from tests.conformance.test_validation_examples import BROKEN
from tests.kit.client import JSON, Fhir
from tests.kit.server import Server

SHARDS = 8
CHUNK_BYTES = 3_000_000
CHUNK_ENTRIES = 150
XML = "application/fhir+xml"
ELEMENTS = Elements.load()


@cache
def examples() -> dict[tuple[str, str], Path]:
    """(type, id) -> file, of the examples that can be stored: valid, with an id; large definitions are left out.

    AuditEvents are written under ids of the server, once.
    """
    found: dict[tuple[str, str], Path] = {}
    for path in files():
        resource = orjson.loads(path.read_bytes())
        if "id" in resource and path.stem not in BROKEN and resource["resourceType"] != "AuditEvent":
            found.setdefault((resource["resourceType"], resource["id"]), path)
    return found


@pytest.fixture(scope="module")
def fhir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fhir]:
    """A server of its own: the definitions among the examples take effect where they are stored, and bind the others."""
    data = tmp_path_factory.mktemp("examples") / "data"
    with Server(data, validation__mode="base") as server, Fhir(server.fhir) as client:
        yield client


def shard(number: int) -> dict[tuple[str, str], Path]:
    return dict(list(examples().items())[number::SHARDS])


def chunks(files: dict[tuple[str, str], Path]) -> Iterator[list[tuple[tuple[str, str], Path]]]:
    chunk, size = list[tuple[tuple[str, str], Path]](), 0
    for item in files.items():
        if chunk and (size + item[1].stat().st_size > CHUNK_BYTES or len(chunk) == CHUNK_ENTRIES):
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += item[1].stat().st_size
    yield chunk


def bundle(kind: str, entries: list[bytes]) -> bytes:
    return b'{"resourceType":"Bundle","type":"%b","entry":[%b]}' % (kind.encode(), b",".join(entries))


def request(method: str, url: str) -> bytes:
    return b'"request":{"method":"%b","url":"%b"}' % (method.encode(), url.encode())


def post(fhir: Fhir, body: bytes, sent: str = JSON, wanted: str = JSON) -> bytes:
    response = fhir.post("", content=body, headers={"content-type": sent, "accept": wanted})
    assert response.status_code == 200, response.text[:2000]
    return response.content


def told(data: bytes) -> Any:
    """The JSON value with every number as its text, without what the server adds."""
    return without_own(json.loads(data, parse_int=str, parse_float=str))


def without_own(resource: Any) -> Any:
    meta = {k: v for k, v in resource.get("meta", {}).items() if k not in ("versionId", "lastUpdated")}
    rest = {key: value for key, value in resource.items() if key != "meta"}
    return rest | ({"meta": meta} if meta else {})


def resources(data: bytes) -> list[Any]:
    body = json.loads(data, parse_int=str, parse_float=str)
    return [without_own(entry["resource"]) for entry in body.get("entry", ())]


def test_nearly_all_files_of_the_package_are_examples_that_can_be_stored() -> None:
    assert len(examples()) > 4_000
    assert len({type for type, _ in examples()}) >= 135


@pytest.mark.verifies("json-1")
@pytest.mark.parametrize("number", range(SHARDS))
def test_examples_come_back_unchanged(fhir: Fhir, number: int) -> None:
    for chunk in chunks(shard(number)):
        names = [f"{type}/{id}" for (type, id), _ in chunk]
        sent = [path.read_bytes() for _, path in chunk]
        post(fhir, bundle("transaction", [
            b'{"resource":%b,%b}' % (data, request("PUT", name)) for name, data in zip(names, sent, strict=True)
        ]))  # fmt: skip
        expected = [told(data) for data in sent]
        read = resources(post(fhir, bundle("batch", [b"{%b}" % request("GET", name) for name in names])))
        for name, one, other in zip(names, expected, read, strict=True):
            assert one == other, name
        for type, by_id in grouped(names, expected).items():
            found = fhir.post(f"/{type}/_search", data={"_id": ",".join(by_id), "_count": "1000"})
            assert {r["id"]: r for r in resources(found.content)} == by_id


def grouped(names: list[str], expected: list[Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, resource in zip(names, expected, strict=True):
        found[name.partition("/")[0]][resource["id"]] = resource
    return found


@pytest.mark.parametrize("number", range(4))
def test_examples_go_and_come_as_xml(fhir: Fhir, number: int) -> None:
    plain = {key: path for key, path in examples().items() if not path.name.startswith(DEFINITIONS)}
    assert len(plain) > 690
    for chunk in chunks(dict(list(plain.items())[number::4])):
        sent = [parse_json(path.read_bytes()) for _, path in chunk]
        entries = [
            {"resource": resource, "request": {"method": "PUT", "url": f"{type}/{id}"}}
            for ((type, id), _), resource in zip(chunk, sent, strict=True)
        ]
        whole = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        post(fhir, dump_xml(whole, ELEMENTS), XML)
        reads = bundle(
            "batch", [b"{%b}" % request("GET", f"{type}/{id}/_history/1") for (type, id), _ in chunk]
        )
        answer: Any = parse_xml(post(fhir, reads, wanted=XML), ELEMENTS)
        for resource, entry in zip(sent, answer["entry"], strict=True):
            assert same(without_own(resource), without_own(entry["resource"])), resource["id"]


@pytest.mark.verifies("json-2")
@pytest.mark.parametrize(
    "text", ["1.00", "100", "0.10", "1e2", "1.5E+3", "-0.0", "123456789012345678901234567890.123456789", "0.000000000000000000001"]
)  # fmt: skip
def test_a_decimal_keeps_its_text_on_every_way(fhir: Fhir, text: str) -> None:
    quantity = f'"valueQuantity":{{"value":{text}}}'
    body = f'{{"resourceType":"Observation","status":"final","code":{{"text":"x"}},{quantity}}}'
    headers = {"content-type": JSON, "prefer": "return=representation"}
    created = fhir.post("/Observation", content=body, headers=headers)
    url = f"/Observation/{created.json()['id']}"
    component = f'[{{"code":{{"text":"y"}},{quantity}}}]'
    patch = f'[{{"op":"add","path":"/component","value":{component}}}]'
    patched = fhir.patch(url, content=patch, headers={"content-type": "application/json-patch+json"})
    batch = bundle("batch", [b"{%b}" % request("GET", url[1:])])
    for response in (
        created, patched, fhir.get(url), fhir.get(f"{url}/_history/1"), fhir.get(f"{url}/_history"),
        fhir.get(f"/Observation?_id={created.json()['id']}"), fhir.get(f"{url}?_pretty=true"),
        fhir.get(f"{url}?_summary=true"), fhir.get(f"{url}?_elements=value"),
        fhir.post("", content=batch, headers={"content-type": JSON}),
    ):  # fmt: skip
        value = json.loads(response.text, parse_int=str, parse_float=str)
        assert text in values(value), response.url
    xml = fhir.get(url, headers={"accept": XML})
    assert f'<value value="{text}"/>' in xml.text
    again = fhir.put(url, content=xml.content, headers={"content-type": XML})
    assert again.status_code == 200
    assert dump_json(parse_json(again.content)["valueQuantity"]) == b'{"value":%b}' % text.encode()


def values(value: Any) -> Iterator[str]:
    """All numbers of a JSON value as texts."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "valueQuantity":
                yield inner["value"]
            yield from values(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from values(inner)


def test_a_lost_digit_would_be_noticed() -> None:
    assert told(b'{"meta":{"versionId":"1"},"v":1.0}') == told(b'{"v":1.0}')
    assert told(b'{"v":1.00}') != told(b'{"v":1.0}')
    assert told(b'{"v":100}') != told(b'{"v":1e2}')
