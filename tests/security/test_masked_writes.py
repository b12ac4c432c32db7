"""What is hidden from a writer is neither told to them nor destroyed by them; who sees pseudonyms opens one patient.

docs/explanation/access.md; threats C3, C4, C7.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.client import Fhir, assert_outcome, entry
from tests.kit.tokens import Callers
from tests.security.clinic import Json, ref
from tests.security.masked import CANARY, CODE, PERSON, SHORT_CPF, WHOLE_CPF, encounter, fill
from tests.security.test_break_glass import REASON, call

PATCH = {"content-type": "application/json-patch+json"}
REFUSED = (422, "processing", "masked-not-writable")
COPY = (422, "processing", "masked-copy")


@pytest.fixture(scope="module", autouse=True)
def stored(system: Fhir) -> None:
    fill(system)


@pytest.fixture
def clerk(callers: Callers) -> Fhir:
    """Someone who may write what they see in part."""
    return callers.client("nobody", "user/*.cruds", sub="clerk", roles=["clerk"])


@pytest.fixture
def desk(callers: Callers) -> Fhir:
    return callers.client("reception", "user/*.cruds")


def without(resource: Json, *names: str) -> Json:
    return {name: value for name, value in resource.items() if name not in names}


def patched(client: Fhir, url: str, *operations: Json) -> Any:
    return client.patch(url, json=list(operations), headers=PATCH)


def test_what_one_creates_is_stored_whole_and_answered_in_part(desk: Fhir, system: Fhir) -> None:
    body = without(encounter("x", "k2"), "id", "meta")
    alone = desk.create(body, Prefer="return=representation")
    bundled = desk.bundle("transaction", entry("POST", "Encounter", body), Prefer="return=representation")
    for made in (alone.json(), bundled.json()["entry"][0]["resource"]):
        assert CANARY not in str(made)
        assert made["meta"]["tag"][0]["code"] == "SUBSETTED"
        assert system.get(f"/Encounter/{made['id']}").json()["reasonCode"][0]["text"] == CANARY
    assert (alone.status_code, bundled.status_code) == (201, 200)


def test_conditions_of_writes_tell_nothing(desk: Fhir, clerk: Fhir, system: Fhir) -> None:
    body = without(encounter("x", "k2"), "id", "meta")
    before = system.get("/Encounter?_summary=count").json()["total"]
    hidden, masked = f"reason-code={CODE}", (403, "forbidden", "parameter-masked")
    assert_outcome(desk.create(body, If_None_Exist=hidden), *masked)
    assert_outcome(desk.bundle("transaction", entry("POST", "Encounter", body, ifNoneExist=hidden)), *masked)
    reference = body | {"partOf": ref(f"Encounter?{hidden}")}
    assert_outcome(desk.bundle("transaction", entry("POST", "Encounter", reference)), *masked)
    for answer in (
        clerk.put(f"/Encounter?{hidden}", json=body),
        patched(clerk, f"/Encounter?{hidden}", {"op": "remove", "path": "/status"}),
    ):
        assert_outcome(answer, *masked)
    found = desk.create(body, If_None_Exist="_id=kenc", Prefer="return=representation")
    assert (found.status_code, found.json()["id"]) == (200, "kenc")
    assert CANARY not in found.text
    within = desk.bundle(
        "transaction",
        entry("POST", "Encounter", body, ifNoneExist="_id=kenc"),
        Prefer="return=representation",
    )
    assert within.status_code == 200
    assert CANARY not in within.text
    assert system.get("/Encounter?_summary=count").json()["total"] == before


def test_a_masked_reader_does_not_update_what_is_hidden_in_part(clerk: Fhir, system: Fhir) -> None:
    """Neither the copy as it was read, nor without its tag, nor made up anew; nor by a Bundle or by criteria."""
    for url in ("/Encounter/kenc", "/Patient/k1"):
        whole, copy = system.get(url), clerk.get(url).json()
        untagged = without(copy, "meta")
        guessed = {
            "resourceType": copy["resourceType"],
            "id": copy["id"],
            "status": "finished",
            "class": {"code": "AMB"},
        }
        for body in (copy, untagged, guessed if url == "/Encounter/kenc" else untagged, whole.json()):
            assert_outcome(clerk.update(body), *REFUSED)
            assert_outcome(clerk.update(body, If_Match='W/"77"'), *REFUSED)
            assert_outcome(clerk.put(f"/{copy['resourceType']}?_id={copy['id']}", json=body), *REFUSED)
            put = entry("PUT", url.removeprefix("/"), body)
            assert clerk.bundle("batch", put).json()["entry"][0]["response"]["status"][:3] == "422"
            assert_outcome(clerk.bundle("transaction", put), *REFUSED)
        now = system.get(url)
        assert (now.content, now.headers["etag"]) == (whole.content, whole.headers["etag"])


def test_a_patch_by_a_masked_reader_tells_and_changes_nothing(clerk: Fhir, system: Fhir) -> None:
    whole = system.get("/Encounter/kenc")
    answers = [
        patched(clerk, "/Encounter/kenc", {"op": "test", "path": "/reasonCode/0/text", "value": CANARY}),
        patched(clerk, "/Encounter/kenc", {"op": "test", "path": "/reasonCode/0/text", "value": "another"}),
        patched(clerk, "/Encounter/kenc", {"op": "remove", "path": "/reasonCode"}),
        patched(clerk, "/Encounter/kenc", {"op": "move", "from": "/reasonCode", "path": "/type"}),
        patched(clerk, "/Encounter/kenc", {"op": "copy", "from": "/reasonCode/0/text", "path": "/class/display"}),
        patched(clerk, "/Encounter/kenc", {"op": "replace", "path": "/status", "value": "cancelled"}),
        patched(clerk, "/Encounter?_id=kenc", {"op": "remove", "path": "/diagnosis"}),
        clerk.post("/Encounter/kenc/$meta-add", json={"resourceType": "Parameters", "parameter": [
            {"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}]}),
    ]  # fmt: skip
    for answer in answers:
        assert_outcome(answer, *REFUSED)
        assert CANARY not in answer.text
    assert len({answer.content for answer in answers}) == 1
    assert system.get("/Encounter/kenc").content == whole.content


def test_a_masked_reader_updates_what_they_see_whole(clerk: Fhir) -> None:
    """The positive side; and what they add that is hidden from them is stored, and from then on not theirs to change."""
    made = clerk.made(
        {
            "resourceType": "Encounter",
            "status": "planned",
            "class": {"code": "AMB"},
            "subject": ref("Patient/k2"),
        }
    )
    url = f"/Encounter/{made['id']}"
    assert clerk.update(made | {"status": "finished"}).json()["meta"]["versionId"] == "2"
    assert patched(clerk, url, {"op": "add", "path": "/priority", "value": {"text": "x"}}).status_code == 200
    added = patched(clerk, url, {"op": "add", "path": "/reasonCode", "value": [{"text": "told"}]})
    assert (added.status_code, "told" in added.text) == (200, False)
    assert_outcome(patched(clerk, url, {"op": "remove", "path": "/priority"}), *REFUSED)
    assert_outcome(clerk.update(made | {"id": "absent-k"}), 404, "not-found", "resource-unknown")


def test_nobody_writes_a_masked_copy_over_the_whole(callers: Callers, clerk: Fhir, system: Fhir) -> None:
    """C4: also those who see everything, with a copy that someone else gave them."""
    reviewer = callers.client("nobody", "user/*.rs", sub="rev", roles=["reviewer"])
    whole = system.get("/Patient/k1")
    copies = [clerk.get("/Patient/k1").json(), reviewer.get("/Patient/k1").json(),
              system.get("/Patient/k1?_elements=name").json(), system.get("/Patient/k1?_summary=data").json()]  # fmt: skip
    assert_outcome(system.update(copies[1]), 422, "value", "CAD-01")  # a short CPF is no CPF
    copies[1] = without(copies[1], "identifier")
    for copy in copies:
        assert_outcome(system.update(copy), *COPY)
        assert_outcome(system.bundle("transaction", entry("PUT", "Patient/k1", copy)), *COPY)
    untagged = without(copies[1], "meta")
    assert_outcome(system.update(untagged), *COPY)
    for name in ("name", "telecom", "address"):  # one masked place is enough
        assert_outcome(system.update(without(whole.json(), name) | {name: untagged[name]}), *COPY)
    short = [{"system": whole.json()["identifier"][0]["system"], "_value": untagged["name"][0]}]
    assert_outcome(system.update(whole.json() | {"identifier": short}), *COPY)
    tag = {"op": "add", "path": "/meta/tag/-", "value": copies[0]["meta"]["tag"][0]}
    assert_outcome(patched(system, "/Patient/k1", tag), *COPY)
    assert system.get("/Patient/k1").content == whole.content
    assert system.update(whole.json()).status_code == 200


def test_a_subsetted_resource_that_is_stored_as_such_can_be_changed(system: Fhir, clerk: Fhir) -> None:
    copy = clerk.get("/Encounter/kenc").json()
    made = system.made(copy)  # a new resource: nothing is overwritten
    assert system.update(made | {"status": "cancelled"}).status_code == 200


def test_a_narrow_token_does_not_overwrite_what_is_contained(callers: Callers, system: Fhir) -> None:
    """C6 and C4 together: contained types that the token does not open are not shown, so the copy is no whole one."""
    narrow = callers.client("reception", "user/Patient.rus")
    copy = narrow.get("/Patient/k2").json()
    assert CANARY not in str(copy["contained"])
    assert_outcome(narrow.update(copy), *REFUSED)
    assert CANARY in str(system.get("/Patient/k2").json()["contained"])
    wide = callers.client("reception", "user/Patient.rus user/Practitioner.rs")
    assert wide.update(wide.get("/Patient/k2").json()).status_code == 200


def test_an_emergency_shows_one_patient_whole_to_who_sees_pseudonyms(callers: Callers) -> None:
    reviewer = callers.client("nobody", "user/*.rs", sub="rev-glass", roles=["reviewer"])
    assert SHORT_CPF in reviewer.get("/Patient/k1").text
    assert_outcome(call(reviewer, "Patient/k1", "abc"), 400, "invalid", "break-glass-reason")
    assert call(reviewer, "Patient/k1", REASON).status_code == 200
    opened = reviewer.get("/Patient/k1").json()
    assert (opened["name"], opened["identifier"][0]["value"]) == ([{"family": PERSON}], WHOLE_CPF)
    assert PERSON in reviewer.get("/Appointment/kapp").text
    assert PERSON in reviewer.get("/Patient?_id=k1").text
    assert PERSON not in reviewer.get("/Patient/k2").text
    for value, ids in ((WHOLE_CPF, ["k1"]), ("98765432100", [])):  # the search, too, is among what is opened
        answer = reviewer.get(f"/Patient?identifier={value}")
        assert [e["resource"]["id"] for e in answer.json().get("entry", ())] == ids
    other = callers.client("nobody", "user/*.rs", sub="rev-other", roles=["reviewer"])
    assert SHORT_CPF in other.get("/Patient/k1").text


@pytest.mark.parametrize("person", ["auditor", "manager", "billing", "reception"])
def test_other_masks_are_lifted_by_no_emergency(callers: Callers, person: str) -> None:
    assert_outcome(
        call(callers.client(person, "user/*.cruds"), "Patient/k1"), 403, "forbidden", "break-glass-role"
    )
