"""How documents become requests: what is put, posted, split, kept whole, refused, and remembered."""

import json
from typing import Any

import pytest

from fhirserver.cli.plan import BATCH_ENTRIES, Failure, Label, Planner, Request
from fhirserver.cli.sources import Document

Json = dict[str, Any]


def document(content: Any, *, named: bool = True, line: int | None = None) -> Document:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Document("in.json", line, text, len(text), named)


def plan(*contents: Any, planner: Planner | None = None) -> list[Request | Failure]:
    planner = planner or Planner()
    made = [item for content in contents for item in planner.add(document(content))]
    return [*made, *planner.flush()]


def patient(id: str | None = None, **more: Any) -> Json:
    return {"resourceType": "Patient", **({"id": id} if id else {}), **more}


def bundle(type: str, *entries: Json) -> Json:
    return {"resourceType": "Bundle", "type": type, "entry": list(entries)}


def sent(request: Request | Failure) -> Json:
    assert isinstance(request, Request)
    body: Json = json.loads(request.body)
    return body


def requests(body: Json) -> list[tuple[str, str]]:
    return [(entry["request"]["method"], entry["request"]["url"]) for entry in body["entry"]]


def test_resources_are_put_under_their_id_or_posted_without_one() -> None:
    (batch,) = plan(patient("a"), patient())
    body = sent(batch)
    assert body["type"] == "batch"
    assert requests(body) == [("PUT", "Patient/a"), ("POST", "Patient")]


def test_a_resource_is_sent_byte_for_byte() -> None:
    (batch,) = plan(b'{"resourceType":"Observation", "id":"o", "valueQuantity":{"value":1.00}}')
    assert isinstance(batch, Request)
    assert b'"valueQuantity":{"value":1.00}' in batch.body


def test_batches_hold_a_hundred_entries() -> None:
    made = plan(*[patient(f"p{n}") for n in range(2 * BATCH_ENTRIES + 1)])
    assert [len(sent(request)["entry"]) for request in made] == [BATCH_ENTRIES, BATCH_ENTRIES, 1]


def test_a_transaction_is_sent_as_it_came() -> None:
    request = b'{"method":"DELETE","url":"Patient/a"}'
    text = b'{"resourceType":"Bundle","type":"transaction","entry":[{"request":' + request + b"}]}"
    (sent_on,) = plan(text)
    assert isinstance(sent_on, Request)
    assert (sent_on.atomic, sent_on.body) == (True, text)


def test_a_transaction_over_the_limit_is_reported_and_not_split() -> None:
    entry = {"request": {"method": "DELETE", "url": "Patient/a"}}
    (failure,) = plan(bundle("transaction", *[entry] * 3), planner=Planner(limit=2))
    assert isinstance(failure, Failure)
    assert (failure.count, failure.status) == (3, 0)


def test_a_batch_over_the_limit_is_split() -> None:
    entry = {"request": {"method": "DELETE", "url": "Patient/a"}}
    made = plan(bundle("batch", *[entry] * 5), planner=Planner(limit=2))
    assert [len(sent(request)["entry"]) for request in made] == [2, 2, 1]


@pytest.mark.parametrize("type", ["collection", "searchset"])
def test_collections_and_searchsets_are_unpacked(type: str) -> None:
    outcome = {"resource": {"resourceType": "OperationOutcome"}, "search": {"mode": "outcome"}}
    (batch,) = plan(bundle(type, {"resource": patient("a")}, outcome, {"resource": patient()}))
    assert requests(sent(batch)) == [("PUT", "Patient/a"), ("POST", "Patient")]


@pytest.mark.parametrize("type", ["document", "message", "history"])
def test_bundles_that_mean_something_as_a_whole_stay_whole(type: str) -> None:
    (batch,) = plan({**bundle(type, {"resource": patient("a")}), "id": "b"})
    assert requests(sent(batch)) == [("PUT", "Bundle/b")]


def test_a_collection_whose_entries_refer_to_each_other_by_urn_becomes_a_transaction() -> None:
    address = "urn:uuid:88f151c0-a954-468a-88bd-5ae15c08e059"
    condition = {"resourceType": "Condition", "subject": {"reference": address}}
    (request,) = plan(
        bundle("collection", {"fullUrl": address, "resource": patient()}, {"resource": condition})
    )
    body = sent(request)
    assert body["type"] == "transaction"
    assert body["entry"][0]["fullUrl"] == address
    assert requests(body) == [("POST", "Patient"), ("POST", "Condition")]


def test_what_an_earlier_run_created_is_not_sent_again_but_what_was_put_is() -> None:
    first = plan(patient(), patient("a"))
    assert isinstance(first[0], Request)
    done = frozenset(digest for digest in first[0].digests if digest)
    assert len(done) == 1
    again = Planner(done)
    (batch,) = plan(patient(), patient("a"), planner=again)
    assert requests(sent(batch)) == [("PUT", "Patient/a")]
    assert again.known == 1


def test_only_a_transaction_that_would_double_something_is_remembered() -> None:
    post = {"resource": patient(), "request": {"method": "POST", "url": "Patient"}}
    once = {
        "resource": patient(),
        "request": {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=1"},
    }
    (doubling,) = plan(bundle("transaction", post))
    (repeatable,) = plan(bundle("transaction", once))
    assert isinstance(doubling, Request)
    assert isinstance(repeatable, Request)
    assert (bool(doubling.digests[0]), bool(repeatable.digests[0])) == (True, False)
    known = Planner(frozenset(doubling.digests))
    assert plan(bundle("transaction", post), planner=known) == []
    assert known.known == 1


def test_a_text_that_is_no_json_is_a_failure() -> None:
    (failure,) = plan(b'{"resourceType": "Patient"')
    assert isinstance(failure, Failure)
    assert failure.label == Label("in.json")


def test_a_file_without_fhir_is_skipped_in_a_folder_and_refused_when_named() -> None:
    planner = Planner()
    assert list(planner.add(document({"name": "x"}, named=False))) == []
    assert planner.skipped == 1
    assert [type(item) for item in planner.add(document({"name": "x"}))] == [Failure]
    assert [type(item) for item in planner.add(document([1], named=False, line=3))] == [Failure]
