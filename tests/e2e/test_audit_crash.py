"""Nothing that was answered is missing from the audit, whatever was killed meanwhile: audit.md 4, crash tests (a)-(f).

Short here; `make soak` runs the same for longer (SOAK_ROUNDS kills of SOAK_SECONDS under load). The negative control
records with w:1, j:false and must lose acknowledged events, or the test could not fail.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import orjson
import pymongo
import pytest
from pydantic import SecretStr
from pymongo.write_concern import WriteConcern

from fhirserver.app import lay
from fhirserver.audit.chain import Chain
from fhirserver.audit.record import Bounds, Recorder
from fhirserver.audit.system import SystemEvents
from fhirserver.outcome import Unavailable
from fhirserver.settings import Settings
from fhirserver.store import Mongod, connect
from fhirserver.store.audit import AuditLog
from fhirserver.store.home import Home
from fhirserver.store.indexes import Collections
from tests.kit.audit import KEY, NOW, a_builder, subtypes
from tests.kit.client import JSON, unique
from tests.kit.mongo import running_mongod
from tests.kit.server import Server

ROUNDS = int(os.environ.get("SOAK_ROUNDS", "1"))
SECONDS = float(os.environ.get("SOAK_SECONDS", "1.5"))
CLIENTS = 16
KILLS = 8  # a journal that has just been written loses nothing; that is luck, and it ends
_COUNTER = itertools.count()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="crash-"))  # short: a Unix socket lives in it
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def mongod(folder: Path) -> Iterator[Mongod]:
    with running_mongod(folder / "db") as running:
        yield running


@pytest.fixture(scope="module")
def server(folder: Path, mongod: Mongod) -> Iterator[Server]:
    with Server(folder / "data", mongodb_uri=mongod.uri, audit__commit_timeout="1") as running:
        yield running


@pytest.fixture(scope="module")
def patient(server: Server) -> str:
    answer = httpx.post(
        f"{server.fhir}/Patient", json=a_patient(), headers={"content-type": JSON}, timeout=30
    )
    id: str = answer.json()["id"]
    return id


def a_patient(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "name": [{"family": "Crash"}], **more}


def events(uri: str) -> list[dict[str, Any]]:
    with pymongo.MongoClient[dict[str, Any]](uri) as client:
        return [orjson.loads(row["raw"]) for row in client["fhir"]["audit_events"].find({}, {"raw": 1})]


def request_ids(found: list[dict[str, Any]]) -> set[str]:
    return {
        entity["what"]["identifier"]["value"]
        for event in found
        for entity in event["entity"]
        if entity["type"]["code"] == "XrequestId"
    }


async def load(base: str, patient: str, answered: dict[str, int], until: Callable[[], bool]) -> None:
    """Requests of CLIENTS callers; `answered`: X-Request-Id -> status of all that were answered."""

    async def one(client: httpx.AsyncClient, caller: int) -> None:
        while not until():
            number = next(_COUNTER)
            request_id = f"load-{os.getpid()}-{number}"
            headers = {"x-request-id": request_id, "content-type": JSON}
            with suppress(httpx.HTTPError):
                match number % 4:
                    case 0:
                        url, body = (
                            f"/Patient/w{caller}",
                            a_patient(id=f"w{caller}", birthDate=f"19{number % 90 + 10}"),
                        )
                        answer = await client.put(url, json=body, headers=headers)
                    case 1:
                        answer = await client.get(f"/Patient?_id={patient}", headers=headers)
                    case 2:
                        answer = await client.get("/Patient/nobody", headers=headers)
                    case _:
                        answer = await client.get(f"/Patient/{patient}", headers=headers)
                answered[request_id] = answer.status_code

    limits = httpx.Limits(max_connections=CLIENTS)
    async with httpx.AsyncClient(base_url=base, limits=limits, timeout=10) as client:
        await asyncio.gather(*(one(client, caller) for caller in range(CLIENTS)))


def under_load(server: Server, patient: str, kill: Callable[[], None]) -> dict[str, int]:
    """What was answered from the start of the load until shortly after `kill`."""
    answered: dict[str, int] = {}
    end = time.monotonic() + SECONDS
    killed: list[float] = []

    def until() -> bool:
        now = time.monotonic()
        if now > end and len(answered) > 4 * CLIENTS and not killed:
            killed.append(now)
            kill()
        return bool(killed)

    asyncio.run(load(server.fhir, patient, answered, until))
    return {id: status for id, status in answered.items() if status < 500}


def assert_all_told(server: Server, mongod: Mongod, answered: dict[str, int]) -> None:
    assert len(answered) > 2 * CLIENTS, "the load was too small to say anything"
    assert {200, 404} <= set(answered.values())
    missing = set(answered) - request_ids(events(mongod.uri))
    assert not missing, f"{len(missing)} of {len(answered)} answered requests left no event"


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_a_killed_server_has_told_all_that_it_answered(
    server: Server, mongod: Mongod, patient: str, _round: int
) -> None:
    answered = under_load(server, patient, server.kill)
    server.start()
    assert_all_told(server, mongod, answered)
    lost = [event for event in events(mongod.uri) if event["id"].startswith("lost-")]
    assert lost, "the start tells of the process that ended without a word"
    assert {(event["outcome"], event["type"]["code"]) for event in lost} == {("12", "110100")}


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_a_killed_database_holds_all_that_was_answered(
    server: Server, mongod: Mongod, patient: str, _round: int
) -> None:
    def kill() -> None:
        assert mongod.pid is not None
        os.kill(mongod.pid, signal.SIGKILL)

    answered = under_load(server, patient, kill)
    wait_until_served(server, patient)
    assert_all_told(server, mongod, answered)


def wait_until_served(server: Server, patient: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{server.fhir}/Patient/{patient}", timeout=30).status_code == 200:
                return
    raise AssertionError("no service after the database came back")


class Careless(AuditLog):
    """The committer's log with an acknowledgement that promises nothing."""

    def __init__(self, database: Any, tenant: str, confirm_ms: int) -> None:
        super().__init__(database, tenant, confirm_ms)
        self._events = self._events.with_options(write_concern=WriteConcern(w=1, j=False))


async def acknowledged_and_stored(mongod: Mongod, log_class: type[AuditLog]) -> tuple[set[str], set[str]]:
    """Ids of events that a committer called durable until its database was killed, and those that are there."""
    client = connect(mongod.uri)
    database = client[unique("committer")]
    await Collections(Home(database)).ensure(["AuditEvent"])
    await client.admin.command({"setParameter": 1, "journalCommitInterval": 500})
    log = log_class(database, "default", 2000)
    record = Recorder([Chain(log, KEY, {"at": NOW})], Bounds(30.0))
    system = SystemEvents(a_builder(), lambda: NOW)
    known: set[str] = set()
    killed, enough = asyncio.Event(), asyncio.Event()

    async def one() -> None:
        while not killed.is_set():
            event = system.work("x", next(_COUNTER))
            with suppress(Unavailable):
                await record.record([event])
                if not killed.is_set():
                    known.add(event.id)
                if len(known) >= 2000:
                    enough.set()

    tasks = [asyncio.create_task(one()) for _ in range(CLIENTS)]
    await enough.wait()
    assert mongod.pid is not None
    os.kill(mongod.pid, signal.SIGKILL)
    killed.set()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await record.drain()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(Exception):
            stored = await log.known(list(known))
            await client.close()
            return known, stored
    raise AssertionError("the database did not come back")


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_the_committer_keeps_what_it_acknowledged(mongod: Mongod, _round: int) -> None:
    known, stored = asyncio.run(acknowledged_and_stored(mongod, AuditLog))
    assert known <= stored


def test_a_careless_committer_loses_events_so_that_these_tests_can_fail(mongod: Mongod) -> None:
    lost = 0
    for _ in range(KILLS):
        known, stored = asyncio.run(acknowledged_and_stored(mongod, Careless))
        lost += len(known - stored)
        if lost:
            return
    raise AssertionError(f"w:1, j:false lost nothing in {KILLS} kills: they come too late to show anything")


@contextmanager
def failing_inserts(uri: str, how: dict[str, Any]) -> Iterator[None]:
    """Inserts of audit events fail in the database, as its fail point says in `how`."""
    with pymongo.MongoClient[dict[str, Any]](uri) as client:
        data = {"failCommands": ["insert"], "namespace": "fhir.audit_events", **how}
        client.admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=data)
        try:
            yield
        finally:
            client.admin.command("configureFailPoint", "failCommand", mode="off")


def test_a_read_that_cannot_be_told_in_time_is_not_answered_and_a_write_is(
    server: Server, mongod: Mongod, patient: str
) -> None:
    wait_until_served(server, patient)
    reading, writing = unique("read"), unique("write")
    with failing_inserts(mongod.uri, {"blockConnection": True, "blockTimeMS": 6000}):
        read = httpx.get(f"{server.fhir}/Patient/{patient}", headers={"x-request-id": reading}, timeout=10)
        ready = httpx.get(f"{server.root}/readyz", timeout=10)
        write = httpx.put(
            f"{server.fhir}/Patient/w0", json=a_patient(id="w0"),
            headers={"x-request-id": writing, "content-type": JSON}, timeout=10,
        )  # fmt: skip
    assert (read.status_code, read.headers["retry-after"]) == (503, "1")
    assert read.json()["issue"][0]["details"]["coding"][0]["code"] == "audit-unavailable"
    assert ready.status_code == 503
    assert write.status_code in (200, 201), "its record stands in the version"
    wait_until_served(server, patient)
    assert {reading, writing} <= request_ids(events(mongod.uri))
    assert httpx.get(f"{server.root}/readyz", timeout=10).status_code == 200


def test_a_stopped_database_means_503_in_time_and_service_when_it_goes_on(
    server: Server, mongod: Mongod, patient: str
) -> None:
    wait_until_served(server, patient)
    pid = mongod.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        answer = httpx.get(f"{server.fhir}/Patient/{patient}", timeout=8)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "Crash" not in answer.text
    wait_until_served(server, patient)


def test_a_write_whose_process_dies_before_its_event_is_told_by_the_sweeper(
    server: Server, mongod: Mongod, folder: Path, patient: str
) -> None:
    wait_until_served(server, patient)
    request_id, id = unique("killed"), unique("swept")
    with failing_inserts(mongod.uri, {"errorCode": 20}):
        answer = httpx.put(
            f"{server.fhir}/Patient/{id}", json=a_patient(id=id),
            headers={"x-request-id": request_id, "content-type": JSON}, timeout=10,
        )  # fmt: skip
        assert answer.status_code == 201
        server.kill()
    assert request_id not in request_ids(events(mongod.uri))
    asyncio.run(sweep(mongod.uri, folder / "data"))
    (event,) = [event for event in events(mongod.uri) if request_id in request_ids([event])]
    assert subtypes(event) == ["update", "recovered"]
    server.start()


async def sweep(uri: str, data_dir: Path) -> None:
    """What a worker's sweeper does half a minute later."""
    base = await lay(Settings(mongodb_uri=SecretStr(uri), data_dir=data_dir))
    base.audit.sweeper.grace = 0
    await base.audit.sweeper.sweep()
    await base.audit.stop()
    await base.close()


def test_a_transaction_that_is_rolled_back_leaves_no_success(
    server: Server, mongod: Mongod, patient: str
) -> None:
    wait_until_served(server, patient)
    request_id, id = unique("rolled-back"), unique("never")
    entries = [
        {"resource": a_patient(id=id), "request": {"method": "PUT", "url": f"Patient/{id}"}},
        {"request": {"method": "DELETE", "url": f"Patient/{patient}", "ifMatch": 'W/"99"'}},
    ]
    body = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    headers = {"x-request-id": request_id, "content-type": JSON}
    assert httpx.post(server.fhir, json=body, headers=headers, timeout=30).status_code == 412
    told = [event for event in events(mongod.uri) if request_id in request_ids([event])]
    assert {event["outcome"] for event in told} == {"4"}
    assert len(told) == 3
