"""No route goes around the audit: audit.md R1-R4 and 2. Every line of the route table, and what is no route."""

from __future__ import annotations

from typing import Any

import pytest

from fhirserver.context import Kind
from fhirserver.engine.routes import ROUTES, Route
from fhirserver.operations import OPERATIONS
from tests.kit.audit import events_of, patients, subtypes
from tests.kit.client import JSON, Fhir, entry, unique

FORM = {"content-type": "application/x-www-form-urlencoded"}
PATCH = {"content-type": "application/json-patch+json"}
EXEMPT = {Kind.CAPABILITIES}
CODES = {Kind.SEARCH_COMPARTMENT: "search-type"}


@pytest.fixture(scope="module")
def patient(fhir: Fhir) -> str:
    made: str = fhir.made({"resourceType": "Patient", "name": [{"family": unique("Audit")}]})["id"]
    fhir.made(observation(made))
    return made


def observation(patient: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": f"Patient/{patient}"},
    }


def call(fhir: Fhir, route: Route, patient: str, request_id: str) -> int:
    """Call a route in a way that it serves."""
    path = route.path.format(type="Patient", id=patient, vid="1", compartment="Patient")
    if route.kind is Kind.SEARCH_COMPARTMENT:
        path = path.replace(f"/{patient}/Patient", f"/{patient}/Observation")
    headers, content, body = {"x-request-id": request_id}, None, None
    params = {"_id": patient} if route.conditional else None
    resource = {"resourceType": "Patient", "id": patient, "name": [{"family": unique("Audit")}]}
    match route.body:
        case "resource":
            body = resource
            headers["content-type"] = JSON
        case "patch":
            content = '[{"op":"add","path":"/active","value":true}]'
            headers |= PATCH
        case "form":
            content = f"_id={patient}" if route.kind is not Kind.SEARCH_COMPARTMENT else "status=final"
            headers |= FORM
        case "bundle":
            body = {"resourceType": "Bundle", "type": "batch", "entry": [entry("GET", f"Patient/{patient}")]}
            headers["content-type"] = JSON
    if route.kind is Kind.SEARCH_SYSTEM and route.method == "GET":
        params = {"_type": "Patient", "_id": patient}
    return fhir.request(
        route.method, path, params=params, headers=headers, content=content, json=body
    ).status_code


DELETES_LAST = sorted(ROUTES, key=lambda route: route.method == "DELETE")


@pytest.mark.parametrize("route", DELETES_LAST, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_that_serves_leaves_its_event(fhir: Fhir, patient: str, route: Route) -> None:
    if route.method == "DELETE":
        patient = fhir.made({"resourceType": "Patient", "name": [{"family": "Gone"}]})["id"]
    request_id = unique("served")
    status = call(fhir, route, patient, request_id)
    assert 200 <= status < 300
    events = events_of(fhir, request_id)
    if route.kind in EXEMPT:
        assert events == []
        return
    assert events, "no event"
    assert {event["outcome"] for event in events} == {"0"}
    told = {code for event in events for code in subtypes(event)}
    assert told == (
        {"batch", "read"} if route.kind is Kind.BATCH else {CODES.get(route.kind, route.kind.value)}
    )
    if route.kind is not Kind.HISTORY_SYSTEM and route.path != "/{type}/_history":
        assert patients(events[0]) or route.kind is Kind.BATCH or route.kind is Kind.CREATE


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
@pytest.mark.parametrize("way", ["no credentials", "bad format"])
def test_every_route_that_refuses_leaves_its_event(fhir: Fhir, patient: str, route: Route, way: str) -> None:
    request_id = unique("refused")
    path = route.path.format(type="Observation", id="x", vid="1", compartment="Patient")
    headers = {"x-request-id": request_id, "content-type": "text/csv"}
    if way == "no credentials":
        headers["authorization"] = "Bearer unknown"
    else:
        headers["accept"] = "image/png"
    status = fhir.request(route.method, path, headers=headers, content=b"x").status_code
    if route.kind not in EXEMPT:
        assert status == (401 if way == "no credentials" else 406)
    events = events_of(fhir, request_id)
    if route.kind in EXEMPT or way == "no credentials":
        return  # those of unknown callers are folded after a few: see test_floods_of_refusals_are_folded
    (event,) = events
    assert event["outcome"] == "4"
    assert event["outcomeDesc"].startswith("406 ")


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_operation_leaves_an_event(fhir: Fhir, patient: str, name: str) -> None:
    operation, request_id = OPERATIONS[name], unique("operation")
    type = operation.types[0] if operation.types else "Patient"
    id = patient if type == "Patient" else "x"
    path = {"instance": f"/{type}/{id}/${name}", "type": f"/{type}/${name}", "system": f"/${name}"}
    level = next(level for level in ("instance", "type", "system") if level in operation.levels)
    fhir.request(
        operation.methods[0], path[level], headers={"x-request-id": request_id, "content-type": JSON}
    )
    events = events_of(fhir, request_id)
    assert events
    assert {code for event in events for code in subtypes(event)} >= {"operation"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/Patient/does-not-exist", 404),
        ("GET", "/Nonsense/1", 404),
        ("GET", "/Patient/in%20valid", 400),
        ("GET", "/Patient?unknown=1", 400),
        ("BREW", "/Patient", 405),
        ("DELETE", "/", 405),
        ("POST", "/Patient", 400),
        ("GET", "/Patient?name=%ff", 400),
        ("GET", "/" + "x" * 20_000, 414),
    ],
)
def test_what_is_refused_is_told_with_its_status(fhir: Fhir, method: str, path: str, status: int) -> None:
    request_id = unique("bad")
    answer = fhir.request(method, path, headers={"x-request-id": request_id})
    assert answer.status_code == status
    assert answer.headers["x-request-id"] == request_id
    (event,) = events_of(fhir, request_id)
    assert event["outcome"] == "4"
    assert event["outcomeDesc"].startswith(f"{status} ")
    assert "profile" not in event["meta"]
    assert event["contained"][0]["resourceType"] == "OperationOutcome"


def test_floods_of_refusals_are_folded(fhir: Fhir) -> None:
    ids = [unique("flood") for _ in range(30)]
    for request_id in ids:
        headers = {"authorization": "Bearer nobody", "x-request-id": request_id}
        assert fhir.get("/Patient/1", headers=headers).status_code == 401
    told = [events_of(fhir, request_id) for request_id in ids]
    assert not told[-1], "after 20 in a minute no event of its own"


def test_an_unknown_caller_is_told_of_as_far_as_it_is_known(fhir: Fhir) -> None:
    recent = fhir.get(
        "/AuditEvent", params={"subtype": "denied-authn", "_sort": "-date", "_count": "1"}
    ).json()
    event = recent["entry"][0]["resource"]
    assert subtypes(event)[-2:] == ["denied", "denied-authn"]
    assert "who" not in event["agent"][0]
    assert event["agent"][0]["network"] == {"address": "127.0.0.1", "type": "2"}


@pytest.mark.parametrize("path", ["/metadata", "/metadata?_format=image/png"])
def test_the_capability_statement_is_not_audited(fhir: Fhir, path: str) -> None:
    request_id = unique("meta")
    fhir.get(path, headers={"x-request-id": request_id})
    assert events_of(fhir, request_id) == []
