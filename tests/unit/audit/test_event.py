"""AuditEvents of interactions: audit.md 2, 3.1, 3.2; each is canonical, valid R4 and indexed like any resource."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fhirserver.audit.chain import is_same
from fhirserver.audit.disclosure.facts import fact_of
from fhirserver.audit.event import MOST_ENTITIES, Event, Outcome, outcome_of
from fhirserver.audit.ledger import canonical
from fhirserver.audit.rest import Access
from fhirserver.context import Request
from fhirserver.outcome import Forbidden, NotFound, Unavailable
from tests.kit.audit import (
    NOW,
    RECORD,
    a_version,
    audit_indexer,
    patients,
    references,
    rest_events,
    subtypes,
    validator,
)

REQUEST = Request("r-0001", "GET", b"/fhir/Observation?code=1", (("Accept", "application/fhir+json"),))
BALP = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
OPEN = {"k": "read", "n": "open-mode", "a": "127.0.0.1", "q": "r-2"}
FAILED = outcome_of(404, NotFound("x", code="resource-unknown"), "compartment")


def events(kind: str, record: dict[str, Any] = RECORD, **more: Any) -> list[Event]:
    return rest_events().of(Access({**record, "k": kind}, REQUEST, **more), NOW)


def only(found: list[Event]) -> dict[str, Any]:
    assert len(found) == 1
    event: dict[str, Any] = orjson.loads(found[0].raw)
    return event


def written(*owed: tuple[str, str | None], **more: Any) -> dict[str, Any]:
    return {"versions": (a_version("Observation/5", 1, "77", events=owed, **more),)}


CASES: dict[str, list[Event]] = {
    "read": events("read", versions=[a_version("Observation/5", 2, "77")]),
    "read without patient": events("read", versions=[a_version("Practitioner/9", 1)]),
    "read in open mode": events("read", OPEN, versions=[a_version("Observation/5", 2, "77")]),
    "read of two patients": events("read", versions=[a_version("Appointment/5", 2, "77", "78")]),
    "read by a patient": events(
        "read", {**RECORD, "f": "Patient/77"}, versions=[a_version("Observation/5", 2, "78")]
    ),
    "opaque token": events("read", {**RECORD, "p": "x" * 32}, versions=[a_version()]),
    "break-glass": events(
        "read",
        {**RECORD, "e": [["77", "btg-1", "unconscious"]]},
        versions=[a_version("Appointment/5", 2, "77", "78")],
    ),
    "create": events("create", **written(("w1", "77"))),
    "update moved": events("update", **written(("w1", "77"), ("w2", "78"))),
    "delete": events("delete", **written(("w1", None))),
    "operation that writes": events("operation", **written(("w1", "77"))),
    "search": events(
        "search-type", versions=[a_version("Observation/5", 2, "77"), a_version("Patient/77", 1, "77")]
    ),
    "search without result": events("search-type", targets=("77",)),
    "history": events("history-instance", versions=[a_version()]),
    "compartment": events("search-compartment", versions=[a_version()]),
    "denied": events("read", outcome=FAILED, reference="Observation/5", targets=("77",)),
    "refused create": events("create", outcome=FAILED, type="Observation"),
    "unknown": rest_events().of(Access({"q": "r-3", "a": "203.0.113.9"}, REQUEST, FAILED), NOW),
    "audit used": events("search-type", type="AuditEvent", versions=[a_version("AuditEvent/1", 1)]),
    "batch": [rest_events().of_bundle({**RECORD, "k": "batch"}, REQUEST, Outcome(), NOW)],
}
ALL = [
    pytest.param(event, id=f"{name} {at}") for name, found in CASES.items() for at, event in enumerate(found)
]


@pytest.mark.parametrize("event", ALL)
def test_bytes_are_canonical(event: Event) -> None:
    resource = orjson.loads(event.raw)
    assert event.raw == canonical(resource)
    assert resource["id"] == event.id
    assert resource["recorded"] == resource["meta"]["lastUpdated"] == "2026-03-01T12:00:00.123Z"


@pytest.mark.parametrize("event", ALL)
def test_search_fields_are_those_of_the_ordinary_indexer(event: Event) -> None:
    indexed = audit_indexer().index("AuditEvent", orjson.loads(event.raw))
    assert {name: sorted_if_list(v) for name, v in event.ix.items()} == {
        name: sorted_if_list(v) for name, v in indexed.ix.items()
    }
    assert event.x == {name: value for name, value in indexed.x.items() if name != "_content"}


def sorted_if_list(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) and value and isinstance(value[0], str) else value


def test_agents_of_a_foreign_token_carry_its_issuer_and_facts_tell_them_apart() -> None:
    """audit.md 3.1: iss -> who.identifier.system, sub -> value; two issuers may have given the same id."""
    foreign = {**RECORD, "i": "https://idp.example", "u": "https://idp.example|u-42", "f": None}
    foreign = {name: value for name, value in foreign.items() if value is not None}
    own = {name: value for name, value in RECORD.items() if name != "f"}
    told = []
    for record in (own, foreign):
        (event,) = rest_events().of(Access(record, REQUEST, reference="Observation/5"), NOW)
        resource = orjson.loads(event.raw)
        told.append((resource["agent"][0]["who"], resource["agent"][2]["who"], fact_of(resource)))
    assert told[0][0]["identifier"]["system"] == "https://clinic.example/oauth/clients"
    assert told[0][1]["identifier"] == {"system": "https://clinic.example/oauth", "value": "u-42"}
    assert told[1][0]["identifier"] == {"system": "https://idp.example", "value": "agenda-web"}
    assert told[1][1]["identifier"] == {"system": "https://idp.example", "value": "u-42"}
    assert [(fact.user, fact.client) for *_, fact in told] == [
        ("u-42", "agenda-web"),
        ("https://idp.example|u-42", "https://idp.example|agenda-web"),
    ]


@pytest.mark.parametrize("event", ALL)
def test_events_are_valid_r4(event: Event) -> None:
    assert validator().validate(orjson.loads(event.raw), "AuditEvent") == []


def test_the_validator_would_refuse_a_broken_event() -> None:
    broken = orjson.loads(CASES["read"][0].raw)
    broken["entity"][0] |= {"name": "x", "query": "eA=="}
    del broken["agent"][0]["requestor"]
    assert len(validator().validate(broken, "AuditEvent")) >= 2


@pytest.mark.parametrize(
    ("kind", "profile", "action", "client", "server", "user"),
    [
        ("read", "PatientRead", "R", ["110152", "110150"], ["110153"], "IRCP"),
        ("vread", "PatientRead", "R", ["110152", "110150"], ["110153"], "IRCP"),
        ("create", "PatientCreate", "C", ["110153", "110150"], ["110152"], "AUT"),
        ("update", "PatientUpdate", "U", ["110153", "110150"], ["110152"], "AUT"),
        ("patch", "PatientUpdate", "U", ["110153", "110150"], ["110152"], "AUT"),
        ("delete", "PatientDelete", "D", ["110150"], ["custodian"], "AUT"),
        ("search-type", "PatientQuery", "E", ["110153", "110150"], ["110152"], "IRCP"),
        ("history-type", None, "E", ["110153", "110150"], ["110152"], "IRCP"),
    ],
)
def test_each_interaction_has_the_shape_of_its_balp_pattern(
    kind: str, profile: str | None, action: str, client: list[str], server: list[str], user: str
) -> None:
    changes = kind in ("create", "update", "patch", "delete")
    version = a_version("Observation/5", 2, "77", events=(("w", "77"),) if changes else ())
    event = only(events(kind, versions=[version]))
    claimed = event["meta"].get("profile", [])
    assert claimed[:-1] == ([BALP + profile] if profile else [])
    assert claimed[-1] == f"{BALP}OAUTHaccessTokenUse.Minimal"
    assert (event["action"], subtypes(event), event["outcome"]) == (action, [kind], "0")
    types = [[coding["code"] for coding in agent["type"]["coding"]] for agent in event["agent"]]
    assert types == [client, server, [user, "UserOauthAgent"]]
    assert [agent["requestor"] for agent in event["agent"]] == [False, False, True]
    assert event["agent"][2]["policy"] == ["urn:ietf:params:oauth:jti:9f3c1f6e"]
    assert patients(event) == ["77"]


def test_every_patient_has_an_event_and_sees_only_what_is_its_own() -> None:
    page = [
        a_version("Observation/1", 1, "a"),
        a_version("Observation/2", 1, "b"),
        a_version("Appointment/3", 1, "a", "b"),
        a_version("Practitioner/4", 1),
    ]
    found = {
        patients(e)[0]: e for e in (orjson.loads(each.raw) for each in events("search-type", versions=page))
    }
    assert set(found) == {"a", "b"}
    assert references(found["a"]) == [
        "Observation/1/_history/1",
        "Appointment/3/_history/1",
        "Practitioner/4/_history/1",
    ]
    assert references(found["b"]) == ["Observation/2/_history/1", "Appointment/3/_history/1"]


def test_events_on_a_page_do_not_hide_the_patients_on_it() -> None:
    page = [a_version("AuditEvent/1", 1), a_version("Patient/77", 1, "77")]
    used, told = (orjson.loads(each.raw) for each in events("search-type", type="AuditEvent", versions=page))
    assert (used["type"]["code"], patients(used)) == ("110101", [])
    assert (told["type"]["code"], patients(told), references(told)) == (
        "rest",
        ["77"],
        ["Patient/77/_history/1"],
    )


def test_a_long_page_goes_on_in_a_further_event() -> None:
    page = [a_version(f"Observation/{n}", 1, "77") for n in range(MOST_ENTITIES + 1)]
    first, second = (orjson.loads(event.raw) for event in events("search-type", versions=page))
    assert (len(references(first)), len(references(second))) == (MOST_ENTITIES, 1)
    assert first["id"] != second["id"]


def test_a_denial_names_its_reason_and_the_true_patient_and_claims_nothing() -> None:
    event = only(CASES["denied"])
    assert subtypes(event) == ["read", "denied", "denied-compartment"]
    assert (event["outcome"], event["outcomeDesc"]) == (
        "4",
        "404 not-found resource-unknown (denied: compartment)",
    )
    assert "profile" not in event["meta"]
    assert patients(event) == ["77"]
    issue = event["contained"][0]["issue"][0]
    assert issue["code"] == "not-found"
    assert "diagnostics" not in issue
    assert event["entity"][-1]["what"] == {"reference": "#oo"}


@pytest.mark.parametrize(
    ("status", "error", "denied", "code"),
    [
        (200, None, None, "0"),
        (304, None, None, "0"),
        (404, NotFound("x"), None, "4"),
        (403, Forbidden("x"), "scope", "4"),
        (403, Forbidden("x"), "consent", "8"),
        (503, Unavailable("x"), None, "8"),
    ],
)
def test_outcomes(status: int, error: Any, denied: str | None, code: str) -> None:
    assert outcome_of(status, error, denied).code == code


def test_a_backend_is_its_own_requestor_and_an_event_of_system_work_claims_no_profile() -> None:
    backend = {"k": "read", "n": "sync", "c": "sync", "a": "203.0.113.9", "q": "r"}
    event = only(events("read", backend, versions=[a_version("Observation/5", 2, "77")]))
    assert [agent["requestor"] for agent in event["agent"]] == [True, False]
    assert event["meta"]["profile"] == [f"{BALP}PatientRead"]
    internal = only(
        events("read", {"k": "read", "n": "reindex"}, versions=[a_version("Observation/5", 2, "77")])
    )
    assert "profile" not in internal["meta"]


def test_a_break_glass_access_is_marked() -> None:
    under, beside = (orjson.loads(event.raw) for event in CASES["break-glass"])
    assert (patients(under), patients(beside)) == (["77"], ["78"])  # the emergency is that of one patient
    assert [event["purposeOfEvent"][0]["coding"][0]["code"] for event in (under, beside)] == ["BTG", "TREAT"]
    grant = under["entity"][-1]
    assert (grant["what"]["identifier"]["value"], grant["description"]) == ("btg-1", "unconscious")
    assert "break-glass-grant" not in str(beside)


def test_what_a_caller_puts_into_its_names_stays_a_value() -> None:
    odd = {**RECORD, "c": 'a","id":"evil', "u": "ü\u2028\x00"}
    event = only(events("read", odd, versions=[a_version("Observation/5", 2, "77")]))
    assert event["agent"][0]["who"]["identifier"]["value"] == 'a","id":"evil'
    assert event["id"].startswith("event-")


def test_recovered_events_differ_only_in_their_subtype() -> None:
    version = a_version("Observation/5", 1, "77", events=(("w1", "77"),))
    record = {**RECORD, "k": "create"}
    first, again = (rest_events().of_write(record, version, recovered=flag)[0] for flag in (False, True))
    assert subtypes(orjson.loads(again.raw)) == ["create", "recovered"]
    assert is_same(first.raw, again.raw)
    assert not is_same(first.raw, again.raw.replace(b"Observation/5", b"Observation/6"))
