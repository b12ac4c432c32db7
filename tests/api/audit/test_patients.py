"""Who saw what of which patient: one event for each patient, for every byte that leaves: audit.md R4, R7, 2, 3.1."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from pymongo.collection import Collection

from tests.kit.audit import events_of, patients, references, subtypes
from tests.kit.client import JSON, Fhir, entry, unique

CPF = "52998224725"


def made_patient(fhir: Fhir, **more: Any) -> str:
    id: str = fhir.made({"resourceType": "Patient", "name": [{"family": unique("Seen")}], **more})["id"]
    return id


def observation(patient: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": f"Patient/{patient}"},
        **more,
    }


class Seen:
    """What the events of one request say, by patient."""

    def __init__(self, fhir: Fhir, method: str, url: str, **options: Any) -> None:
        self.id = unique("seen")
        headers = {"x-request-id": self.id, **options.pop("headers", {})}
        self.answer = fhir.request(method, url, headers=headers, **options)
        self.events = events_of(fhir, self.id)

    def by_patient(self) -> dict[str | None, set[str]]:
        found: dict[str | None, set[str]] = {}
        for event in self.events:
            for patient in patients(event) or [None]:
                found.setdefault(patient, set()).update(references(event))
        return found


@pytest.fixture(scope="module")
def two(fhir: Fhir) -> tuple[str, str]:
    return made_patient(fhir), made_patient(fhir)


def test_a_page_is_told_for_each_patient_in_it_with_includes(fhir: Fhir, two: tuple[str, str]) -> None:
    a, b = two
    text = unique("page")
    ids = [
        fhir.made(observation(patient, note=[{"text": "n"}], method={"text": text}))["id"] for patient in two
    ]
    seen = Seen(fhir, "GET", f"/Observation?method:text={text}&_include=Observation:subject")
    assert seen.by_patient() == {
        a: {f"Observation/{ids[0]}/_history/1", f"Patient/{a}/_history/1"},
        b: {f"Observation/{ids[1]}/_history/1", f"Patient/{b}/_history/1"},
    }


def test_every_page_of_a_search_is_told(fhir: Fhir, two: tuple[str, str]) -> None:
    text = unique("pages")
    for _ in range(3):
        fhir.made(observation(two[0], method={"text": text}))
    first = Seen(fhir, "GET", f"/Observation?method:text={text}&_count=2")
    following = next(link["url"] for link in first.answer.json()["link"] if link["relation"] == "next")
    second = Seen(fhir, "GET", following)
    assert [len(each.by_patient()[two[0]]) for each in (first, second)] == [2, 1]


def test_a_search_that_finds_nothing_is_told_for_the_patient_that_it_names(
    fhir: Fhir, two: tuple[str, str]
) -> None:
    for query in (f"patient={two[0]}", f"subject=Patient/{two[0]}", f"subject:Patient={two[0]}"):
        assert Seen(fhir, "GET", f"/Observation?{query}&code=none").by_patient() == {two[0]: set()}
    assert Seen(fhir, "GET", f"/Patient/{two[0]}/Condition").by_patient() == {two[0]: set()}
    assert Seen(fhir, "GET", "/Observation?code=none-at-all").by_patient() == {None: set()}


def test_history_is_told_also_of_what_was_deleted(fhir: Fhir, two: tuple[str, str]) -> None:
    id = fhir.made(observation(two[0]))["id"]
    assert fhir.update({**observation(two[1]), "id": id}).status_code == 200
    assert fhir.delete(f"/Observation/{id}").status_code == 204
    seen = Seen(fhir, "GET", f"/Observation/{id}/_history")
    assert seen.by_patient() == {
        two[0]: {f"Observation/{id}/_history/1"},
        two[1]: {f"Observation/{id}/_history/2", f"Observation/{id}/_history/3"},
    }
    assert Seen(fhir, "GET", f"/Observation/{id}").by_patient() == {None: {f"Observation/{id}"}}, "410"


def test_everything_is_told_with_what_surrounds_the_patient(fhir: Fhir) -> None:
    patient = made_patient(fhir)
    doctor = fhir.made({"resourceType": "Practitioner", "name": [{"family": "D"}]})["id"]
    id = fhir.made(observation(patient, performer=[{"reference": f"Practitioner/{doctor}"}]))["id"]
    seen = Seen(fhir, "GET", f"/Patient/{patient}/$everything")
    assert seen.by_patient() == {
        patient: {
            f"Patient/{patient}/_history/1",
            f"Observation/{id}/_history/1",
            f"Practitioner/{doctor}/_history/1",
        }
    }
    assert [subtypes(event) for event in seen.events] == [["operation"]]


def test_a_resource_that_moves_is_told_on_both_sides(fhir: Fhir, two: tuple[str, str]) -> None:
    id = fhir.made(observation(two[0]))["id"]
    seen = Seen(
        fhir,
        "PUT",
        f"/Observation/{id}",
        json={**observation(two[1]), "id": id},
        headers={"content-type": JSON},
    )
    reference = f"Observation/{id}/_history/2"
    assert seen.by_patient() == {two[0]: {reference}, two[1]: {reference}}


def test_a_resource_of_two_patients_is_told_for_both(fhir: Fhir, two: tuple[str, str]) -> None:
    actors = [{"actor": {"reference": f"Patient/{patient}"}, "status": "accepted"} for patient in two]
    id = fhir.made({"resourceType": "Appointment", "status": "proposed", "participant": actors})["id"]
    assert set(Seen(fhir, "GET", f"/Appointment/{id}").by_patient()) == set(two)
    assert set(Seen(fhir, "HEAD", f"/Appointment/{id}").by_patient()) == set(two)
    unchanged = Seen(fhir, "GET", f"/Appointment/{id}", headers={"if-none-match": 'W/"1"'})
    assert unchanged.answer.status_code == 304
    assert set(unchanged.by_patient()) == set(two)


def test_a_bundle_is_told_as_a_whole_and_by_entry(fhir: Fhir, two: tuple[str, str]) -> None:
    entries = [
        entry("GET", f"Patient/{two[0]}"),
        entry("POST", "Observation", observation(two[1])),
        entry("GET", "Patient/does-not-exist"),
    ]
    body = {"resourceType": "Bundle", "type": "batch", "entry": entries}
    seen = Seen(fhir, "POST", "", json=body, headers={"content-type": JSON})
    assert sorted((subtypes(event)[0], event["outcome"]) for event in seen.events) == [
        ("batch", "0"),
        ("create", "0"),
        ("read", "0"),
        ("read", "4"),
    ]
    assert set(seen.by_patient()) >= set(two)


def test_a_transaction_that_is_rolled_back_leaves_failures_and_no_success(
    fhir: Fhir, two: tuple[str, str]
) -> None:
    id = unique("new")
    entries = [
        entry("POST", "Observation", observation(two[0])),
        entry("PUT", f"Observation/{id}", {**observation(two[1]), "id": id}),
        entry("DELETE", "Patient/x", None, ifMatch='W/"9"'),
    ]
    body = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    seen = Seen(fhir, "POST", "", json=body, headers={"content-type": JSON})
    assert seen.answer.status_code == 412
    assert sorted(subtypes(event)[0] for event in seen.events) == [
        "create",
        "delete",
        "transaction",
        "update",
    ]
    assert {event["outcome"] for event in seen.events} == {"4"}


def test_a_transaction_of_one_entry_that_fails_and_an_empty_one_are_told(fhir: Fhir) -> None:
    body = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [entry("PUT", "Patient/a", {"resourceType": "Patient", "id": "b"})],
    }
    failed = Seen(fhir, "POST", "", json=body, headers={"content-type": JSON})
    assert [(subtypes(event)[0], event["outcome"]) for event in failed.events] == [
        ("update", "4"),
        ("transaction", "4"),
    ]
    empty = Seen(
        fhir, "POST", "", json={"resourceType": "Bundle", "type": "batch"}, headers={"content-type": JSON}
    )
    assert [(subtypes(event), event["outcome"]) for event in empty.events] == [(["batch"], "0")]


def test_a_transaction_that_is_done_is_told_by_entry(fhir: Fhir, two: tuple[str, str]) -> None:
    entries = [entry("POST", "Observation", observation(patient)) for patient in two]
    body = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    seen = Seen(fhir, "POST", "", json=body, headers={"content-type": JSON})
    assert seen.answer.status_code == 200
    assert set(seen.by_patient()) == {*two, None}
    assert all("recovered" not in subtypes(event) for event in seen.events)


def test_a_failed_request_names_the_true_patient_of_what_it_meant(fhir: Fhir, two: tuple[str, str]) -> None:
    id = fhir.made(observation(two[0]))["id"]
    stale = Seen(
        fhir, "PUT", f"/Observation/{id}", json={**observation(two[1]), "id": id},
        headers={"content-type": JSON, "if-match": 'W/"9"'},
    )  # fmt: skip
    assert stale.answer.status_code == 412
    assert stale.by_patient() == {two[0]: {f"Observation/{id}"}}


def test_a_search_by_cpf_leaves_no_cpf_in_the_log(fhir: Fhir, stored: Collection[dict[str, Any]]) -> None:
    made_patient(
        fhir, identifier=[{"system": "http://rnds.saude.gov.br/fhir/r4/NamingSystem/cpf", "value": CPF}]
    )
    one = Seen(fhir, "GET", f"/Patient?identifier={CPF}")
    same = Seen(
        fhir,
        "POST",
        "/Patient/_search",
        content=f"identifier={CPF}",
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    chained = Seen(fhir, "GET", f"/Observation?patient.identifier={CPF}")
    tokens = set()
    for seen in (one, same, chained):
        query = next(entity["query"] for entity in seen.events[0]["entity"] if "query" in entity)
        text = base64.b64decode(query).decode()
        assert CPF not in text
        tokens.add(text[text.index("identifier=h:") :][:29])
    assert len(tokens) == 1, "equal values are one token"
    for row in stored.find():
        whole = bytes(row["raw"]) + repr(row["ix"]).encode() + repr(row.get("x")).encode()
        assert CPF.encode() not in whole
        assert base64.b64encode(CPF.encode())[:-2] not in whole


def test_no_event_holds_a_name_of_a_patient(fhir: Fhir, stored: Collection[dict[str, Any]]) -> None:
    family = unique("Verysecret")
    id = fhir.made({"resourceType": "Patient", "name": [{"family": family}]})["id"]
    assert Seen(fhir, "GET", f"/Patient?family={family}&_id={id}").by_patient() == {
        id: {f"Patient/{id}/_history/1"}
    }
    assert Seen(fhir, "GET", f"/Patient/{id}").events
    assert not [row["_id"] for row in stored.find() if family.encode() in bytes(row["raw"])]
    assert [row for row in stored.find() if id.encode() in bytes(row["raw"])], "positive control"


def test_the_trace_of_the_caller_is_kept(fhir: Fhir, two: tuple[str, str]) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    seen = Seen(fhir, "GET", f"/Patient/{two[0]}", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    (event,) = seen.events
    assert [e["what"]["identifier"]["value"] for e in event["entity"] if e["type"]["code"] == "trace-id"] == [
        trace
    ]
    odd = Seen(fhir, "GET", f"/Patient/{two[0]}", headers={"traceparent": "nonsense"})
    assert not [e for e in odd.events[0]["entity"] if e["type"]["code"] == "trace-id"]


def test_a_forwarded_address_is_not_believed_without_a_known_proxy(fhir: Fhir, two: tuple[str, str]) -> None:
    (event,) = Seen(fhir, "GET", f"/Patient/{two[0]}", headers={"x-forwarded-for": "198.51.100.7"}).events
    assert event["agent"][0]["network"]["address"] == "127.0.0.1"
