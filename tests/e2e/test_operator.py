"""What an operator does with a running server: load, export, reindex, doctor; and what may happen to it.

Two workers serve, as in production; requests may meet either.
"""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest

from fhirserver.store.client import socket_uri
from fhirserver.store.mongod_home import running_socket
from tests.kit.builders import SYSTEM, a_patient, identified
from tests.kit.client import JSON, Fhir, assert_outcome
from tests.kit.server import Server

SYNTHEA = Path(__file__).parent / "synthea"  # SOURCE.md says where from


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("operator") / "data", workers="2") as running:
        yield running


@pytest.fixture(scope="module")
def fhir(server: Server) -> Iterator[Fhir]:
    with Fhir(server.fhir) as client:
        yield client


def run(server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line beside the running server, whose port it is not told."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FHIRSERVER_")}
    command = [sys.executable, "-m", "fhirserver", *words, "--data-dir", str(server.data_dir)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


def test_commands_find_the_server_of_their_data_folder_at_any_port(
    server: Server, fhir: Fhir, tmp_path: Path
) -> None:
    (tmp_path / "one.json").write_text(json.dumps(a_patient(id="found-1")))
    loaded = run(server, "load", str(tmp_path / "one.json"))
    assert loaded.returncode == 0, loaded.stderr
    assert fhir.get("/Patient/found-1").status_code == 200
    assert f"{server.fhir} is ready" in run(server, "doctor").stdout
    # what commands record themselves names the same server
    assert run(server, "token", "--scope", "system/*.rs").returncode == 0
    event = fhir.get("/AuditEvent?subtype=ITI-71&_sort=-date&_count=1").json()["entry"][0]["resource"]
    assert event["source"]["observer"]["identifier"]["value"] == server.fhir


def test_files_are_loaded_and_exported_and_loaded_again(server: Server, fhir: Fhir, tmp_path: Path) -> None:
    people = [a_patient(id=f"load-{n}", birthDate="1990-05-05") for n in range(30)]
    lines = "".join(json.dumps(person) + "\n" for person in people)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "people.ndjson.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "in" / "broken.json").write_text(json.dumps(a_patient(id="load-bad", gender="m")))
    loaded = run(server, "load", str(tmp_path / "in"), "--server", server.fhir)
    assert loaded.returncode == 3, loaded.stderr
    assert "30 resources stored" in loaded.stdout
    assert "FAILED" in loaded.stderr
    assert "Patient.gender" in loaded.stderr
    out = tmp_path / "out"
    exported = run(server, "export", "--output", str(out), "--type", "Patient", "--server", server.fhir)
    assert exported.returncode == 0, exported.stderr
    written = [json.loads(line) for line in (out / "Patient.ndjson").read_text().splitlines()]
    assert {person["id"] for person in people} <= {resource["id"] for resource in written}
    again = run(server, "load", str(out), "--server", server.fhir)
    assert again.returncode == 0, again.stderr
    assert run(server, "load", str(tmp_path / "nothing"), "--server", server.fhir).returncode == 2


def test_records_of_synthea_are_loaded(server: Server, fhir: Fhir) -> None:
    files = sorted(SYNTHEA.glob("*.json.gz"))
    assert len(files) == 2
    loaded = run(server, "load", *map(str, files), "--server", server.fhir)
    assert loaded.returncode == 0, loaded.stdout + loaded.stderr
    for file in files:
        bundle = json.loads(gzip.decompress(file.read_bytes()))
        patient = next(e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "Patient")
        known = f"{patient['identifier'][0]['system']}|{patient['identifier'][0]['value']}"
        (name,) = fhir.ids(f"/Patient?identifier={known}")
        conditions = sum(e["resource"]["resourceType"] == "Condition" for e in bundle["entry"])
        assert len(fhir.ids(f"/Condition?patient={name}&_count=500")) == conditions
        assert f"Patient/{patient['id']}" not in fhir.get(f"/{name}/$everything").text


OWN: dict[str, Any] = {
    "resourceType": "SearchParameter", "id": "eye-color", "status": "active", "code": "eye-color", "name": "EyeColor",
    "url": "https://fhirserver.example/SearchParameter/eye-color", "description": "Colour of the eyes",
    "base": ["Patient"], "type": "token",
    "expression": "Patient.extension.where(url = 'https://fhirserver.example/eye-color').value",
}  # fmt: skip


def test_a_clinics_own_parameter_is_searched_after_reindexing(server: Server, fhir: Fhir) -> None:
    eyes = [{"url": "https://fhirserver.example/eye-color", "valueCode": "green"}]
    green = fhir.made(a_patient(extension=eyes))["id"]
    assert_outcome(fhir.get("/Patient?eye-color=green"), 400, "not-supported", "parameter-unknown")
    assert fhir.update(OWN).status_code == 201
    until(lambda: answered(server, "eye-color=green") == {503})
    not_ready = fhir.get("/Patient?eye-color=green")
    assert_outcome(not_ready, 503, "transient", "parameter-not-ready")
    assert int(not_ready.headers["retry-after"]) > 0
    done = run(server, "reindex")
    assert done.returncode == 0, done.stderr
    until(lambda: answered(server, "eye-color=green") == {200})
    assert fhir.ids("/Patient?eye-color=green") == [f"Patient/{green}"]
    assert fhir.ids("/Patient?eye-color=blue") == []
    declared = next(r for r in fhir.get("/metadata").json()["rest"][0]["resource"] if r["type"] == "Patient")
    assert "eye-color" in {parameter["name"] for parameter in declared["searchParam"]}


def answered(server: Server, query: str) -> set[int]:
    """The statuses of twenty requests on connections of their own, which meet both workers."""
    return {httpx.get(f"{server.fhir}/Patient?{query}", timeout=30).status_code for _ in range(20)}


def until(condition: Callable[[], bool]) -> None:
    """Wait for what other processes do in their own time."""
    patience = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < patience, "it did not come about"
        time.sleep(0.05)


def test_the_doctor_finds_nothing_and_then_finds_what_is_missing(server: Server, fhir: Fhir) -> None:
    fhir.made(a_patient())  # the first one makes the collection
    assert run(server, "doctor", "--server", server.fhir).returncode in (0, 3)  # 3: little disk, many workers
    socket = running_socket(server.data_dir)
    with pymongo.MongoClient(socket_uri(str(socket))) as client:
        client["fhir"]["Patient"].drop_index("search")
        ready = httpx.get(f"{server.root}/readyz", timeout=30)
        assert ready.status_code == 503
        assert ready.json()["reasons"] == ["index missing: Patient.search"]
        found = run(server, "doctor", "--server", server.fhir)
        assert found.returncode == 1
        assert "missing" in found.stdout
    assert httpx.get(f"{server.root}/healthz").status_code == 200


def test_metrics_add_up_over_the_workers(server: Server, fhir: Fhir) -> None:
    for _ in range(20):
        httpx.get(f"{server.fhir}/Patient/nobody")
    told = ""

    def counted() -> bool:
        nonlocal told
        told = httpx.get(f"{server.root}/metrics").text
        line = 'fhirserver_requests_total{interaction="read",status="4xx",type="Patient"}'
        return any(text.startswith(line) and float(text.split()[-1]) >= 20 for text in told.splitlines())

    until(counted)
    for name in (
        "fhirserver_request_duration_seconds_bucket",
        'fhirserver_mongod_state{state="up"} 2.0',
        "fhirserver_batch_items_bucket",
        "fhirserver_mongo_pool_events_total",
    ):
        assert name in told, name


def test_nothing_acknowledged_is_lost_when_mongod_is_killed(server: Server, fhir: Fhir) -> None:
    pid_file = server.data_dir / "mongo" / "mongod.pid"
    acknowledged, refused = list[str](), 0
    killed = False
    for number in range(3000):
        if number == 20:
            os.kill(int(pid_file.read_text()), signal.SIGKILL)
            killed = True
        response = fhir.create(identified(f"kill-{number}"))
        if response.status_code == 201:
            acknowledged.append(response.json()["id"])
        else:
            refused += 1
            assert response.status_code == 503, response.text
            assert int(response.headers["retry-after"]) > 0
        if killed and response.status_code == 201 and number > 60:
            break
    assert len(acknowledged) > 20
    for id in acknowledged:
        assert fhir.get(f"/Patient/{id}").status_code == 200
    found = fhir.ids(f"/Patient?identifier={SYSTEM}|kill-1")
    assert len(found) == 1
    until(lambda: httpx.get(f"{server.root}/healthz").status_code == 200)


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_other_machines_are_not_served_in_open_mode(tmp_path: Path, host: str) -> None:
    command = [sys.executable, "-m", "fhirserver", "serve", "--open", "--host", host]
    command += ["--data-dir", str(tmp_path / "d")]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2
    assert "without --open" in refused.stderr
    assert not (tmp_path / "d").exists()


def test_documents_and_versions_are_printed_without_a_server() -> None:
    def printed(word: str) -> str:
        command = [sys.executable, "-m", "fhirserver", word]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

    assert json.loads(printed("openapi"))["openapi"] == "3.1.0"
    assert printed("version").startswith("fhirserver ")


@pytest.mark.verifies("http-mime-3")
def test_a_body_of_xml_or_gzip_goes_through_every_interaction(fhir: Fhir) -> None:
    xml = {"content-type": "application/fhir+xml", "accept": "application/fhir+xml"}
    patient = b'<Patient xmlns="http://hl7.org/fhir"><gender value="female"/></Patient>'
    created = fhir.post("/Patient", content=patient, headers=xml)
    url = "/Patient/" + created.text.partition('<id value="')[2].partition('"')[0]
    changed = created.content.replace(b'"female"', b'"other"')
    assert fhir.put(url, content=changed, headers=xml).text.count("other") == 1
    patch = (
        b'<Parameters xmlns="http://hl7.org/fhir"><parameter><name value="operation"/>'
        b'<part><name value="type"/><valueCode value="replace"/></part>'
        b'<part><name value="path"/><valueString value="Patient.gender"/></part>'
        b'<part><name value="value"/><valueCode value="male"/></part></parameter></Parameters>'
    )
    assert '<gender value="male"/>' in fhir.patch(url, content=patch, headers=xml).text
    meta = (
        b'<Parameters xmlns="http://hl7.org/fhir"><parameter><name value="meta"/>'
        b'<valueMeta><tag><code value="x"/></tag></valueMeta></parameter></Parameters>'
    )
    assert '<code value="x"/>' in fhir.post(f"{url}/$meta-add", content=meta, headers=xml).text
    for other in (
        url,
        f"{url}/_history/1",
        f"{url}/_history",
        f"/Patient?_id={url[9:]}",
        f"{url}/$everything",
        f"{url}/$meta",
        "/metadata",
        f"{url}/*",
    ):
        response = fhir.get(other, headers=xml | {"accept-encoding": "gzip"})
        assert response.status_code == 200, other
        assert response.text.startswith('<?xml version="1.0"'), other
    request = b'<request><method value="GET"/><url value="%b"/></request>' % url.encode()
    bundle = b'<Bundle xmlns="http://hl7.org/fhir"><type value="batch"/><entry>%b</entry></Bundle>' % request
    zipped = gzip.compress(bundle)
    answer = fhir.post("", content=zipped, headers=xml | {"content-encoding": "gzip"})
    assert '<status value="200 OK"/>' in answer.text
    refused = fhir.get("/Patient/nobody", headers=xml)
    assert refused.text.startswith('<?xml version="1.0"')
    assert "<OperationOutcome" in refused.text
    assert fhir.delete(url, headers={"accept": JSON}).status_code == 204


def test_what_was_accepted_survives_a_kill_of_the_server(server: Server, fhir: Fhir) -> None:
    made = [fhir.made(a_patient())["id"] for _ in range(20)]
    server.kill()
    with pytest.raises(httpx.TransportError):
        fhir.get("/metadata")
    server.start()
    with Fhir(server.fhir) as again:
        assert [again.get(f"/Patient/{id}").status_code for id in made] == [200] * 20
