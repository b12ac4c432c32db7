"""AuditEvents through the ordinary API: read and searched, never changed; sent in by other systems: audit.md 5, 9."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from pymongo.collection import Collection

from fhirserver.audit.ledger import canonical
from tests.kit.audit import SUBTYPE, events_of, patients, subtypes
from tests.kit.client import JSON, Fhir, assert_outcome, entry, unique
from tests.kit.server import Server

DCM = "http://dicom.nema.org/resources/ontology/DCM"


@pytest.fixture(scope="module")
def event(fhir: Fhir) -> dict[str, Any]:
    """The event of a read of an Observation, and its request id."""
    patient = fhir.made({"resourceType": "Patient", "name": [{"family": "X"}]})["id"]
    observation = fhir.made(
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "x"},
            "subject": {"reference": f"Patient/{patient}"},
        }
    )
    request_id = unique("read")
    fhir.get(f"/Observation/{observation['id']}", headers={"x-request-id": request_id})
    (found,) = events_of(fhir, request_id)
    return found | {"_request": request_id, "_observation": observation["id"], "_patient": patient}


def external(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "AuditEvent",
        "type": {"system": DCM, "code": "110114"},
        "recorded": "2026-03-01T12:00:00Z",
        "outcome": "0",
        "agent": [{"requestor": True, "who": {"display": "Lab"}}],
        "source": {"observer": {"identifier": {"value": "lab-7"}}},
        **more,
    }


def test_what_is_served_are_the_bytes_that_were_hashed(
    fhir: Fhir, event: dict[str, Any], stored: Collection[dict[str, Any]]
) -> None:
    answer = fhir.get(f"/AuditEvent/{event['id']}")
    row = stored.find_one({"_id": f"default/AuditEvent/{event['id']}"})
    assert row is not None
    assert answer.content == row["raw"] == canonical(answer.json())
    assert answer.headers["etag"] == 'W/"1"'
    assert fhir.get(f"/AuditEvent/{event['id']}/_history/1").content == row["raw"]
    assert fhir.get(f"/AuditEvent/{event['id']}/_history/2").status_code == 404
    history = fhir.get(f"/AuditEvent/{event['id']}/_history").json()
    assert [e["resource"]["meta"]["versionId"] for e in history["entry"]] == ["1"]


@pytest.mark.parametrize(
    "query",
    [
        "action=R",
        "address=127.0.0.1",
        "entity=Observation/{_observation}",
        "entity:identifier={_request}",
        "entity-role=http://terminology.hl7.org/CodeSystem/object-role|4",
        "entity-type=http://terminology.hl7.org/CodeSystem/audit-entity-type|2",
        "outcome=0",
        "patient={_patient}",
        "patient=Patient/{_patient}&date=ge2026-01-01",
        "entity=Patient/{_patient}",
        "site=127.0.0.1",
        "subtype=http://hl7.org/fhir/restful-interaction|read",
        "type=http://terminology.hl7.org/CodeSystem/audit-event-type|rest",
        "agent:identifier=open-mode",
        "source:identifier=urn:ietf:rfc:3986|{base}",
        "denied=false",
        "_id={id}",
        "agent-name:missing=true&altid:missing=true&entity-name:missing=true&agent-role:missing=true",
        "policy:missing=true&purpose:missing=true",
        "_lastUpdated=ge2026-01-01",
    ],
)
def test_every_parameter_finds_the_event(
    fhir: Fhir, server: Server, event: dict[str, Any], query: str
) -> None:
    asked = query.format(base=server.fhir, **event)
    narrowed = f"{asked}&entity:identifier={event['_request']}"
    assert fhir.ids(f"/AuditEvent?{narrowed}") == [f"AuditEvent/{event['id']}"], asked


@pytest.mark.parametrize(
    "query",
    [
        "action=C",
        "patient=nobody",
        "entity=Observation/x",
        "outcome=4",
        "denied=true",
        "purpose=BTG",
        "date=lt2020-01-01",
    ],
)
def test_no_parameter_finds_what_does_not_match(fhir: Fhir, event: dict[str, Any], query: str) -> None:
    assert fhir.ids(f"/AuditEvent?{query}&entity:identifier={event['_request']}") == []


def test_denied_attempts_are_found(fhir: Fhir) -> None:
    request_id = unique("denied")
    fhir.get("/Patient/1", headers={"authorization": "Bearer nobody", "x-request-id": request_id})
    for query in ("denied=true", f"subtype={SUBTYPE}|denied", "subtype=denied-authn"):
        assert fhir.ids(f"/AuditEvent?{query}&_sort=-date&_count=50"), query


def test_events_are_sorted_by_time_both_ways_and_counted(fhir: Fhir, event: dict[str, Any]) -> None:
    url = f"/AuditEvent?patient={event['_patient']}"
    up, down = fhir.ids(f"{url}&_sort=date&_count=2"), fhir.ids(f"{url}&_sort=-date&_count=2")
    assert up == down[::-1]
    assert len(up) >= 3
    assert fhir.get(f"{url}&_summary=count").json()["total"] == len(up)


@pytest.mark.parametrize(
    ("date", "found"),
    [
        ("{day}", True), ("ge{day}", True), ("gt{before}", True), ("sa{before}", True), ("le{day}", True), ("lt{after}", True),
        ("eb{after}", True), ("ne{before}", True), ("ap{day}", True), ("{moment}", True), ("ge{moment}", True),
        ("le{moment}", True), ("{before}", False), ("gt{day}", False), ("lt{day}", False), ("ge{after}", False),
        ("lt{moment}", False), ("gt{moment}", False), ("ne{day}", False),
    ],
)  # fmt: skip
def test_dates_are_compared_by_every_prefix_and_with_a_sort(
    fhir: Fhir, event: dict[str, Any], date: str, found: bool
) -> None:
    day = dt.date.fromisoformat(event["recorded"][:10])
    words = {
        "day": day,
        "before": day - dt.timedelta(1),
        "after": day + dt.timedelta(1),
        "moment": event["recorded"],
    }
    for sort in ("", "&_sort=-date", "&_sort=date"):
        url = f"/AuditEvent?entity:identifier={event['_request']}&date={date.format(**words)}{sort}"
        assert fhir.ids(url) == ([f"AuditEvent/{event['id']}"] if found else []), url


def test_reading_the_log_is_told_exactly_once(fhir: Fhir, event: dict[str, Any]) -> None:
    for url in (
        f"/AuditEvent/{event['id']}",
        f"/AuditEvent?patient={event['_patient']}",
        "/AuditEvent/_history?_count=5",
    ):
        request_id = unique("log")
        assert fhir.get(url, headers={"x-request-id": request_id}).status_code == 200
        (told,) = events_of(fhir, request_id)
        assert told["type"] == {"system": DCM, "code": "110101"}
        assert patients(told) == []


@pytest.mark.parametrize(
    ("method", "url", "headers"),
    [
        ("PUT", "/AuditEvent/{id}", {}),
        ("PATCH", "/AuditEvent/{id}", {"content-type": "application/json-patch+json"}),
        ("DELETE", "/AuditEvent/{id}", {}),
        ("PUT", "/AuditEvent?_id={id}", {}),
        ("PATCH", "/AuditEvent?_id={id}", {"content-type": "application/json-patch+json"}),
        ("DELETE", "/AuditEvent?_id={id}", {}),
        ("POST", "/AuditEvent", {"if-none-exist": "_id={id}"}),
        ("POST", "/AuditEvent/{id}/$meta-add", {}),
        ("POST", "/AuditEvent/{id}/$meta-delete", {}),
    ],
)
def test_no_way_to_change_an_event_is_offered(
    fhir: Fhir, event: dict[str, Any], method: str, url: str, headers: dict[str, str]
) -> None:
    request_id = unique("change")
    before = fhir.get(f"/AuditEvent/{event['id']}").content
    body = b"[]" if method == "PATCH" else json.dumps({**external(), "id": event["id"]}).encode()
    sent = {"content-type": JSON, "x-request-id": request_id, **headers}
    sent = {name: value.format(**event) for name, value in sent.items()}
    answer = fhir.request(method, url.format(**event), content=body, headers=sent)
    assert_outcome(answer, 405, "not-supported", "audit-immutable")
    (told,) = events_of(fhir, request_id)
    assert told["outcome"] == "4"
    assert fhir.get(f"/AuditEvent/{event['id']}").content == before
    assert fhir.get(f"/AuditEvent/{event['id']}/_history").json()["total"] == 1


@pytest.mark.parametrize("kind", ["batch", "transaction"])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_no_bundle_changes_an_event(fhir: Fhir, event: dict[str, Any], kind: str, method: str) -> None:
    url, body = f"AuditEvent/{event['id']}", {**external(), "id": event["id"]} if method == "PUT" else None
    answer = fhir.bundle(kind, entry(method, url, body))
    if kind == "batch":
        assert answer.json()["entry"][0]["response"]["status"].startswith("405")
    else:
        assert answer.status_code == 405
    assert fhir.get(f"/AuditEvent/{event['id']}/_history").json()["total"] == 1


def test_an_event_of_another_system_is_kept_as_it_was_sent(
    fhir: Fhir, stored: Collection[dict[str, Any]]
) -> None:
    request_id = unique("feed")
    sent = external(id="mine", outcomeDesc="José", meta={"tag": [{"code": "t"}]})
    answer = fhir.create(sent, x_request_id=request_id)
    assert answer.status_code == 201
    made = answer.json()
    assert made["id"] != "mine"
    assert made["meta"].pop("source").endswith("/oauth/clients/open-mode")
    kept = {name: value for name, value in made.items() if name not in ("id", "meta")}
    assert kept == {name: value for name, value in sent.items() if name not in ("id", "meta")}
    assert made["meta"]["tag"] == [{"code": "t"}]
    row = stored.find_one({"_id": f"default/AuditEvent/{made['id']}"})
    assert row is not None
    assert {"w", "s", "p", "h", "mac"} <= set(row)
    assert fhir.ids(f"/AuditEvent?source:identifier=lab-7&_id={made['id']}") == [f"AuditEvent/{made['id']}"]
    (told,) = events_of(fhir, request_id)
    assert subtypes(told) == ["create"]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"source": {"observer": {"identifier": {"value": "{base}"}}}}, "audit-observer"),
        ({"source": {"observer": {"reference": "{base}/Device/1"}}}, "audit-observer"),
        ({"extension": [{"url": "http://x.example/e", "valueDecimal": 1.5}]}, "audit-not-canonical"),
    ],
)
def test_an_event_that_claims_to_be_ours_or_has_no_canonical_form_is_refused(
    fhir: Fhir, server: Server, more: dict[str, Any], code: str
) -> None:
    body = json.loads(json.dumps(external(**more)).replace("{base}", server.fhir))
    assert_outcome(fhir.create(body), 422, "invalid", code)


def test_an_invalid_event_is_refused_and_one_in_a_transaction_too(fhir: Fhir) -> None:
    broken = external()
    del broken["agent"]
    assert fhir.create(broken).status_code == 422
    assert_outcome(
        fhir.bundle("transaction", entry("POST", "AuditEvent", external())),
        405,
        "not-supported",
        "audit-not-in-transaction",
    )
    done = fhir.bundle("batch", entry("POST", "AuditEvent", external())).json()
    assert done["entry"][0]["response"]["status"].startswith("201")


def test_nobody_gets_the_log_by_asking_for_everything(fhir: Fhir, event: dict[str, Any]) -> None:
    patient = event["_patient"]
    for url in (
        "/_history?_count=500",
        "?_lastUpdated=ge2026-01-01&_count=500",
        f"/Patient/{patient}/$everything",
        f"/Patient/{patient}/*?_count=500",
        f"/Patient?_id={patient}&_revinclude=AuditEvent:patient",
    ):
        answer = fhir.get(url)
        assert answer.status_code == 200, answer.text
        types = {e["resource"]["resourceType"] for e in answer.json().get("entry", []) if "resource" in e}
        assert "AuditEvent" not in types, url
    assert fhir.ids(f"/Patient/{patient}/AuditEvent"), "named, it is served"
    assert fhir.ids(f"?_type=AuditEvent&_id={event['id']}") == [f"AuditEvent/{event['id']}"]


@pytest.mark.parametrize("parameter", ["_text", "_content"])
def test_words_are_refused_rather_than_not_found(fhir: Fhir, parameter: str) -> None:
    assert_outcome(fhir.get(f"/AuditEvent?{parameter}=x"), 400, "not-supported", "parameter-not-supported")


def test_the_capability_statement_offers_what_is_done(fhir: Fhir) -> None:
    (rest,) = fhir.get("/metadata").json()["rest"]
    offered = next(each for each in rest["resource"] if each["type"] == "AuditEvent")
    codes = {interaction["code"] for interaction in offered["interaction"]}
    assert codes == {"read", "vread", "history-instance", "history-type", "create", "search-type"}
    names = {parameter["name"] for parameter in offered["searchParam"]}
    assert {"purpose", "denied", "patient", "entity"} <= names
    assert not {"_text", "_content"} & names
