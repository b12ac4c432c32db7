"""Reports on the audit log are for auditors; a patient gets the report on their own data, and nobody else's.

Rules: docs/how-to/audit-reports.md (who may), docs/explanation/access.md (separation of duties).
"""

from __future__ import annotations

from typing import Any

import pytest

from fhirserver.audit.disclosure.reports import COUNTS, KINDS
from tests.kit.client import Fhir, assert_outcome
from tests.kit.tokens import Callers
from tests.security.clinic import SECRET

EVERYTHING = "user/*.cruds user/AuditEvent.rs user/Provenance.rs"
REPORTS = ("access", "user-activity", "denied", "vip", "dormant", "integrity")


@pytest.fixture(scope="module")
def auditor(callers: Callers) -> Fhir:
    return callers.client("auditor", "user/AuditEvent.rs user/Provenance.rs")


@pytest.mark.parametrize(
    "person", ["doctor", "stranger", "reception", "billing", "manager", "custodian", "admin", "nobody"]
)
def test_who_is_no_auditor_gets_no_report(callers: Callers, person: str) -> None:
    client = callers.client(person, EVERYTHING)
    assert client.get("/AuditEvent/$report?kind=access").status_code == 403
    assert client.get("/AuditEvent/$checkpoint").status_code == 403
    assert client.post("/AuditEvent/$incident-report").status_code == 403
    assert client.get("/Patient/p1/$access-report").status_code in (403, 404)


# The manager: figures, and no patient behind them


@pytest.fixture(scope="module")
def manager(callers: Callers) -> Fhir:
    return callers.client("manager", "user/AuditEvent.s")


@pytest.mark.parametrize("kind", COUNTS)
def test_a_manager_gets_figures_that_name_no_patient(callers: Callers, manager: Fhir, kind: str) -> None:
    """The positive control is below: the auditor's row of the same patient has their name."""
    callers.client("ana", "patient/*.rs", patient="p1").get("/Patient/p1")
    callers.client("guardian", "patient/*.rs", patient="p3").get("/Patient/p3")
    response = manager.get(f"/AuditEvent/$report?kind={kind}&_format=json")
    assert response.status_code == 200, response.text
    assert "Abreu" not in response.text
    assert "Patient/" not in response.text
    assert "RelatedPerson/" not in response.text
    assert SECRET not in response.text
    assert not {"patient", "event", "request", "address"} & {
        name for row in response.json()["rows"] for name in row
    }


def test_the_figures_of_a_manager_count_what_the_auditor_sees(
    callers: Callers, manager: Fhir, auditor: Fhir
) -> None:
    assert callers.client("ana", "patient/*.rs", patient="p1").get("/Patient/p1").status_code == 200
    assert callers.client("doctor", "user/*.rs").get("/Patient/p1").status_code == 200
    by_user = {
        row["who"]: row for row in manager.get("/AuditEvent/$report?kind=user-activity").json()["rows"]
    }
    assert by_user["pacientes e responsáveis"]["events"] > 0
    assert by_user["doc"]["patients"] > 0
    days = manager.get("/AuditEvent/$report?kind=volume").json()["rows"]
    assert sum(day["events"] for day in days) > 0
    whole = auditor.get("/AuditEvent/$report?kind=user-activity").text
    assert "Abreu" in whole


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in COUNTS])
def test_a_manager_gets_no_other_report(manager: Fhir, kind: str) -> None:
    answer = manager.get(f"/AuditEvent/$report?kind={kind}")
    assert_outcome(answer, 403, "forbidden", "report-figures-only")


@pytest.mark.parametrize(
    "more", ["patient=p1", "agent=Practitioner/doc", "value=identifier=1", "agent=Patient/p1"]
)
def test_a_manager_does_not_narrow_figures_to_one_person(manager: Fhir, more: str) -> None:
    answer = manager.get(f"/AuditEvent/$report?kind=volume&{more}")
    assert_outcome(answer, 403, "forbidden", "report-figures-only")


@pytest.mark.parametrize(
    "path",
    [
        "AuditEvent", "AuditEvent/x", "AuditEvent?patient=p1", "AuditEvent/$checkpoint", "AuditEvent/$alerts",
        "AuditEvent/x/$proof", "Patient/p1/$access-report",
    ],
)  # fmt: skip
def test_a_manager_sees_no_event(callers: Callers, path: str) -> None:
    client = callers.client("manager", "user/*.rs user/AuditEvent.rs user/Provenance.rs")
    assert client.get(f"/{path}").status_code in (403, 404)
    assert client.post("/AuditEvent/$incident-report").status_code == 403
    assert client.post("/AuditEvent/$verify").status_code == 403


@pytest.mark.parametrize(
    "scope",
    ["user/*.rs", "user/AuditEvent.c", "user/AuditEvent.s?action=R", "patient/AuditEvent.rs", "openid"],
)
def test_a_manager_whose_token_does_not_name_the_audit_log_gets_no_figures(
    callers: Callers, scope: str
) -> None:
    answer = callers.client("manager", scope, patient="p1").get("/AuditEvent/$report?kind=volume")
    assert_outcome(answer, 403, "forbidden", "scope-insufficient")


@pytest.mark.parametrize("person", ["doctor", "reception", "billing", "admin", "nobody", "ana"])
def test_nobody_else_gets_figures(callers: Callers, person: str) -> None:
    answer = callers.client(person, "user/AuditEvent.rs").get("/AuditEvent/$report?kind=volume")
    assert answer.status_code == 403
    assert "rows" not in answer.json()


def test_a_patient_gets_no_report_on_the_whole_log(callers: Callers) -> None:
    ana = callers.client("ana", "patient/*.rs patient/AuditEvent.rs", patient="p1")
    assert_outcome(ana.get("/AuditEvent/$report?kind=access"), 403, "forbidden", "report-forbidden")
    assert_outcome(ana.get("/AuditEvent/$report?kind=integrity"), 403, "forbidden", "report-forbidden")
    assert ana.post("/AuditEvent/$incident-report").status_code == 403


@pytest.mark.parametrize("kind", REPORTS)
def test_an_auditor_gets_every_report(auditor: Fhir, kind: str) -> None:
    """The positive control."""
    response = auditor.get(f"/AuditEvent/$report?kind={kind}")
    assert response.status_code == 200, response.text
    assert response.json()["rows"] or kind in ("vip", "dormant")


def test_an_auditor_sees_no_clinical_data_through_a_report(auditor: Fhir, callers: Callers) -> None:
    callers.client("doctor", "user/*.cruds").get("/Patient/p1")
    rows = auditor.get("/AuditEvent/$report?kind=access&patient=p1").json()["rows"]
    assert any(row["who"] == "doc" and row["action"] == "read" for row in rows)
    assert not {"code", "text", "value"} & set(rows[0])


def rows_of(client: Fhir, patient: str) -> list[dict[str, Any]]:
    response = client.get(f"/Patient/{patient}/$access-report")
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["rows"]
    return found


def test_a_patient_sees_who_has_seen_their_data_and_not_those_of_others(
    callers: Callers, auditor: Fhir
) -> None:
    ana = callers.client("ana", "patient/*.rs", patient="p1")
    bia = callers.client("bia", "patient/*.rs", patient="p2")
    callers.client("doctor", "user/*.cruds").get("/Patient/p1")
    ana.get("/Patient/p1")
    rows = rows_of(ana, "p1")
    assert {("doc", "practitioner"), ("Abreu", "self")} <= {(row["who"], row["role"]) for row in rows}
    assert SECRET not in str(rows)
    shown = [
        {name: cell for name, cell in row.items() if name != "who"} for row in rows
    ]  # an issuer has a URL
    assert "address" not in shown[0]
    assert "127.0.0.1" not in str(shown)
    refused = bia.get("/Patient/p1/$access-report")
    assert refused.status_code in (403, 404)
    # the attempt is in the report of the patient, and the auditor sees who it was
    after = auditor.get("/AuditEvent/$report?kind=denied&patient=p1").json()["rows"]
    assert any(row["patient"] == "Abreu" and row["action"] == "operation" for row in after)
    assert len(rows_of(ana, "p1")) > len(rows)


def test_a_guardian_gets_the_report_of_each_child(callers: Callers) -> None:
    guardian = callers.client("guardian", "patient/*.rs", patient="p3")
    assert isinstance(rows_of(guardian, "p3"), list)


# The custodian: whether the log is intact, and nothing that stands in it


@pytest.mark.parametrize("kind", KINDS)
def test_a_custodian_gets_the_integrity_report_alone(callers: Callers, kind: str) -> None:
    custodian = callers.client("custodian", "user/AuditEvent.s")
    answer = custodian.get(f"/AuditEvent/$report?kind={kind}")
    if kind == "integrity":
        assert answer.status_code == 200
        assert answer.json()["rows"]
    else:
        assert_outcome(answer, 403, "forbidden", "report-figures-only")


def test_a_custodian_sees_neither_events_nor_data(callers: Callers) -> None:
    client = callers.client("custodian", EVERYTHING)
    for path in ("AuditEvent", "AuditEvent?patient=p1", "Patient/p1", "Patient", "AuditEvent/$alerts"):
        assert client.get(f"/{path}").status_code in (403, 404)
