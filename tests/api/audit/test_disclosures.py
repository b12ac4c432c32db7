"""AuditEvent/$disclose and `fhirserver export`: audit.md 3.5, brazil.md P-05 (shared with whom)."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhirserver.cli import main
from tests.kit.audit import events_of, patients, subtypes
from tests.kit.builders import an_observation
from tests.kit.client import JSON, Fhir, assert_outcome, unique
from tests.kit.server import Server

INSURER = {"recipient": "Unimed", "address": "https://unimed.example/fhir", "purpose": "HPAYMT"}
KINDS = {
    "recipient": "valueString",
    "address": "valueUri",
    "purpose": "valueCode",
    "disclosure": "valueString",
}


def disclose(fhir: httpx.Client, *files: dict[str, Any], **given: Any) -> httpx.Response:
    parameters = [{"name": name, KINDS.get(name, "valueString"): value} for name, value in given.items()]
    body = {"resourceType": "Parameters", "parameter": [*parameters, *files]}
    return fhir.post("/AuditEvent/$disclose", json=body, headers={"content-type": JSON})


def a_file(**given: Any) -> dict[str, Any]:
    values = {"name": "Patient.ndjson", "type": "Patient", "count": 1, "sha256": "0" * 64} | given
    kinds = {"type": "valueCode", "count": "valueInteger"}
    return {"name": "file", "part": [{"name": n, kinds.get(n, "valueString"): v} for n, v in values.items()]}


def answered(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    return {
        each["name"]: next(value for key, value in each.items() if key != "name")
        for each in response.json()["parameter"]
    }


def begun(fhir: httpx.Client, **given: Any) -> str:
    return str(answered(disclose(fhir, **INSURER | given))["disclosure"])


@pytest.fixture(scope="module")
def record(fhir: Fhir) -> tuple[str, str]:
    """A patient with a name of their own, and their only observation."""
    patient = fhir.made({"resourceType": "Patient", "name": [{"text": unique("Ana")}]})["id"]
    observation = fhir.made(an_observation(f"Patient/{patient}"))["id"]
    return f"Patient/{patient}", f"Observation/{observation}"


def disclosed(fhir: httpx.Client, id: str) -> list[dict[str, Any]]:
    return [event for event in events_of(fhir, id) if subtypes(event) == ["disclose"]]


def test_what_was_read_under_the_id_is_told_of_each_patient(fhir: Fhir, record: tuple[str, str]) -> None:
    patient, _ = record
    other = fhir.made({"resourceType": "Patient"})["id"]
    id = begun(fhir)
    under = {"x-request-id": id}
    for url in (f"/{patient}", f"/{patient}", f"/Observation?subject={patient}", "/Patient/absent"):
        fhir.get(url, headers=under)
    fhir.get(f"/Patient/{other}")  # not under the id
    told = answered(disclose(fhir, a_file(), disclosure=id))
    assert told["patients"] == 1
    of_patient, of_files = disclosed(fhir, id)
    assert patients(of_patient) == [patient.removeprefix("Patient/")]
    counts = {e["type"]["code"]: e["detail"][0]["valueString"] for e in of_patient["entity"] if "detail" in e}
    assert counts == {"Patient": "1", "Observation": "1"}
    assert told["event"] == {"reference": f"AuditEvent/{of_files['id']}"}


def test_the_patient_and_the_auditor_see_whom_it_went_to(fhir: Fhir, record: tuple[str, str]) -> None:
    patient, _ = record
    insurer = fhir.made({"resourceType": "Organization", "name": unique("Unimed")})
    id = begun(fhir, recipient=f"Organization/{insurer['id']}")
    fhir.get(f"/{patient}", headers={"x-request-id": id})
    answered(disclose(fhir, disclosure=id))
    rows = fhir.get(f"/AuditEvent/$report?kind=disclosures&patient={patient}").json()["rows"]
    row = next(row for row in rows if row["shared"] == insurer["name"])
    assert (row["address"], row["purpose"], row["exempt"], row["data"], row["records"]) == (
        "https://unimed.example/fhir", ["HPAYMT"], True, ["Patient"], 1,
    )  # fmt: skip
    own = fhir.get(f"/{patient}/$access-report").json()["rows"]
    assert [row["data"] for row in own if row["shared"] == insurer["name"]] == [["Patient"]]
    assert "https://unimed.example" not in json.dumps(own)


def test_a_disclosure_is_told_once_and_only_by_who_has_begun_it(fhir: Fhir, record: tuple[str, str]) -> None:
    id = begun(fhir)
    fhir.get(f"/{record[0]}", headers={"x-request-id": id})
    answered(disclose(fhir, disclosure=id))
    assert_outcome(disclose(fhir, disclosure=id), 409, "conflict", "disclosure-told")
    assert_outcome(disclose(fhir, disclosure="disclosure-of-nobody"), 404, "not-found", "disclosure-unknown")
    assert len(disclosed(fhir, id)) == 2


@pytest.mark.parametrize(
    "given",
    [
        {"recipient": " "},
        {"recipient": "x" * 201},
        {"address": ""},
        {"purpose": "PROFIT"},
        {"colour": "red"},
        {"disclosure": "disclosure-1"},
    ],
    ids=str,
)
def test_a_disclosure_without_a_recipient_an_address_and_a_purpose_is_refused(
    fhir: Fhir, given: dict[str, str]
) -> None:
    assert disclose(fhir, **INSURER | given).status_code == 400


@pytest.mark.parametrize(
    "given", [{"count": True}, {"sha256": "x"}, {"type": "Colour"}, {"name": ""}, {"count": "1"}], ids=str
)
def test_a_file_without_name_type_count_and_digest_is_refused(fhir: Fhir, given: dict[str, Any]) -> None:
    id = begun(fhir)
    assert disclose(fhir, a_file(**given), disclosure=id).status_code == 400
    assert disclose(fhir, a_file(), **INSURER).status_code == 400  # files of nothing that was begun
    answered(disclose(fhir, a_file(), disclosure=id))


# --- the command line

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs `fhirserver` in this process against the running server."""
    monkeypatch.chdir(server.data_dir.parent)

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*words, "--server", server.fhir])
        return code, *capsys.readouterr()

    return run


def test_an_export_is_told_before_its_files_have_their_names(
    fhir: Fhir, cli: Cli, record: tuple[str, str], tmp_path: Path
) -> None:
    patient, _ = record
    out = tmp_path / "files"
    words = ("--type", "Patient", "--type", "Observation", "--type", "Slot", "--recipient", "Contador")
    code, said, error = cli("export", "--output", str(out), *words, "--purpose", "HPAYMT")
    assert code == 0, error
    assert sorted(file.name for file in out.iterdir()) == ["Observation.ndjson", "Patient.ndjson"]
    id = next(word for word in said.split() if word.startswith("disclosure-"))
    events = disclosed(fhir, id)
    lines = (out / "Patient.ndjson").read_text().splitlines()
    assert {json.loads(line)["id"] for line in lines} <= {p for event in events for p in patients(event)}
    files = next(event for event in events if not patients(event))
    assert {"type": "count", "valueString": str(len(lines))} in next(
        entity["detail"] for entity in files["entity"] if entity["what"]["identifier"]["value"] == "Patient.ndjson"
    )  # fmt: skip
    rows = fhir.get(f"/AuditEvent/$report?kind=disclosures&patient={patient}").json()["rows"]
    (row,) = [row for row in rows if row["shared"] == "Contador"]
    assert (row["data"], row["records"], row["exempt"]) == (["Observation", "Patient"], 2, True)
    assert row["address"] == f"file://{socket.gethostname()}{out}"
    volume = fhir.get("/AuditEvent/$report?kind=export-volume").json()["rows"]
    assert any(row["shared"] == "Contador" and row["records"] >= 2 for row in volume)


def test_an_export_that_cannot_be_audited_leaves_nothing(
    cli: Cli, server: Server, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Beside it the same with the scope that lets a backend write to the audit log."""
    out = tmp_path / "files"
    words = ("export", "--output", str(out), "--type", "Organization")
    code, _, error = cli(*words, "--purpose", "PROFIT")
    assert (code, "cannot be audited" in error) == (1, True)
    for scope, expected in (("system/*.rs", 1), ("system/*.rs system/AuditEvent.c", 0)):
        assert main(["token", "--scope", scope, "--data-dir", str(server.data_dir)]) == 0
        (tmp_path / "token").write_text(capsys.readouterr().out)
        assert list(out.iterdir()) == []
        assert cli(*words, "--token", f"@{tmp_path / 'token'}")[0] == expected
    assert [file.name for file in out.iterdir()] == ["Organization.ndjson"]
