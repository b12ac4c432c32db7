"""A patient's app writes what is the patient's alone, before and after; nothing it tries tells what else exists.

docs/explanation/access.md; threats A8, A9, C1, S9-S12, S20.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.kit.client import Fhir, assert_outcome, entry
from tests.kit.tokens import Callers
from tests.security.clinic import ACT_CODE, CPF, SECRET, appointment, observation, patient, ref
from tests.security.test_patient_reads import told

Make = Callable[..., dict[str, Any]]
WHEN = "2030-01-01"


@pytest.fixture
def writer(callers: Callers) -> Fhir:
    """What a practitioner's app for p4 may write: clinical types, as the doctor who is linked to p4."""
    return callers.client("doctor", "patient/*.cruds", patient="p4")


@pytest.fixture
def make(system: Fhir) -> Make:
    """A stored resource of this test's own."""

    def create(resource: dict[str, Any]) -> dict[str, Any]:
        return system.made({name: value for name, value in resource.items() if name != "id"})

    return create


def patch(client: Fhir, url: str, *operations: dict[str, Any], **headers: str) -> Any:
    return client.patch(
        url, json=list(operations), headers={"content-type": "application/json-patch+json", **headers}
    )


def replace(path: str, value: Any) -> dict[str, Any]:
    return {"op": "replace", "path": path, "value": value}


def test_what_is_the_patients_is_created_changed_and_read(writer: Fhir) -> None:
    made = writer.made(observation("x", "p4", performer=[ref("Practitioner/doc")]))
    assert writer.update(made | {"status": "amended"}).status_code == 200
    done = patch(writer, f"/Observation/{made['id']}", replace("/status", "corrected"))
    assert done.status_code == 200
    assert done.json()["status"] == "corrected"


@pytest.mark.parametrize(
    "body",
    [
        observation("x", "p2"),
        observation("x", "p4", performer=[ref("Patient/p2")]),
        observation("x", "nobody"),
        {k: v for k, v in observation("x", "p4").items() if k != "subject"},
        observation("x", "p4", subject=ref("urn:uuid:0d0b3a1e-6a4e-4b3e-9a3e-0d0b3a1e6a4e")),
        observation("x", "p4", subject={"identifier": {"system": CPF, "value": "00000000191"}}),
        observation("x", "p4", subject=ref("https://elsewhere.example/fhir/Patient/p4")),
        observation("x", "p4", subject=ref("Group/grp"), focus=[ref("Patient/p4")]),
    ],
)
def test_a_body_that_is_not_the_patients_alone_is_refused(
    writer: Fhir, system: Fhir, body: dict[str, Any]
) -> None:
    before = system.get("/Observation?_summary=count").json()["total"]
    assert_outcome(writer.create(body), 403, "forbidden", "outside-permission")
    own = writer.made(observation("x", "p4"))
    assert_outcome(writer.update(body | {"id": own["id"]}), 403, "forbidden", "outside-permission")
    assert system.get("/Observation?_summary=count").json()["total"] == before + 1
    assert system.get(f"/Observation/{own['id']}").json()["meta"]["versionId"] == "1"


@pytest.mark.parametrize("target", ["lab2", "focus2", "lab3", "was1", "absent"])
def test_what_is_foreign_is_changed_as_what_does_not_exist(writer: Fhir, system: Fhir, target: str) -> None:
    url = f"/Observation/{target}"
    answers = [
        writer.update(observation(target, "p4")),
        writer.update(observation(target, "p4"), if_match='W/"1"'),
        writer.update(observation(target, "p4"), if_none_match="*"),
        patch(writer, url, replace("/status", "amended")),
        patch(writer, url, replace("/status", "amended"), **{"if-match": 'W/"9"'}),
        patch(writer, url, {"op": "test", "path": "/subject/reference", "value": "Patient/p2"}),
        writer.post(f"{url}/$meta-add", json={"resourceType": "Parameters", "parameter": [
            {"name": "meta", "valueMeta": {"tag": [{"code": "x"}]}}]}),
    ]  # fmt: skip
    assert [answer.status_code for answer in answers] == [404] * 7
    assert {told(answer, target)[2] for answer in answers} == {
        told(writer.get("/Observation/absent"), "absent")[2]
    }
    assert SECRET not in "".join(answer.text for answer in answers)
    before = system.get(url)
    deleting = [writer.delete(url), writer.delete(url, headers={"if-match": 'W/"1"'})]
    assert [answer.status_code for answer in deleting] == [404, 404] or [a.status_code for a in deleting] == [
        403,
        403,
    ]
    assert system.get(url).text == before.text


def test_a_patch_cannot_move_what_is_the_patients(writer: Fhir, make: Make) -> None:
    own = make(observation("x", "p4"))
    url = f"/Observation/{own['id']}"
    for change in (
        replace("/subject/reference", "Patient/p2"),
        {"op": "add", "path": "/performer", "value": [ref("Patient/p2")]},
        {"op": "remove", "path": "/subject"},
    ):
        assert_outcome(patch(writer, url, change), 403, "forbidden", "outside-permission")
    fhirpath = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [
        {"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "Observation.subject.reference"},
        {"name": "value", "valueString": "Patient/p2"}]}]}  # fmt: skip
    answer = writer.patch(url, json=fhirpath, headers={"content-type": "application/fhir+json"})
    assert_outcome(answer, 403, "forbidden", "outside-permission")


def test_conditional_interactions_match_only_what_is_reached(
    callers: Callers, system: Fhir, make: Make
) -> None:
    identifier = {"system": "urn:access", "value": "foreign"}
    foreign = make(observation("x", "p2", identifier=[identifier]))
    client = callers.client("doctor", "patient/*.cruds", patient="p4")
    query = "identifier=urn:access|foreign"
    body = {k: v for k, v in observation("x", "p4", identifier=[identifier]).items() if k != "id"}
    created = client.create(body, if_none_exist=query)
    assert created.status_code == 201  # as where nothing matches
    again = client.create(body, if_none_exist=query)
    assert (again.status_code, again.json()["id"]) == (200, created.json()["id"])  # not "multiple matches"
    updated = client.put(f"/Observation?{query}", json=body | {"status": "amended"})
    assert (updated.status_code, updated.json()["id"]) == (200, created.json()["id"])
    gone = patch(
        client, "/Observation?identifier=urn:access|foreign&subject=Patient/p2", replace("/status", "amended")
    )
    assert_outcome(gone, 404, "not-found", "no-match")
    assert system.get(f"/Observation/{foreign['id']}").json()["meta"]["versionId"] == "1"
    assert foreign["id"] not in created.text + again.text + updated.text + gone.text


def test_conditional_interactions_need_s_as_well(callers: Callers) -> None:
    client = callers.client("doctor", "patient/Observation.cru", patient="p4")
    body = {k: v for k, v in observation("x", "p4").items() if k != "id"}
    for answer in (
        client.create(body, if_none_exist="status=final"),
        client.put("/Observation?status=final", json=body),
        patch(client, "/Observation?status=final", replace("/status", "amended")),
    ):
        assert_outcome(answer, 403, "forbidden", "scope-insufficient")
    assert client.create(body).status_code == 201


def test_a_transaction_does_nothing_where_one_entry_is_refused(callers: Callers, system: Fhir) -> None:
    client = callers.client("doctor", "patient/*.cruds", patient="p4")
    count = system.get("/Observation?_summary=count").json()["total"]
    good = entry("POST", "Observation", observation("x", "p4"))
    refused = [
        entry("POST", "Observation", observation("x", "p2")),
        entry("PUT", "Observation/lab2", observation("lab2", "p4")),
        entry("PUT", "Observation/lab4", observation("lab4", "p2")),
        entry("POST", "Task", {"resourceType": "Task", "status": "requested", "intent": "order"}),
        entry("GET", "Observation/lab2"),
        entry("GET", "Group"),
        entry(
            "POST",
            "Observation",
            observation("x", "p4", subject=ref(f"Patient?identifier={CPF}|11144477735")),
        ),
    ]
    for bad in refused:
        answer = client.bundle("transaction", good, bad)
        assert answer.status_code in (403, 404, 412), answer.text
        assert SECRET not in answer.text
    assert system.get("/Observation?_summary=count").json()["total"] == count
    body = observation("x", "p4", subject=ref(f"Patient?identifier={CPF}|00000000191"))
    assert client.bundle("transaction", good, entry("POST", "Observation", body)).status_code == 200
    assert system.get("/Observation?_summary=count").json()["total"] == count + 2


def test_a_batch_answers_each_entry_as_if_it_came_alone(callers: Callers) -> None:
    client = callers.client("doctor", "patient/*.cruds", patient="p4")
    entries = [
        entry("POST", "Observation", observation("x", "p4")),
        entry("POST", "Observation", observation("x", "p2")),
        entry("GET", "Observation/lab4"), entry("GET", "Observation/lab2"), entry("GET", "Observation/absent"),
        entry("GET", "Task"), entry("GET", "Observation?subject=Patient/p2"),
        entry("DELETE", "AuditEvent/x"), entry("PUT", "Patient/p2", patient("p2", "x", "52998224725")),
    ]  # fmt: skip
    answer = client.bundle("batch", *entries)
    assert answer.status_code == 200
    assert SECRET not in answer.text
    assert [each["response"]["status"][:3] for each in answer.json()["entry"]] == [
        "201", "403", "200", "404", "404", "403", "200", "403", "403",
    ]  # fmt: skip


def test_a_transaction_with_a_new_subject_is_judged_after_it_is_resolved(callers: Callers) -> None:
    urn = "urn:uuid:7b6f6b1c-2c0d-4b5e-8a55-6c1f2a3b4c5d"
    client = callers.client("doctor", "user/*.cruds")
    plan = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": ref("Patient/p4")}
    result = observation("x", "p4", basedOn=[ref(urn)])
    answer = client.bundle(
        "transaction", entry("POST", "CarePlan", plan, fullUrl=urn), entry("POST", "Observation", result)
    )
    assert answer.status_code == 200
    foreign = {"resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": ref(urn)}
    newcomer = {k: v for k, v in patient("x", "New", "1").items() if k != "id"}
    answer = client.bundle(
        "transaction", entry("POST", "Patient", newcomer, fullUrl=urn), entry("POST", "CarePlan", foreign)
    )
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "change",
    [
        replace("/identifier/0/value", "11144477735"), replace("/active", False),
        {"op": "add", "path": "/link", "value": [{"other": ref("Patient/p2"), "type": "seealso"}]},
        {"op": "remove", "path": "/identifier"},
    ],
)  # fmt: skip
def test_an_app_leaves_what_identifies_the_patient(
    writer: Fhir, system: Fhir, change: dict[str, Any]
) -> None:
    assert_outcome(patch(writer, "/Patient/p4", change), 403, "forbidden", "element-kept")
    before = system.get("/Patient/p4").json()
    assert patch(writer, "/Patient/p4", replace("/birthDate", before["birthDate"])).status_code == 200


def test_labels_and_our_own_tags_are_not_an_apps_to_change(
    callers: Callers, make: Make, system: Fhir
) -> None:
    label = {"system": ACT_CODE, "code": "STD"}
    own_tag = {"system": "https://fhirserver.example/CodeSystem/x", "code": "y"}
    for client in (
        callers.client("doctor", "patient/*.cruds", patient="p4"),
        callers.client("doctor", "user/*.cruds"),
    ):
        for meta in ({"security": [label]}, {"tag": [own_tag]}):
            assert_outcome(client.create(observation("x", "p4", meta=meta)), 403, "forbidden", "labels-kept")
        normal = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N"}
        stored = make(observation("x", "p4", meta={"security": [normal], "tag": [own_tag]}))
        url = f"/Observation/{stored['id']}"
        for meta in (
            {"tag": [own_tag]},
            {"security": [normal, label], "tag": [own_tag]},
            {"security": [normal]},
        ):
            assert_outcome(client.update(stored | {"meta": meta}), 403, "forbidden", "labels-kept")
        for change in ({"op": "remove", "path": "/meta/security"}, {"op": "remove", "path": "/meta/tag"}):
            assert_outcome(patch(client, url, change), 403, "forbidden", "labels-kept")
        for name in ("$meta-add", "$meta-delete"):
            given = normal if name == "$meta-delete" else label
            parameters = {"resourceType": "Parameters",
                          "parameter": [{"name": "meta", "valueMeta": {"security": [given]}}]}  # fmt: skip
            assert_outcome(client.post(f"{url}/{name}", json=parameters), 403, "forbidden", "labels-kept")
        other = {"op": "add", "path": "/meta/tag/-", "value": {"system": "urn:mine", "code": "z"}}
        assert patch(client, url, other).status_code == 200
    assert system.update(stored | {"meta": {"security": [label]}}).status_code == 200


def test_the_server_owns_id_version_time_and_source(writer: Fhir) -> None:
    forged = {"versionId": "77", "lastUpdated": "1999-01-01T00:00:00Z", "source": "urn:forged"}
    made = writer.made(observation("chosen", "p4", meta=forged))
    assert made["id"] != "chosen"
    assert made["meta"]["versionId"] == "1"
    assert made["meta"]["lastUpdated"] > "2020"
    assert "source" not in made["meta"]


def test_what_patients_write_themselves_is_what_their_role_lets_them(callers: Callers) -> None:
    app = callers.client("davi", "patient/*.cruds", patient="p4")
    made = app.create(appointment("x", "p4", "doc", WHEN))
    assert made.status_code == 201
    assert app.update(made.json() | {"status": "cancelled"}).status_code == 200
    assert_outcome(app.create(appointment("x", "p2", "doc", WHEN)), 403, "forbidden", "outside-permission")
    both = appointment("x", "p4", "doc", WHEN)
    both["participant"].append({"actor": ref("Patient/p2"), "status": "accepted"})
    assert_outcome(app.create(both), 403, "forbidden", "outside-permission")
    for body in (
        observation("x", "p4"),
        patient("x", "New", "9"),
        {"resourceType": "Group", "type": "person", "actual": True},
    ):
        assert_outcome(app.create(body), 403, "forbidden", "scope-insufficient")
    assert app.delete(f"/Appointment/{made.json()['id']}").status_code == 403
    assert app.delete("/Appointment?status=cancelled").status_code == 403


def test_a_patch_shows_nothing_to_whom_may_not_read(callers: Callers, make: Make) -> None:
    own = make(observation("x", "p4"))
    blind = callers.client("doctor", "user/Observation.u")
    answer = patch(blind, f"/Observation/{own['id']}", replace("/status", "amended"))
    assert answer.status_code == 200
    assert answer.json()["resourceType"] == "OperationOutcome"
    seeing = callers.client("doctor", "user/Observation.ru")
    assert (
        patch(seeing, f"/Observation/{own['id']}", replace("/status", "final")).json()["resourceType"]
        == "Observation"
    )
