"""Events of sign-in, tokens, consent and break-glass, and of the server itself: audit.md 3.3."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import orjson
import pytest

from fhirserver.audit.alarms import Alarm
from fhirserver.audit.event import Event
from fhirserver.audit.floods import MOST_A_MINUTE, Floods, Summary
from fhirserver.audit.ledger import canonical
from fhirserver.audit.recorded import QueryRecorder
from fhirserver.audit.security import LINES, SecurityEvents
from fhirserver.audit.system import SystemEvents
from fhirserver.context import AuthEvent
from tests.kit.audit import KEY, NOW, a_builder, audit_indexer, patients, subtypes, validator

WRITER = bytes(range(16))
SYSTEM = SystemEvents(a_builder(), lambda: NOW)


class Kept:
    """Takes events as the Recorder does."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def record(self, events: list[Event]) -> None:
        self.events += events


def security(kept: Kept | None = None) -> SecurityEvents:
    return SecurityEvents(a_builder(), kept or Kept(), QueryRecorder(KEY), lambda: NOW)  # type: ignore[arg-type]


def told(happened: AuthEvent) -> dict[str, Any]:
    kept = Kept()
    asyncio.run(security(kept).record(happened))
    event: dict[str, Any] = orjson.loads(kept.events[0].raw)
    return event


def full(kind: str) -> AuthEvent:
    return AuthEvent(
        kind,
        "agenda-web",
        "u-42",
        "maria",
        "g-1",
        "77",
        "user/*.rs",
        "203.0.113.9",
        detail=(("reason", "x"),),
    )


SYSTEM_EVENTS = [
    SYSTEM.started(WRITER),
    SYSTEM.stopped(WRITER),
    SYSTEM.lost(WRITER),
    SYSTEM.recording_stopped(WRITER),
    SYSTEM.recording_started(WRITER),
    SYSTEM.alarm(Alarm.of("integrity", "found", findings="MODIFIED 1")),
    SYSTEM.work("reindex", 3),
    SYSTEM.checkpoint(7, "clinic.example/audit\n7\n\n— x\n"),
    SYSTEM.flood(Summary("203.0.113.9", 5, NOW)),
]
ALL = [
    *SYSTEM_EVENTS,
    *(security().event(full(kind)) for kind in LINES),
    *(security().event(AuthEvent(kind, error="x")) for kind in LINES),
]


@pytest.mark.parametrize("event", ALL, ids=lambda event: event.id)
def test_each_is_canonical_valid_and_indexed(event: Event) -> None:
    resource = orjson.loads(event.raw)
    assert event.raw == canonical(resource)
    assert validator().validate(resource, "AuditEvent") == []
    indexed = audit_indexer().index("AuditEvent", resource)
    assert dict(event.ix) == indexed.ix


@pytest.mark.parametrize(
    ("kind", "type", "subtype"),
    [
        ("login", "110114", "110122"),
        ("login-failed", "110114", "110122"),
        ("logout", "110114", "110123"),
        ("token-issued", "110114", "ITI-71"),
        ("client-refused", "110113", "110126"),
        ("break-glass-started", "110113", "110127"),
        ("break-glass-ended", "110113", "110138"),
        ("role-changed", "110113", "110136"),
        ("user-changed", "110113", "110137"),
        ("client-changed", "110113", "110135"),
        ("key-rotated", "110113", "110129"),
        ("consent", "110113", "AuthZ-Consent"),
    ],
)
def test_each_kind_has_its_codes(kind: str, type: str, subtype: str) -> None:
    event = told(full(kind))
    assert (event["type"]["code"], subtypes(event), event["action"]) == (type, [subtype], "E")


def test_a_failed_login_says_why_and_who() -> None:
    event = told(
        AuthEvent("login-failed", "agenda-web", name="maria", address="203.0.113.9", error="bad-password")
    )
    assert (event["outcome"], event["outcomeDesc"]) == ("4", "bad-password")
    user = event["agent"][-1]
    assert user["type"]["coding"][0]["code"] == "humanuser"
    assert user["altId"] == "maria"
    assert event["agent"][0]["network"]["address"] == "203.0.113.9"


def test_a_token_is_issued_by_the_ihe_pattern_without_its_secrets() -> None:
    form = "grant_type=client_credentials&client_secret=s3cret&scope=system%2F*.rs"
    event = told(AuthEvent("token-issued", "sync", address="203.0.113.9", query=form))
    assert event["meta"]["profile"] == ["https://profiles.ihe.net/ITI/IUA/StructureDefinition/IHE.IUA.71"]
    (entity,) = event["entity"]
    assert "s3cret" not in base64.b64decode(entity["query"]).decode()
    assert [agent["type"]["coding"][0]["code"] for agent in event["agent"]] == ["110150", "AuthzOauthService"]


@pytest.mark.parametrize(
    "happened",
    [
        AuthEvent("token-issued", "app", address="203.0.113.9", scope="user/*.rs"),
        AuthEvent("token-issued", None, address="203.0.113.9", query="grant_type=x"),
        AuthEvent("token-issued", "app", query="grant_type=x"),
        AuthEvent("token-refused", "app", address="203.0.113.9", query="grant_type=x", error="invalid_grant"),
    ],
    ids=["no request", "no client", "no address", "refused"],
)
def test_the_ihe_pattern_is_not_claimed_without_what_it_demands(happened: AuthEvent) -> None:
    assert "profile" not in told(happened)["meta"]


def test_a_token_that_no_request_asked_for_says_its_scope() -> None:
    """The command line makes such tokens; its machine has a name, not an IP address."""
    event = told(AuthEvent("token-issued", address="command line", scope="system/*.rs"))
    (entity,) = event["entity"]
    assert entity["detail"] == [{"type": "scope", "valueString": "system/*.rs"}]
    assert event["agent"][0]["network"] == {"address": "command line", "type": "1"}


def test_a_foreign_user_is_named_as_their_issuer_knows_them() -> None:
    event = told(AuthEvent("break-glass-started", "agenda", "https://idp.example|auth0|7", patient="77"))
    client, _, user = (agent.get("who", {}).get("identifier") for agent in event["agent"])
    assert user == {"system": "https://idp.example", "value": "auth0|7"}
    assert client == {"system": "https://idp.example", "value": "agenda"}


def test_failed_client_authentication_is_an_alert_and_another_refusal_is_not() -> None:
    assert told(AuthEvent("token-refused", "app", error="invalid_client"))["type"]["code"] == "110113"
    assert told(AuthEvent("token-refused", "app", error="invalid_grant"))["type"]["code"] == "110114"


def test_break_glass_names_patient_grant_and_reason() -> None:
    event = told(full("break-glass-started"))
    assert patients(event) == ["77"]
    assert event["purposeOfEvent"][0]["coding"][0]["code"] == "BTG"
    assert event["entity"][1]["what"]["identifier"]["value"] == "g-1"
    assert event["entity"][1]["detail"] == [{"type": "reason", "valueString": "x"}]


def test_an_unknown_kind_is_no_silent_event() -> None:
    with pytest.raises(KeyError):
        security().event(AuthEvent("something"))


def test_a_lost_session_is_a_serious_failure_and_a_stop_is_none() -> None:
    lost, stopped = (orjson.loads(event.raw) for event in (SYSTEM.lost(WRITER), SYSTEM.stopped(WRITER)))
    assert (lost["outcome"], stopped["outcome"]) == ("12", "0")
    assert subtypes(lost) == subtypes(stopped) == ["110121"]


def test_a_flood_becomes_one_summary_and_a_few_refusals_do_not() -> None:
    floods, minute = Floods(), 60_000_000
    admitted = [floods.admit("203.0.113.9", NOW) for _ in range(MOST_A_MINUTE + 5)]
    assert admitted == [True] * MOST_A_MINUTE + [False] * 5
    assert floods.admit("198.51.100.1", NOW), "another address has its own count"
    assert list(floods.due(NOW)) == [], "the minute is not over"
    (summary,) = floods.due(NOW + minute)
    assert (summary.address, summary.count) == ("203.0.113.9", 5)
    assert list(floods.due(NOW + minute)) == []
    assert floods.admit("203.0.113.9", NOW + minute)
    event = orjson.loads(SYSTEM.flood(summary).raw)
    assert (subtypes(event), event["outcomeDesc"]) == (["denied", "throttled"], "5 further refusals")


def test_addresses_without_end_share_one_count() -> None:
    floods = Floods()
    for number in range(10_000):
        assert floods.admit(str(number), NOW)
    admitted = [floods.admit(f"new-{number}", NOW) for number in range(MOST_A_MINUTE + 1)]
    assert admitted[-1] is False
    assert [summary.address for summary in floods.rest()] == ["others"]
