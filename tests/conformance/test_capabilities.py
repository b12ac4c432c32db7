"""What the CapabilityStatement declares works, for every resource type, and what works is declared.

Source: hl7.org/fhir/R4/capabilitystatement.html
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest

from fhirserver.context import Kind
from fhirserver.engine.routes import ROUTES
from fhirserver.operations import OPERATIONS
from fhirserver.r4.definitions import Definitions
from tests.conformance.test_roundtrip_http import examples
from tests.kit.client import Fhir, assert_outcome, entry

SHARDS = 8
SUBJECT = {"reference": "Patient/1"}
BY_HAND: dict[str, dict[str, Any]] = {  # types of which the package has no valid example of small size
    "AuditEvent": {
        "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"},
        "recorded": "2026-01-01T00:00:00Z",
        "agent": [{"requestor": True}],
        "source": {"observer": {"display": "another system"}},
    },
    "DeviceMetric": {"type": {"text": "x"}, "category": "measurement"},
    "DeviceUseStatement": {"status": "active", "subject": SUBJECT, "device": {"reference": "Device/1"}},
    "EventDefinition": {"status": "draft", "trigger": [{"type": "named-event", "name": "x"}]},
}
WORDS = ("_text", "_content")  # have no modifiers
FITTING = {
    "number": "5", "date": "ge2026-01-01", "string": "a", "token": "http://x.example|a", "reference": "x",
    "quantity": "5.4|http://unitsofmeasure.org|kg", "uri": "http://x.example/y", "special": "-23.5|-46.6|5|km",
}  # fmt: skip


@cache
def types() -> tuple[str, ...]:
    return tuple(sorted(Definitions.load().resource_types))


@pytest.fixture(scope="module")
def rest(fhir: Fhir) -> dict[str, Any]:
    found: dict[str, Any] = fhir.get("/metadata").json()["rest"][0]
    return found


def declared(rest: dict[str, Any], number: int) -> list[dict[str, Any]]:
    resources: list[dict[str, Any]] = rest["resource"][number::SHARDS]
    return resources


def answers(fhir: Fhir, urls: list[str]) -> Iterator[tuple[str, str, Any]]:
    """URL, status and outcome of each GET, asked by the hundred."""
    for start in range(0, len(urls), 100):
        some = urls[start : start + 100]
        body = fhir.bundle("batch", *(entry("GET", url) for url in some)).json()
        for url, one in zip(some, body["entry"], strict=True):
            yield url, one["response"]["status"], one["response"].get("outcome")


def value_of(type: str, code: str, kind: str) -> str:
    if kind == "composite":
        parameter = Definitions.load().search_parameters(type)[code]
        return "$".join(value_of(type, part.code, part.type) for part in parameter.components)
    return FITTING[kind]


def test_every_type_of_r4_is_there(rest: dict[str, Any]) -> None:
    assert [resource["type"] for resource in rest["resource"]] == list(types())
    assert len(types()) == 146


@pytest.mark.verifies("http-capabilities-2")
@pytest.mark.parametrize("number", range(SHARDS))
def test_every_declared_parameter_and_include_is_searched(
    fhir: Fhir, rest: dict[str, Any], number: int
) -> None:
    urls = []
    for resource in declared(rest, number):
        type, parameters = resource["type"], resource["searchParam"]
        for parameter in parameters:
            value = value_of(type, parameter["name"], parameter["type"])
            urls.append(f"{type}?" + urlencode({parameter["name"]: value, "_count": 1}))
        together = [
            f"{p['name']}:missing=true"
            for p in parameters
            if p["type"] != "special" and p["name"] not in WORDS
        ]
        together += [f"_include={include}" for include in resource.get("searchInclude", ())]
        together += [f"_revinclude={include}" for include in resource.get("searchRevInclude", ())]
        parts = [together[start : start + 40] for start in range(0, len(together), 40)]
        urls += [f"{type}?_count=1&{'&'.join(part)}" for part in parts]
    assert len(urls) > 300
    for url, status, outcome in answers(fhir, urls):
        assert status.startswith("200"), (url, outcome)


def test_an_undeclared_parameter_is_refused_for_every_type(fhir: Fhir) -> None:
    for url, status, outcome in answers(fhir, [f"{type}?nonsense=x" for type in types()]):
        assert status.startswith("400"), url
        assert outcome["issue"][0]["details"]["coding"][0]["code"] == "parameter-unknown"


@cache
def samples() -> dict[str, dict[str, Any]]:
    """A valid resource of each type, without id."""
    found: dict[str, dict[str, Any]] = {}
    for (type, _), path in examples().items():
        if type not in found or path.stat().st_size < 3000:
            found[type] = orjson.loads(path.read_bytes())
    found |= {
        type: {"resourceType": type, "language": "pt"} | BY_HAND.get(type, {})
        for type in types()
        if type not in found
    }
    return {type: {k: v for k, v in body.items() if k != "id"} for type, body in found.items()}


@pytest.mark.verifies("http-capabilities-2", "http-delete-1")
@pytest.mark.parametrize("number", range(SHARDS))
def test_every_declared_interaction_works(fhir: Fhir, rest: dict[str, Any], number: int) -> None:
    for resource in declared(rest, number):
        codes = {interaction["code"] for interaction in resource["interaction"]}
        if resource["type"] == "AuditEvent":
            continue
        assert codes == {kind.value for kind in Kind} & {
            r.kind.value for r in ROUTES if r.path.startswith("/{type}")
        }
        walk_through(fhir, resource["type"], samples()[resource["type"]])


def test_audit_events_are_declared_as_what_is_never_changed(fhir: Fhir, rest: dict[str, Any]) -> None:
    [resource] = [resource for resource in rest["resource"] if resource["type"] == "AuditEvent"]
    codes = {interaction["code"] for interaction in resource["interaction"]}
    assert codes == {"read", "vread", "history-instance", "history-type", "create", "search-type"}
    assert not resource["updateCreate"]
    assert not resource["conditionalUpdate"]
    created = fhir.create(samples()["AuditEvent"])
    assert created.status_code == 201, created.text
    event = created.json()
    assert fhir.get(f"/AuditEvent/{event['id']}").json() == event
    assert_outcome(fhir.update(event), 405, "not-supported", "audit-immutable")
    assert_outcome(fhir.delete(f"/AuditEvent/{event['id']}"), 405, "not-supported", "audit-immutable")


def walk_through(fhir: Fhir, type: str, body: dict[str, Any]) -> None:
    """Create, read, vread, update, patch, histories, search, delete of one resource."""
    created = fhir.create(body)
    assert created.status_code == 201, (type, created.text)
    id = created.json()["id"]
    url = f"/{type}/{id}"
    assert fhir.get(url).status_code == 200
    assert fhir.update({**body, "id": id, "language": "en"}).status_code == 200
    patch = [{"op": "replace", "path": "/language", "value": "fr"}]
    patched = fhir.patch(url, json=patch, headers={"content-type": "application/json-patch+json"})
    assert patched.json()["language"] == "fr", (type, patched.text)
    assert fhir.get(f"{url}/_history/1").json().get("language") == body.get("language")
    assert fhir.ids(f"/{type}?_id={id}") == [url[1:]]
    assert fhir.delete(url).status_code == 204
    assert fhir.get(url).status_code == 410
    assert fhir.get(f"{url}/_history").json()["total"] == 4
    newest = fhir.get(f"/{type}/_history?_count=1").json()["entry"][0]
    assert newest["request"] == {"method": "DELETE", "url": url[1:]}


def test_what_is_declared_of_the_system_works(fhir: Fhir, rest: dict[str, Any]) -> None:
    assert {i["code"] for i in rest["interaction"]} == {
        "transaction",
        "batch",
        "search-system",
        "history-system",
    }
    for kind in ("batch", "transaction"):
        empty = {"resourceType": "Bundle", "type": kind}
        assert fhir.post("", json=empty).json()["type"] == f"{kind}-response"
    assert fhir.get("?_count=1").json()["type"] == "searchset"
    assert fhir.get("/_history?_count=1").json()["type"] == "history"
    for url, status, outcome in answers(
        fhir,
        [
            "?" + urlencode({p["name"]: value_of("Resource", p["name"], p["type"])})
            for p in rest["searchParam"]
        ],
    ):
        assert status.startswith("200"), (url, outcome)


def test_what_is_declared_of_conditional_interactions_works(fhir: Fhir, rest: dict[str, Any]) -> None:
    for resource in rest["resource"]:
        if resource["type"] == "AuditEvent":
            continue
        assert (
            resource["conditionalCreate"] is resource["conditionalUpdate"] is resource["updateCreate"] is True
        )
        assert (resource["conditionalRead"], resource["conditionalDelete"]) == ("full-support", "single")
    body = {
        "resourceType": "Basic",
        "code": {"text": "x"},
        "identifier": [{"system": "urn:cap", "value": "1"}],
    }
    criteria = "identifier=urn:cap|1"
    assert fhir.create(body, If_None_Exist=criteria).status_code == 201
    assert fhir.create(body, If_None_Exist=criteria).status_code == 200
    updated = fhir.put(f"/Basic?{criteria}", json=body)
    assert updated.status_code == 200
    url = f"/Basic/{updated.json()['id']}"
    for name, value in (
        ("if-none-match", updated.headers["etag"]),
        ("if-modified-since", updated.headers["last-modified"]),
    ):
        assert fhir.get(url, headers={name: value}).status_code == 304
    assert fhir.delete(f"/Basic?{criteria}").status_code == 204
    assert fhir.get(url).status_code == 410


def test_every_declared_operation_is_there_and_no_other(fhir: Fhir, rest: dict[str, Any]) -> None:
    named = {o["name"] for r in rest["resource"] for o in r.get("operation", ())} | {
        o["name"] for o in rest["operation"]
    }
    assert named == set(OPERATIONS)
    for resource in rest["resource"]:
        for operation in resource.get("operation", ()):
            response = fhir.get(f"/{resource['type']}/nobody/${operation['name']}")
            if operation["name"] == "access-report":  # who asked for a patient that is not there is told too
                assert response.json()["report"] == "access-report"
                continue
            code = response.json()["issue"][0]["details"]["coding"][0]["code"]
            assert response.status_code in (400, 404, 405), response.text
            levels = OPERATIONS[operation["name"]].levels
            assert (code == "operation-unknown") is not ({"instance"} & set(levels)), operation
    assert_outcome(fhir.get("/Patient/$nonsense"), 404, "not-found", "operation-unknown")


def test_the_statement_is_itself_valid_and_stored_like_any_other(fhir: Fhir) -> None:
    statement = fhir.get("/metadata").json()
    assert fhir.update(statement).status_code in (200, 201)
