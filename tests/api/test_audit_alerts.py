"""Alerts over HTTP: what people do raises them, auditors read and acknowledge them, the webhook carries them out.

docs/how-to/audit-alerts.md; audit.md 10 and 14, brazil.md 8.
"""

from __future__ import annotations

import http.server
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fhirserver.context import Permission
from fhirserver.operations import auditalerts
from fhirserver.outcome import NotFound
from fhirserver.services import Services
from tests.kit.alerting import raised_now, with_services
from tests.kit.audit import an_access
from tests.kit.client import Fhir, assert_outcome, unique
from tests.kit.server import Server
from tests.kit.tls import certificate, tls_host
from tests.kit.wait import eventually

CPF = "https://saude.gov.br/fhir/sid/cpf"
SECRET = "whsec_c3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3M="
SUBTYPE = "https://fhirserver.example/CodeSystem/audit-subtype"


class Receiver:
    """Takes posts as long as `takes` says so."""

    def __init__(self, folder: Path) -> None:
        self.takes = True
        self.seen: list[str] = []
        self.taken: list[str] = []
        self.pem = certificate(folder, "127.0.0.1")

    def handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told = json.loads(self.rfile.read(int(self.headers["content-length"])))
                receiver.seen.append(told["data"]["id"])
                if receiver.takes:
                    receiver.taken.append(told["data"]["id"])
                self.send_response(200 if receiver.takes else 503)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Receiver:
    return Receiver(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Server]:
    """A server that posts its alerts to `receiver`."""
    with tls_host(receiver.pem, receiver.handler()) as port:
        settings = {
            "audit__alerts__webhook_url": f"https://127.0.0.1:{port}/alerts",
            "audit__alerts__webhook_secrets": json.dumps([SECRET]),
            "outgoing__hosts": json.dumps([f"127.0.0.1:{port}"]),
            "outgoing__ca_file": str(receiver.pem),
        }
        with Server(tmp_path_factory.mktemp("alerts") / "data", **settings) as running:
            yield running


@pytest.fixture(scope="module")
def fhir(server: Server) -> Iterator[Fhir]:
    with Fhir(server.fhir) as client:
        yield client


def now(**back: float) -> str:
    return (datetime.now(UTC) - timedelta(**back)).isoformat(timespec="seconds")


def subject(fhir: Fhir, alert: str) -> str:
    """Whom an alert is about."""
    for one in fhir.get(f"/AuditEvent/{alert}").json()["entity"]:
        if one["type"]["code"] == "alert-subject":
            return str(one["what"].get("identifier", {}).get("value") or one["what"].get("reference"))
    return ""


def rows(fhir: Fhir, language: str = "pt-BR") -> dict[str, dict[str, Any]]:
    answer = fhir.get("/AuditEvent/$alerts", params={"language": language})
    assert answer.status_code == 200, answer.text
    return {row["event"]: row for row in answer.json()["rows"]}


def a_doctor(fhir: Fhir, **more: Any) -> str:
    made = fhir.made({"resourceType": "Practitioner", "name": [{"text": "Dr. Rui"}], **more})
    return f"Practitioner/{made['id']}"


def a_person(fhir: Fhir, **more: Any) -> str:
    return f"Patient/{fhir.made({'resourceType': 'Patient', **more})['id']}"


def test_refusals_become_one_alert_that_an_auditor_acknowledges(server: Server, fhir: Fhir) -> None:
    client = unique("app")
    denied = [{"system": SUBTYPE, "code": code} for code in ("denied", "denied-scope")]
    for _ in range(4):
        event = an_access("Practitioner/1", "Patient/1", now(), subtype=denied, outcome="4")
        event["agent"][0]["who"]["identifier"]["value"] = client
        fhir.made(event)
    raised = [
        {alert.subject: alert for alert in raised_now(server.data_dir, denials=4)}.get(client)
        for _ in range(2)
    ]
    assert raised[0] is not None
    assert raised[1] is None
    id = raised[0].id()
    assert subject(fhir, id) == client
    for asked, expected in (
        ({"alert": "alert-denials"}, True),
        ({"alert:missing": "false"}, True),
        ({"alert": "alert-vip"}, False),
        ({"alert:missing": "true", "type": "http://dicom.nema.org/resources/ontology/DCM|110113"}, False),
    ):
        found = fhir.get("/AuditEvent", params={"_count": "100"} | asked).json()
        assert (id in [entry["resource"]["id"] for entry in found.get("entry", [])]) is expected, asked
    told = {language: rows(fhir, language)[id] for language in ("pt-BR", "en")}
    assert told["pt-BR"]["text"] == "4 recusas em cinco minutos; o limite é 4."
    assert told["en"]["text"] == "4 refusals within five minutes; the limit is 4."
    assert (told["en"]["title"], told["en"]["subject"], told["en"]["acknowledged"]) == (
        "Many refusals",
        client,
        "",
    )
    assert_outcome(fhir.get("/AuditEvent/$alerts?language=de"), 400, "invalid", "parameter-value")

    def acknowledge(event: str) -> str:
        async def work(services: Services, permission: Permission) -> str:
            return await auditalerts.acknowledge(services, event, permission, None, "called the vendor")

        made: str = with_services(server.data_dir, work)
        return made

    note = acknowledge(id)
    assert rows(fhir)[id]["acknowledged"] == "Practitioner/9"
    recorded = fhir.get(f"/AuditEvent/{note}").json()
    assert recorded["type"]["code"] == "110101"
    assert "called the vendor" in str(recorded["entity"])
    with pytest.raises(NotFound):
        acknowledge(note)
    report = fhir.get("/AuditEvent/$report", params={"kind": "alerts", "agent": client, "language": "pt-BR"})
    (row,) = report.json()["rows"]
    assert (row["told"], row["acknowledged"]) == (
        "4 recusas em cinco minutos; o limite é 4.",
        "Practitioner/9",
    )
    page = fhir.get("/AuditEvent/$report", params={"kind": "alerts", "_format": "html", "language": "en"})
    assert "4 refusals within five minutes" in page.text
    assert "Many refusals" in page.text


def test_who_reads_their_own_record_or_that_of_their_household_is_told_on_and_others_are_not(
    server: Server, fhir: Fhir
) -> None:
    street = unique("Rua das Flores 12,")
    home = {"line": [street, "Apto. 3"], "postalCode": "01310-100"}
    cpf = [{"system": CPF, "value": "529.982.247-25"}]
    doctor = a_doctor(fhir, address=[home], identifier=cpf)
    own = a_person(fhir, identifier=[{"system": CPF, "value": "52998224725"}])
    child = a_person(fhir, address=[{"line": [street.upper(), "ap 3"], "postalCode": "01310100"}])
    linked, neighbour = a_person(fhir), a_person(fhir, address=[home | {"line": [street, "Apto. 4"]}])
    targets = [{"target": {"reference": reference}} for reference in (doctor, linked)]
    fhir.made({"resourceType": "Person", "link": targets})
    role = fhir.made({"resourceType": "PractitionerRole", "practitioner": {"reference": doctor}})
    acting = f"PractitionerRole/{role['id']}"
    for user, patient in (
        (doctor, own), (doctor, child), (doctor, linked), (doctor, neighbour), (acting, child), (own, own),
        (a_doctor(fhir), child),
    ):  # fmt: skip
        fhir.made(an_access(user, patient, now()))
    near = [alert for alert in raised_now(server.data_dir) if alert.rule in ("own-record", "same-address")]
    assert {(alert.rule, alert.subject, alert.patient) for alert in near} == {
        ("own-record", doctor, own),
        ("own-record", doctor, linked),
        ("same-address", doctor, child),
        ("same-address", acting, child),
    }
    for alert in near:  # nothing of what was compared is in the log
        text = fhir.get(f"/AuditEvent/{alert.id()}").text
        assert not any(word in text for word in ("Flores", "01310", "529982", "529.982"))


def test_a_protected_patient_is_for_the_care_team_in_all_its_forms(server: Server, fhir: Fhir) -> None:
    label = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "V"}
    gp, member, by_role, colleague, former, stranger = (a_doctor(fhir) for _ in range(6))
    ward = f"Organization/{fhir.made({'resourceType': 'Organization', 'name': 'Ward'})['id']}"
    clinic = f"Organization/{fhir.made({'resourceType': 'Organization', 'name': 'Clinic'})['id']}"

    def a_role(doctor: str, organization: str = clinic) -> str:
        role = {"practitioner": {"reference": doctor}, "organization": {"reference": organization}}
        return f"PractitionerRole/{fhir.made({'resourceType': 'PractitionerRole', **role})['id']}"

    own_role, _, _, _ = a_role(by_role), a_role(colleague, ward), a_role(stranger), a_role(former)
    patient = a_person(
        fhir,
        meta={"security": [label]},
        generalPractitioner=[{"reference": gp}, {"reference": clinic}],
        managingOrganization={"reference": clinic},
    )
    ended = {"end": "2020-01-01"}
    for more in (
        {"participant": [{"member": {"reference": one}} for one in (member, own_role, ward)]},
        {"participant": [{"member": {"reference": former}, "period": ended}]},
        {"participant": [{"member": {"reference": former}}], "status": "inactive"},
        {"participant": [{"member": {"reference": former}}], "period": ended},
    ):
        fhir.made({"resourceType": "CareTeam", "status": "active", "subject": {"reference": patient}, **more})
    mother = fhir.made({"resourceType": "RelatedPerson", "patient": {"reference": patient}})
    inside = (gp, member, by_role, own_role, colleague, patient, f"RelatedPerson/{mother['id']}")
    for user in (*inside, former, stranger):
        fhir.made(an_access(user, patient, now()))
    found = {alert.subject for alert in raised_now(server.data_dir) if alert.patient == patient}
    assert found - {"open-mode"} == {former, stranger}


def test_what_is_usual_for_somebody_is_learned_from_their_last_thirty_days(
    server: Server, fhir: Fhir
) -> None:
    calm, busy, new = (a_doctor(fhir) for _ in range(3))
    for hours in range(24, 24 * 13, 24):
        for user, patients in ((calm, 1), (busy, 3)):
            for number in range(patients):
                fhir.made(an_access(user, f"Patient/u{number}", now(hours=hours)))
    for user in (calm, busy, new):
        for number in range(6):
            fhir.made(an_access(user, f"Patient/v{number}", now()))
    raised = raised_now(server.data_dir, patients_unusual=3, times_usual=4)
    (alert,) = [alert for alert in raised if alert.rule == "unusual-access"]
    assert (alert.subject, dict(alert.figures)) == (calm, {"patients": "6", "usual": "1", "times": "4"})


def test_exports_are_summed_over_a_day(server: Server, fhir: Fhir) -> None:
    other, few = (f"Organization/{unique('o')}" for _ in range(2))
    for hours, recipient in ((23.5, other), (12, other), (0.1, other), (25, few), (12, few), (0.1, few)):
        event = an_access("Practitioner/1", f"Patient/{unique('p')}", now(hours=hours))
        event["type"] = {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "110106"}
        event["agent"][1]["type"]["coding"][0]["code"] = "110152"
        event["agent"][1]["who"] = {"reference": recipient}
        fhir.made(event)
    raised = [
        alert for alert in raised_now(server.data_dir, export_patients=2) if alert.rule == "export-volume"
    ]
    assert [alert.subject for alert in raised] == [other]


def an_emergency(fhir: Fhir, **hours: float) -> str:
    """The patient of an emergency access that began so long ago."""
    patient = a_person(fhir)
    event = an_access("Practitioner/1", patient, now(**hours))
    event["type"] = {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "110113"}
    event["subtype"] = [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "110127"}]
    grant = {"system": "https://fhirserver.example/CodeSystem/audit-entity-type", "code": "break-glass-grant"}
    event["entity"].append({"type": grant, "what": {"identifier": {"value": unique("btg")}}})
    fhir.made(event)
    return patient


def test_an_emergency_access_that_nobody_reviews_in_three_days_is_an_alert(
    server: Server, fhir: Fhir
) -> None:
    late, early = an_emergency(fhir, hours=73), an_emergency(fhir, hours=71)
    raised = [(alert.rule, alert.patient) for alert in raised_now(server.data_dir)]
    assert ("unreviewed", late) in raised
    assert ("unreviewed", early) not in raised


def test_alerts_reach_the_webhook_though_the_receiver_and_the_server_fail_in_between(
    server: Server, fhir: Fhir, receiver: Receiver
) -> None:
    receiver.takes = False
    an_emergency(fhir)
    (alert,) = [alert.id() for alert in raised_now(server.data_dir) if alert.rule == "break-glass"]
    assert eventually(lambda: alert in receiver.seen)
    server.stop()
    receiver.takes = True
    server.start()
    assert eventually(lambda: alert in receiver.taken)
    assert receiver.taken.count(alert) == 1
