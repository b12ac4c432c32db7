"""The stored form of an event fits its body, or what does not is named: of the first event of a form and of all after it."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import bson
import pytest

from fhirserver.audit.event import Outcome
from fhirserver.audit.index_check import CORE, IndexCheck
from fhirserver.audit.ledger import canonical
from fhirserver.audit.rest import Access
from fhirserver.context import Request
from fhirserver.store.ledger_events import Recorded
from tests.kit.audit import NOW, RECORD, a_version, audit_indexer, rest_events

_NUMBERS = itertools.count(1)


def stored(raw: bytes, ts: int) -> dict[str, Any]:
    """The fields of the stored form that are looked at, as the ordinary indexer makes them."""
    body = json.loads(raw)
    ix = audit_indexer().index("AuditEvent", body).ix
    shown = {name: ix[name] for name in CORE if name in ix}
    return {"_id": f"default/AuditEvent/{body['id']}", "t": "default", "v": 1, "ts": ts, "ix": shown}


def event_of(raw: bytes, ts: int, row: dict[str, Any] | None = None) -> Recorded:
    row = row or stored(raw, ts)
    return Recorded(row["_id"], bytes(16), 0, bytes(32), bytes(32), b"", raw, row["ts"], bson.encode(row))


def own(**more: Any) -> tuple[bytes, int]:
    """An event of this server about a resource and a patient of its own."""
    number = next(_NUMBERS)
    given = {"versions": [a_version(f"Observation/{number}", 1, f"p{number}")]} | more
    record = RECORD | given.pop("record", {})
    (event,) = rest_events().of(Access(record, Request(f"r-{number}"), **given), NOW + number * 1000)
    return event.raw, event.ts


REFUSED = Outcome(
    "4", "403 forbidden (denied: scope)", "scope", (("error", "forbidden", "scope-insufficient"),)
)
OWN: dict[str, dict[str, Any]] = {
    "read": {},
    "with another token": {"record": {"p": "urn:ietf:params:oauth:jti:another"}},
    "by the patient": {"record": {"f": "Patient/p7"}, "versions": [a_version("Observation/1", 1, "p7")]},
    "without a patient": {"versions": [a_version("Medication/1", 1)]},
    "denied": {"versions": (), "reference": "Observation/5", "targets": ("p9",), "outcome": REFUSED},
    "search that finds nothing": {"versions": (), "record": {"k": "search-type"}},
}


@pytest.mark.parametrize("more", OWN.values(), ids=OWN)
def test_events_of_this_server_are_looked_at_once_for_each_form(
    more: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    check = IndexCheck(audit_indexer(), "default")
    assert check(event_of(*own(**more))) == []
    monkeypatch.setattr(check, "_index", None)  # from here on the ordinary indexer is not there
    for _ in range(3):
        assert check(event_of(*own(**more))) == []


def foreign(**elements: Any) -> tuple[bytes, int]:
    """An event that another system has sent."""
    number = next(_NUMBERS)
    raw, ts = own()
    return canonical(json.loads(raw) | {"id": f"foreign-{number}"} | elements), ts


WHO = {"who": {"reference": "Patient/p1"}, "requestor": False}
FOREIGN: dict[str, dict[str, Any]] = {
    "recorded earlier": {"recorded": "2026-02-01T00:00:00Z"},
    "without entities": {"entity": []},
    "a whole event inside": {"contained": [json.loads(own()[0])]},
    "an absolute reference": {"entity": [{"what": {"reference": "https://clinic.example/fhir/Patient/1"}}]},
    "a reference elsewhere": {"entity": [{"what": {"reference": "Patient/1"}, "extension": [
        {"url": "https://x.example", "valueReference": {"reference": "Patient/2"}}]}]},
    "an odd reference": {"entity": [{"what": {"reference": "Patient/1?x"}}, {"what": {"reference": "Patient/2"}}]},
    "entity with an id": {"entity": [{"detail": [{"type": "x", "valueString": "y"}], "id": "z", "what": {"reference": "Patient/3"}}]},
    "agents only": {"agent": [WHO], "entity": []},
}  # fmt: skip


@pytest.mark.parametrize("elements", FOREIGN.values(), ids=FOREIGN)
def test_events_of_other_systems_are_judged_by_the_ordinary_indexer(elements: dict[str, Any]) -> None:
    check = IndexCheck(audit_indexer(), "default")
    for _ in range(2):
        raw, ts = foreign(**elements)
        row = stored(raw, ts)
        assert check(event_of(raw, ts, row)) == []
        for name in row["ix"]:
            hidden = {key: value for key, value in row["ix"].items() if key != name}
            if row["ix"][name]:
                assert check(event_of(raw, ts, row | {"ix": hidden})), name


def altered(row: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """What an attacker may have made of a stored form."""
    ix = row["ix"]
    cases = [(name, row | {"ix": {k: v for k, v in ix.items() if k != name}}) for name in ix]
    cases += [(name, row | {"ix": ix | {name: []}}) for name in ix]
    cases += [
        ("patient", row | {"ix": ix | {"patient": ["default/Patient/other"]}}),
        ("date", row | {"ix": ix | {"date": [{"lo": 0, "hi": 1}]}}),
        ("date~s", row | {"ix": ix | {"date~s": "0"}}),
        ("", row | {"_id": "default/AuditEvent/other"}),
        ("", row | {"t": "other"}),
        ("", row | {"ts": 0}),
        ("", row | {"v": 2}),
        ("", {**row, "del": True}),
        ("type", row | {"ix": {}}),
    ]
    return cases


@pytest.mark.parametrize("learned", [False, True])
def test_every_alteration_of_the_stored_form_is_named(learned: bool) -> None:
    check = IndexCheck(audit_indexer(), "default")
    if learned:
        assert check(event_of(*own())) == []
    raw, ts = own()
    for name, row in altered(stored(raw, ts)):
        faults = check(event_of(raw, ts, row))
        assert faults, row
        assert not name or any(f"field {name} " in fault for fault in faults), faults
    good = event_of(raw, ts)
    assert check(good) == []
    assert check(replace(good, shape=b"damaged")), "what cannot be read fits nothing"
