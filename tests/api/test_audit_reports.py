"""Reports, proofs and alerts over HTTP, on events that the server itself and other systems have recorded."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fhirserver.cli import main
from tests.kit.atna import Repository
from tests.kit.audit import an_access
from tests.kit.client import Fhir, assert_outcome, entry, unique
from tests.kit.server import Server

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def repository() -> Iterator[Repository]:
    """Where the server sends its events."""
    made = Repository()
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, repository: Repository) -> Iterator[Server]:
    """A server that seals often, and feeds an ATNA repository."""
    settings = {
        "audit__seal_interval": "0.1",
        "audit__origin": "clinic.example/audit",
        "audit__atna__url": repository.url,
        "audit__atna__token": "t0ken",
    }
    with Server(tmp_path_factory.mktemp("audit") / "data", **settings) as running:
        yield running


@pytest.fixture(scope="module")
def fhir(server: Server) -> Iterator[Fhir]:
    with Fhir(server.fhir) as client:
        yield client


def people(fhir: Fhir) -> tuple[str, str, str]:
    """References of a patient and two practitioners."""
    patient = fhir.made(
        {
            "resourceType": "Patient",
            "name": [{"given": ["Ana"], "family": "Souza"}],
            "birthDate": "2015-05-05",
        }
    )
    others = [
        fhir.made({"resourceType": "Practitioner", "name": [{"text": name}]})
        for name in ("Dr. Rui", "Dra. Eva")
    ]
    return f"Patient/{patient['id']}", *(f"Practitioner/{one['id']}" for one in others)  # type: ignore[return-value]


def report(fhir: Fhir, kind: str, **more: str) -> list[dict[str, Any]]:
    response = fhir.get("/AuditEvent/$report", params={"kind": kind, "start": "2026-01-01"} | more)
    assert response.status_code == 200, response.text
    rows: list[dict[str, Any]] = response.json()["rows"]
    return rows


def test_three_accesses_by_two_users_are_three_rows(fhir: Fhir) -> None:
    patient, rui, eva = people(fhir)
    for user, moment in (
        (rui, "2026-03-03T12:00:00Z"),
        (eva, "2026-03-03T13:00:00Z"),
        (rui, "2026-03-04T12:00:00Z"),
    ):
        fhir.made(an_access(user, patient, moment))
    rows = report(fhir, "access", patient=patient, end="2026-04-01")
    assert [(row["who"], row["utc"]) for row in rows] == [
        ("Dr. Rui", "2026-03-03T12:00:00.000Z"),
        ("Dra. Eva", "2026-03-03T13:00:00.000Z"),
        ("Dr. Rui", "2026-03-04T12:00:00.000Z"),
    ]
    assert {row["patient"] for row in rows} == {"Ana Souza"}
    assert [row["who"] for row in report(fhir, "access", patient=patient, agent=eva, end="2026-04-01")] == [
        "Dra. Eva"
    ]
    own = fhir.get(f"/{patient}/$access-report", params={"from": "2026-01-01", "to": "2026-04-01"}).json()
    assert [row["who"] for row in own["rows"]] == ["Dr. Rui", "Dra. Eva", "Dr. Rui"]
    assert "address" not in own["rows"][0]


def test_reads_searches_and_refused_tries_of_this_server_are_in_the_patients_report(fhir: Fhir) -> None:
    patient, *_ = people(fhir)
    fhir.get(f"/{patient}")
    fhir.get(f"/Observation?patient={patient}")
    fhir.put(f"/{patient}", json={"resourceType": "Patient", "id": "other"})
    rows = fhir.get(f"/{patient}/$access-report").json()["rows"]
    assert [(row["action"], row["outcome"]) for row in rows] == [
        ("create", "0"), ("read", "0"), ("search-type", "0"), ("update", "4"),
    ]  # fmt: skip
    later = fhir.get(f"/{patient}/$access-report").json()["rows"]
    assert later[-1]["action"] == "operation"  # that somebody asked for the report stands in the next one


def test_a_merged_patients_accesses_are_found_from_either_record(fhir: Fhir) -> None:
    old, rui, _ = people(fhir)
    new = fhir.made({"resourceType": "Patient", "link": [{"other": {"reference": old}, "type": "replaces"}]})
    fhir.made(an_access(rui, old))
    fhir.made(an_access(rui, f"Patient/{new['id']}"))
    for patient in (old, f"Patient/{new['id']}"):
        assert len(report(fhir, "access", patient=patient, end="2026-04-01")) == 2


def test_days_are_those_of_the_clinic_and_instants_are_exact(fhir: Fhir) -> None:
    patient, rui, _ = people(fhir)
    for moment in ("2026-03-04T02:59:00Z", "2026-03-04T03:00:00Z"):  # 23:59 and 00:00 in São Paulo
        fhir.made(an_access(rui, patient, moment))
    for day, expected in (
        (("2026-03-03", "2026-03-04"), "02:59:00"),
        (("2026-03-04", "2026-03-05"), "03:00:00"),
    ):
        (row,) = report(fhir, "access", patient=patient, start=day[0], end=day[1])
        assert expected in row["utc"]
    assert len(report(fhir, "access", patient=patient, start="2026-03-04T02:59:30Z", end="2026-03-05")) == 1


def test_the_patient_sees_which_organization_people_work_for(fhir: Fhir) -> None:
    patient, rui, eva = people(fhir)
    clinic = fhir.made({"resourceType": "Organization", "name": unique("Clínica")})
    fhir.made(
        {
            "resourceType": "PractitionerRole",
            "practitioner": {"reference": rui},
            "organization": {"reference": f"Organization/{clinic['id']}"},
        }
    )
    for user in (rui, eva):
        fhir.made(an_access(user, patient))
    rows = fhir.get(f"/{patient}/$access-report").json()["rows"]
    assert {row["who"]: row["organization"] for row in rows if row["who"]} == {
        "Dr. Rui": clinic["name"],
        "Dra. Eva": "",
    }


def test_a_user_is_one_person_whether_the_event_knows_the_account_or_the_record(fhir: Fhir) -> None:
    """Sign-in events name the account; accesses name both."""
    patient, rui, _ = people(fhir)
    account = unique("account")
    access = an_access(rui, patient)
    access["agent"][1]["who"]["identifier"] = {"value": account}
    login = an_access(rui, patient)
    login["agent"][1] |= {"who": {"identifier": {"value": account}}, "altId": "dr.rui"}
    other = an_access(rui, patient)
    other["agent"][1] |= {"who": {"identifier": {"value": unique("account")}}, "altId": "dra.bia"}
    for event in (access, login, other):
        fhir.made(event)
    rows = report(fhir, "user-activity", patient=patient, end="2026-04-01")
    assert sorted((row["who"], row["events"]) for row in rows) == [("Dr. Rui", 2), ("dra.bia", 1)]


def test_reports_come_in_four_formats(fhir: Fhir) -> None:
    patient, rui, _ = people(fhir)
    fhir.made(an_access(rui, patient))
    asked = {"kind": "access", "patient": patient, "start": "2026-03-01", "end": "2026-04-01"}
    table = fhir.get("/AuditEvent/$report", params=asked | {"_format": "csv", "language": "en"})
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert table.headers["content-disposition"] == 'attachment; filename="access.csv"'
    head, row = csv.reader(io.StringIO(table.content.decode("utf-8-sig")))
    assert dict(zip(head, row, strict=True))["Person"] == "Dr. Rui"
    lines = fhir.get("/AuditEvent/$report", params=asked | {"_format": "ndjson"})
    assert lines.headers["content-type"] == "application/x-ndjson; charset=utf-8"
    assert len(lines.text.splitlines()) == 1
    page = fhir.get("/AuditEvent/$report", params=asked | {"_format": "text/html"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "Dr. Rui" in page.text


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("kind=unknown", "parameter-value"),
        ("", "parameter-value"),
        ("kind=access&_format=pdf", "parameter-value"),
        ("kind=access&language=de", "parameter-value"),
        ("kind=access&start=yesterday", "date-invalid"),
        ("kind=access&start=2026-03-02&end=2026-03-01", "parameter-value"),
        ("kind=access&kind=denied", "parameter-value"),
        ("kind=access&colour=red", "parameter-unknown"),
        ("kind=searched-for&value=123", "parameter-value"),
    ],
)
def test_a_wrong_question_is_refused(fhir: Fhir, query: str, code: str) -> None:
    response = fhir.get(f"/AuditEvent/$report?{query}")
    assert response.status_code == 400
    assert response.json()["issue"][0]["details"]["coding"][0]["code"] == code


def test_who_searched_for_a_value_is_found_without_the_value_being_kept(fhir: Fhir) -> None:
    value = unique("cpf")
    fhir.get("/Patient", params={"identifier": value})
    fhir.get("/Patient", params={"identifier": f"{value}-other"})
    rows = report(fhir, "searched-for", value=f"identifier={value}")
    assert [row["action"] for row in rows] == ["search-type"]
    assert value not in fhir.get(f"/AuditEvent/{rows[0]['event']}").text


def test_an_incident_report_lists_those_affected_with_deadlines(fhir: Fhir) -> None:
    patient, rui, _ = people(fhir)
    client = unique("client")
    stolen = an_access(rui, patient)
    stolen["agent"][0]["who"]["identifier"]["value"] = client
    fhir.made(stolen)
    given = {
        "client": client, "start": "2026-03-01", "end": "2026-04-01", "known": "2026-03-05T17:00:00-03:00",
        "description": "token roubado", "measures": "token revogado",
    }  # fmt: skip
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": name, "valueString": value} for name, value in given.items()],
    }
    response = fhir.post(
        "/AuditEvent/$incident-report", json=body, headers={"content-type": "application/fhir+json"}
    )
    assert response.status_code == 200, response.text
    parts = {part["title"]: part for part in response.json()["parts"]}
    figures = {row["item"]: row["value"] for row in parts["Resumo"]["rows"]}
    assert (figures["Titulares afetados"], figures["Crianças e adolescentes"]) == (1, 1)
    assert [row["patient"] for row in parts["Titulares afetados"]["rows"]] == ["Ana Souza"]
    deadlines = {row["item"]: row["value"] for row in parts["Prazos"]["rows"]}
    assert deadlines["Comunicação à ANPD e aos titulares até"] == "2026-03-10"
    assert "token roubado" in parts["Minuta da comunicação à ANPD"]["text"]
    assert fhir.get("/AuditEvent/$incident-report").status_code == 405


@pytest.fixture
def cli(server: Server, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Cli:
    """Runs `fhirserver` in this process on the server's data folder: exit code, stdout, stderr."""
    monkeypatch.setenv("FHIRSERVER_AUDIT__ORIGIN", "clinic.example/audit")
    monkeypatch.chdir(server.data_dir.parent)

    def run(*words: str) -> tuple[int, str, str]:
        capsysbinary.readouterr()
        code = main([*words, "--data-dir", str(server.data_dir)])
        out, error = capsysbinary.readouterr()
        return code, out.decode("utf-8-sig"), error.decode()

    return run


def test_a_token_without_the_audit_log_gets_no_report(fhir: Fhir, cli: Cli) -> None:
    patient, *_ = people(fhir)
    refused, allowed = (
        cli("token", "--scope", scope)[1].strip() for scope in ("system/Patient.rs", "system/AuditEvent.rs")
    )
    for url in ("/AuditEvent/$report?kind=denied", "/AuditEvent/$checkpoint", f"/{patient}/$access-report"):
        response = fhir.get(url, headers={"authorization": f"Bearer {refused}"})
        assert response.status_code == 403, url
    response = fhir.get("/AuditEvent/$report?kind=denied", headers={"authorization": f"Bearer {allowed}"})
    assert response.status_code == 200  # positive control
    assert "denied" in {row["reason"].partition("-")[0] for row in response.json()["rows"]}


def sealed_proof(fhir: Fhir, id: str) -> str:
    """The proof of an event, as soon as it is sealed."""
    until = time.monotonic() + 30
    while (response := fhir.get(f"/AuditEvent/{id}/$proof")).status_code == 409 and time.monotonic() < until:
        time.sleep(0.05)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    return response.text


def test_an_event_is_proven_without_the_server(server: Server, fhir: Fhir, cli: Cli, tmp_path: Path) -> None:
    patient, rui, _ = people(fhir)
    id = fhir.made(an_access(rui, patient))["id"]
    body, proof = tmp_path / "event.json", tmp_path / "event.proof"
    proof.write_text(sealed_proof(fhir, id))
    body.write_bytes(fhir.get(f"/AuditEvent/{id}").content)
    words = ["audit", "verify-proof", "--body", str(body), "--proof", str(proof)]
    words += ["--keys", str(server.data_dir / "audit" / "keys.txt")]
    assert main(words) == 0
    body.write_bytes(body.read_bytes().replace(b'"outcome":"0"', b'"outcome":"8"'))
    assert main(words) == 1


def test_what_was_answered_arrives_at_the_atna_repository(fhir: Fhir, repository: Repository) -> None:
    """audit.md 12, by the settings alone: `audit.atna`."""
    patient, *_ = people(fhir)
    request = fhir.get(f"/{patient}").headers["x-request-id"]
    until = time.monotonic() + 30
    while request not in str(repository.taken) and time.monotonic() < until:
        time.sleep(0.05)
    (event,) = [event for event in repository.taken if request in str(event)]
    assert event == fhir.get(f"/AuditEvent/{event['id']}").json()
    assert {authorization for *_, authorization in repository.requests} == {"Bearer t0ken"}


def test_checkpoints_are_given_and_shown_to_be_consistent(fhir: Fhir) -> None:
    patient, rui, _ = people(fhir)
    sealed_proof(fhir, fhir.made(an_access(rui, patient))["id"])
    first = fhir.get("/AuditEvent/$checkpoint", headers={"accept": "text/plain"}).text.split("\n")
    sealed_proof(fhir, fhir.made(an_access(rui, patient))["id"])
    second = fhir.get("/AuditEvent/$checkpoint").text.split("\n")
    assert first[0] == second[0] == "clinic.example/audit"
    assert int(first[1]) < int(second[1])
    proof = fhir.get("/AuditEvent/$consistency", params={"from": first[1], "to": second[1]})
    assert proof.status_code == 200
    for query in ("from=0&to=1", "from=5&to=1", "from=x&to=1", "from=1", "from=1&to=2&to=3"):
        assert fhir.get(f"/AuditEvent/$consistency?{query}").status_code == 400
    assert_outcome(
        fhir.get("/AuditEvent/$consistency?from=1&to=999999999"), 404, "not-found", "checkpoint-unknown"
    )  # fmt: skip


def test_what_is_no_event_has_no_proof_and_in_a_bundle_a_text_is_a_binary(fhir: Fhir) -> None:
    assert_outcome(fhir.get("/AuditEvent/absent/$proof"), 404, "not-found", "resource-unknown")
    patient, rui, _ = people(fhir)
    sealed_proof(fhir, fhir.made(an_access(rui, patient))["id"])
    answer = fhir.bundle("batch", entry("GET", "AuditEvent/$checkpoint")).json()["entry"][0]
    assert answer["response"]["status"] == "200 OK"
    assert answer["resource"]["contentType"] == "text/plain; charset=utf-8"


def test_the_integrity_report_says_what_is_sealed_and_what_was_verified(fhir: Fhir) -> None:
    figures = {row["item"]: row["value"] for row in report(fhir, "integrity")}
    assert figures["origin"] == "clinic.example/audit"
    assert figures["sealed events"] > 0
    assert figures["result"] == "intact"


def test_the_command_line_verifies_and_reports_on_the_running_server(fhir: Fhir, cli: Cli) -> None:
    patient, rui, _ = people(fhir)
    sealed_proof(fhir, fhir.made(an_access(rui, patient))["id"])
    code, out, _ = cli("audit", "verify")
    assert (code, "intact" in out) == (0, True), out
    asked = ("--patient", patient, "--start", "2026-03-01", "--end", "2026-04-01", "--format", "csv")
    code, out, _ = cli("audit", "report", "access", *asked)
    assert (code, "Dr. Rui" in out) == (0, True)
    assert cli("audit", "report", "colours")[0] == 2
    approved = ("--approved-by", "ana", "--approved-by", "rui")
    code, _, error = cli("audit", "purge", "--before", "2020-01-01", *approved)
    assert (code, "kept for ever" in error) == (1, True)
