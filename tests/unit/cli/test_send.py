"""What the answers to requests mean: stored, failed entry by entry, failed as a whole, unknown, or lost."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from fhirserver.cli.client import FhirClient, Reply, Unreachable, outcome_text
from fhirserver.cli.ledger import Ledger
from fhirserver.cli.plan import Label, Request
from fhirserver.cli.send import Sent, send, send_all

OUTCOME = {
    "resourceType": "OperationOutcome",
    "issue": [
        {
            "severity": "error",
            "code": "value",
            "details": {"text": "is no date"},
            "expression": ["Patient.birthDate"],
        },
        {"severity": "warning", "code": "informational", "details": {"text": "by the way"}},
    ],
}


class Answering:
    """Stands in for FhirClient: answers with what it was given."""

    def __init__(self, *replies: Reply | Exception, there: bool = True) -> None:
        self.replies, self.there, self.bodies = list(replies), there, list[bytes]()

    def post(self, body: bytes) -> Reply:
        self.bodies.append(body)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def is_there(self) -> bool:
        return self.there


def reply(status: int, body: Any) -> Reply:
    return Reply(status, json.dumps(body).encode(), 1.0)


def answers(*statuses: str) -> dict[str, Any]:
    return {
        "resourceType": "Bundle",
        "entry": [
            {"response": {"status": status, **({} if status[0] == "2" else {"outcome": OUTCOME})}}
            for status in statuses
        ],
    }


def request(*, atomic: bool = False) -> Request:
    labels = (Label("a.json", entry=0, reference="Patient/1"), Label("a.json", entry=1, reference="Patient"))
    return Request(atomic, b"{}", labels, ("all",) if atomic else ("", "d1"), 10)


def sending(request: Request, *replies: Reply | Exception, there: bool = True) -> Sent:
    return send(cast("FhirClient", Answering(*replies, there=there)), request)


def test_a_batch_that_was_stored_gives_its_digests() -> None:
    sent = sending(request(), reply(200, answers("201 Created", "201")))
    assert (sent.stored, sent.failures, sent.digests) == (2, [], ["", "d1"])


def test_an_entry_that_was_refused_is_named_with_status_and_issue() -> None:
    sent = sending(request(), reply(200, answers("200", "422 Unprocessable")))
    assert (sent.stored, sent.digests) == (1, [""])
    (failure,) = sent.failures
    assert (failure.label.entry, failure.status, failure.text) == (1, 422, "Patient.birthDate: is no date")


def test_a_refused_transaction_is_one_failure_of_all_its_resources() -> None:
    sent = sending(request(atomic=True), reply(400, OUTCOME))
    (failure,) = sent.failures
    assert (sent.stored, failure.count, failure.status) == (0, 2, 400)
    assert "is no date" in failure.text
    assert sent.digests == []


def test_a_refused_batch_fails_with_every_entry() -> None:
    assert len(sending(request(), reply(413, {})).failures) == 2


def test_an_answer_of_another_length_is_no_success() -> None:
    assert sending(request(), reply(200, answers("201"))).stored == 0


def test_a_connection_that_broke_leaves_it_open_what_was_stored() -> None:
    (failure,) = sending(request(atomic=True), Unreachable("broken")).failures
    assert "may or may not" in failure.text


def test_a_server_that_is_gone_ends_the_run() -> None:
    with pytest.raises(Unreachable):
        sending(request(), Unreachable("gone"), there=False)


def test_all_requests_are_sent_and_collected() -> None:
    def requests() -> Iterator[Request]:
        for _ in range(25):
            yield request()

    client = Answering(*[reply(200, answers("200", "201")) for _ in range(25)])
    collected: list[Sent] = []
    send_all(cast("FhirClient", client), requests(), parallel=4, done=lambda _, sent: collected.append(sent))
    assert sum(sent.stored for sent in collected) == 50


def test_only_errors_of_an_outcome_are_told() -> None:
    assert outcome_text(OUTCOME) == "Patient.birthDate: is no date"
    assert outcome_text({}) == outcome_text([]) == ""


def test_the_ledger_remembers_by_server(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "http://a/fhir")
    assert ledger.read() == frozenset()
    ledger.add(["", "one"])
    ledger.add([])
    ledger.add(["two"])
    assert Ledger(tmp_path, "http://a/fhir").read() == {"one", "two"}
    assert Ledger(tmp_path, "http://b/fhir").read() == frozenset()
