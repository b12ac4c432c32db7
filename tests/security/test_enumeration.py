"""Rule: who tries identifiers one by one until a patient is there is stopped, and told on. security.md F3.

100 different identifiers in vain within five minutes; further searches by identifier get 429. Nothing else does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.kit.alerting import raised_now
from tests.kit.client import Fhir, assert_outcome, entry, unique
from tests.kit.tokens import Callers

CPF = "https://saude.gov.br/fhir/sid/cpf"


@pytest.fixture
def guesser(callers: Callers, request: pytest.FixtureRequest) -> Fhir:
    """A receptionist of this test's own, who may search for every patient."""
    return callers.client("reception", "user/*.rs", sub=unique(request.node.name[:40]))


def guesses(count: int) -> list[str]:
    return [f"{CPF}|{unique()}" for _ in range(count)]


def try_all(client: Fhir, values: list[str], at_once: int = 10) -> list[int]:
    """The status of each search; some are made of several values."""
    return [
        client.get("/Patient", params={"identifier": ",".join(values[at : at + at_once])}).status_code
        for at in range(0, len(values), at_once)
    ]


def test_the_hundredth_identifier_in_vain_is_the_last_that_is_answered(
    guesser: Fhir, callers: Callers, system: Fhir
) -> None:
    assert set(try_all(guesser, guesses(90))) == {200}
    assert set(try_all(guesser, guesses(10), 1)) == {200}
    refused = guesser.get("/Patient", params={"identifier": unique()})
    assert_outcome(refused, 429, "throttled", "identifier-enumeration")
    assert 0 < int(refused.headers["retry-after"]) <= 300
    for method, url, query in (
        ("POST", "/Patient/_search", {"identifier": unique()}),
        ("GET", "/Patient", {"identifier:of-type": f"x|CPF|{unique()}"}),
        ("GET", "/Observation", {"patient.identifier": unique()}),
        ("GET", "/Observation", {"subject:Patient.identifier": unique()}),
        ("GET", "/Observation", {"patient:identifier": unique()}),
    ):
        given = {"data": query} if method == "POST" else {"params": query}
        assert guesser.request(method, url, **given).status_code == 429, url  # type: ignore[arg-type]
    bundle = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"request": {"method": "GET", "url": f"Patient?identifier={unique()}"}}],
    }
    assert guesser.post("/", json=bundle).json()["entry"][0]["response"]["status"].startswith("429")
    # the refusal is in the log, and it is an alert
    found = system.get("/AuditEvent", params={"denied": "true", "_sort": "-date", "_count": "20"}).json()
    told = [entry["resource"]["outcomeDesc"] for entry in found["entry"]]
    assert "429 throttled identifier-enumeration (denied: throttled)" in told
    raised = [alert for alert in raised_now(callers.server.data_dir) if alert.rule == "enumeration"]
    assert [(alert.subject, dict(alert.figures)) for alert in raised] == [
        ("Practitioner/rec", {"most": "100"})
    ]
    # positive control: other questions of the same person, and the same question of another one
    assert guesser.get("/Patient", params={"name": unique()}).status_code == 200
    assert guesser.get("/Appointment", params={"identifier": unique()}).status_code == 200
    other = callers.client("reception", "user/*.rs", sub=unique("colleague"))
    assert other.get("/Patient", params={"identifier": unique()}).status_code == 200


def test_more_at_once_than_is_allowed_are_not_answered_at_all(guesser: Fhir) -> None:
    answer = guesser.get("/Patient", params={"identifier": ",".join(guesses(101))})
    assert_outcome(answer, 429, "throttled", "identifier-enumeration")


def test_the_same_identifier_counts_once_and_one_that_is_there_does_not(guesser: Fhir, system: Fhir) -> None:
    known = system.get("/Patient/p1").json()["identifier"][0]["value"]
    masked, plain = "123.456.789-09", "12345678909"
    for _ in range(60):
        for value in (masked, plain, f"{CPF}|{plain}"):
            assert guesser.get("/Patient", params={"identifier": value}).status_code == 200
    for _ in range(60):
        found = guesser.get("/Patient", params={"identifier": f"{CPF}|{known}"}).json()
        assert [entry["resource"]["id"] for entry in found["entry"]] == ["p1"]
    assert set(try_all(guesser, guesses(98), 14)) == {200}
    assert guesser.get("/Patient", params={"identifier": unique()}).status_code == 200  # the hundredth
    assert guesser.get("/Patient", params={"identifier": unique()}).status_code == 429


def _booked(criteria: str) -> dict[str, Any]:
    return {"resourceType": "Appointment", "status": "proposed", "participant": [
        {"actor": {"reference": criteria}, "status": "accepted"}]}  # fmt: skip


KNOWN = "http://rnds.saude.gov.br/fhir/r4/NamingSystem/cpf"
PATCH = {"content-type": "application/json-patch+json"}
FORMS: dict[str, Callable[[Fhir, str], httpx.Response]] = {
    "_filter": lambda c, v: c.get("/Patient", params={"_filter": f"identifier eq {v}"}),
    "not": lambda c, v: c.get("/Patient", params={"identifier:not": v, "_summary": "count"}),
    "_content": lambda c, v: c.get("/Patient", params={"_content": f"12345{v}"}),
    "system search": lambda c, v: c.get("/", params={"_type": "Patient", "identifier": v}),
    "chain by an actor": lambda c, v: c.get("/Appointment", params={"actor.identifier": v}),
    "two hops": lambda c, v: c.get("/Encounter", params={"appointment.actor:Patient.identifier": v}),
    "_has": lambda c, v: c.get("/Practitioner", params={"_has:Patient:general-practitioner:identifier": v}),
    "patch": lambda c, v: c.patch(f"/Patient?identifier={v}", json=[], headers=PATCH),
    "update": lambda c, v: c.put(f"/Patient?identifier={v}", json={"resourceType": "Patient", "id": "e-none"}),
    "reference": lambda c, v: c.bundle("transaction", entry("POST", "Appointment", _booked(f"Patient?identifier={v}"))),
    "update in a transaction": lambda c, v: c.bundle(
        "transaction", entry("PUT", f"Patient?identifier={v}", {"resourceType": "Patient", "id": "e-none"})
    ),
    "beside what all have": lambda c, v: c.get("/Patient", params={"identifier": f"{KNOWN}|,{v}"}),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_no_other_form_of_the_question_goes_uncounted(callers: Callers, form: str) -> None:
    """Whatever tells by its answer whether a patient has an identifier."""
    client = callers.client("reception", "user/*.cruds", sub=unique("forms"))
    assert set(try_all(client, guesses(97))) == {200}
    codes = [FORMS[form](client, unique().replace("-", "")).status_code for _ in range(4)]
    assert 429 not in codes[:3]
    assert codes[3] == 429
