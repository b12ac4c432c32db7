"""Scopes with constraints: they bind reads, searches, includes and writes, before and after; what cannot be evaluated
grants nothing.

hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html; threats S15-S17.
"""

from __future__ import annotations

import pytest

from tests.kit.client import Fhir, assert_outcome
from tests.kit.tokens import Callers
from tests.security.clinic import CATEGORY, observation
from tests.security.test_patient_reads import seen

LAB = f"category={CATEGORY}|laboratory"


@pytest.fixture
def lab(callers: Callers) -> Fhir:
    return callers.client("ana", f"patient/Observation.rs?{LAB} patient/DiagnosticReport.rs", patient="p1")


def test_other_rows_do_not_exist(lab: Fhir) -> None:
    assert lab.get("/Observation/lab1").status_code == 200
    for url in ("/Observation/vital1", "/Observation/vital1/_history", "/Observation/lab2"):
        assert_outcome(lab.get(url), 404, "not-found", "resource-unknown")
    mine = {"Observation/lab1", "Observation/was2"}
    assert seen(lab.get("/Observation")) == mine
    for url in ("?category:not=laboratory", "?category=vital-signs", f"?category={CATEGORY}|vital-signs"):
        assert seen(lab.get(f"/Observation{url}")) == set()
    assert seen(lab.post("/Observation/_search", data={"category": "vital-signs"})) == set()
    assert lab.get("/Observation?_summary=count").json()["total"] == 2


def test_includes_obey_the_constraint_of_their_type(lab: Fhir, callers: Callers) -> None:
    url = "/DiagnosticReport?_include=DiagnosticReport:result"
    assert seen(lab.get(url)) == {"DiagnosticReport/rep1", "Observation/lab1"}
    vital = callers.client(
        "ana",
        f"patient/Observation.rs?category={CATEGORY}|vital-signs patient/DiagnosticReport.rs",
        patient="p1",
    )
    assert seen(vital.get(url)) == {"DiagnosticReport/rep1"}
    assert vital.get("/Observation/vital1").status_code == 200


def test_scopes_are_a_union(callers: Callers) -> None:
    two = callers.client(
        "ana", f"patient/Observation.rs?{LAB} patient/Observation.r?category=vital-signs", patient="p1"
    )
    assert two.get("/Observation/vital1").status_code == 200
    assert "Observation/vital1" not in seen(two.get("/Observation"))
    both = callers.client("ana", f"patient/Observation.rs?{LAB}&status=amended", patient="p1")
    assert seen(both.get("/Observation")) == set()


def test_a_write_stays_within_the_constraint_before_and_after(callers: Callers, system: Fhir) -> None:
    client = callers.client("doctor", f"user/Observation.cu?{LAB} user/Observation.rs")
    assert_outcome(
        client.create(observation("x", "p4", "vital-signs")), 403, "forbidden", "outside-permission"
    )
    made = client.create(observation("x", "p4"))
    assert made.status_code == 201
    moved = observation(made.json()["id"], "p4", "vital-signs")
    assert_outcome(client.update(moved), 403, "forbidden", "outside-permission")
    for id in ("vital4", "absent"):  # within the constraint, and not; the id makes no difference
        assert_outcome(client.update(observation(id, "p4")), 404, "not-found", "resource-unknown")
        outside = client.update(observation(id, "p4", "vital-signs"))
        assert_outcome(outside, 403, "forbidden", "outside-permission")
    assert client.update(made.json() | {"status": "amended"}).status_code == 200
    assert system.get("/Observation/vital4").json()["meta"]["versionId"] == "1"


def test_a_deletion_stays_within_the_constraint_and_answers_alike(callers: Callers, system: Fhir) -> None:
    client = callers.client("system", f"system/Observation.d?{LAB} system/Observation.s")
    other = system.made({k: v for k, v in observation("x", "p4", "vital-signs").items() if k != "id"})["id"]
    own = system.made({k: v for k, v in observation("x", "p4").items() if k != "id"})["id"]
    for id in (other, "absent"):
        for headers in ({}, {"if-match": 'W/"9"'}):
            answer = client.delete(f"/Observation/{id}", headers=headers)
            assert (answer.status_code, answer.text, "etag" in answer.headers) == (204, "", False)
    assert client.delete(f"/Observation?_id={other}").status_code == 204
    assert system.get(f"/Observation/{other}").status_code == 200
    assert client.delete(f"/Observation/{own}").status_code == 204
    assert system.get(f"/Observation/{own}").status_code == 410


@pytest.mark.parametrize(
    "constraint",
    ["nonsense=x", "_has:x=y", "subject.name=Abreu", "category:not=x", "_filter=x", "category", "category=",
     "date=nonsense", "date=ge", "value-quantity=||||", "category=x&", "_text=weight", "%63ategory=x"],
)  # fmt: skip
@pytest.mark.parametrize("lenient", [False, True])
def test_a_constraint_that_cannot_be_evaluated_grants_nothing(
    callers: Callers, constraint: str, lenient: bool
) -> None:
    client = callers.client("ana", f"patient/Observation.rs?{constraint}", patient="p1")
    headers = {"prefer": "handling=lenient"} if lenient else {}
    for url in ("/Observation", "/Observation/lab1"):
        assert_outcome(client.get(url, headers=headers), 403, "forbidden", "scope-insufficient")


def test_a_constraint_may_use_dates_lists_and_escapes(callers: Callers) -> None:
    for constraint, found in (
        ("date=ge2026-02", {"Observation/lab1", "Observation/vital1", "Observation/was2"}),
        ("date=ge2027", set()),
        ("category=laboratory,vital-signs&_id=vital1", {"Observation/vital1"}),
        (f"category={CATEGORY.replace('/', '%2F')}%7Claboratory&_id=lab1", {"Observation/lab1"}),
        ("category=labor+atory", set()),
        ("subject=Patient/p2", set()),
    ):
        client = callers.client("ana", f"patient/Observation.rs?{constraint}", patient="p1")
        assert seen(client.get("/Observation")) == found, constraint


@pytest.mark.parametrize(
    "scope",
    [".dus", ".", ".read-only", "xpatient/*.rs", "patient/*.rs?", "patient/*.rs?category=x", "PATIENT/*.rs",
     "patient/observation.rs", " ".join(["patient/Observation.rs"] * 300), "__" + "x" * 7000],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_malformed_scopes_open_nothing(callers: Callers, scope: str) -> None:
    answer = callers.client("ana", scope, patient="p1").get("/Observation")
    assert answer.status_code in (400, 401, 403)
