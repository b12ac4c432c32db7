"""The audit log in a MongoDB with users (audit.md 5, security.md K4), and its purge (audit.md 13), as an operator does it.

Rule: who runs the server can add to the log and cannot change it; the database itself refuses. Events of 2019, from before
the server started, are what there is to purge.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest
from pydantic import SecretStr
from pymongo.errors import OperationFailure

from fhirserver.cli import main
from fhirserver.settings import Audit, Settings
from fhirserver.store import CannotStart, connect
from fhirserver.store.audit_access import ROLES, USERS, audit_home, check_prepared, excess_of
from fhirserver.store.ledger import CHECKPOINTS, EVENTS, TILES
from tests.kit.client import JSON
from tests.kit.ledger import LedgerKit
from tests.kit.mongo import Guarded, guarded_mongod
from tests.kit.server import Server

pytestmark = pytest.mark.anyio
LOG, DATA = "fhir_audit", "fhir"
NOT_ALLOWED = 13
OLD = 1_551_441_600_000_000  # 2019-03-01T12:00:00Z
RUNS, IN_RUN = 24, 50  # 1,200 old events: four whole tiles
WHOLE = 1024
PURGE = ["purge", "--before", "2020-01-01"]
TWO = ["--approved-by", "ana", "--approved-by", "rui"]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Site:
    """A MongoDB with the users of the how-to page, a data folder, and the server on them."""

    mongo: Guarded
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def cli(self, *words: str, **more: str) -> int:
        """The exit code of `fhirserver audit ...` with the settings of the server."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (self.variables | more).items():
                patch.setenv(f"FHIRSERVER_{name.upper()}", value)
            return main(["audit", *words, "--data-dir", str(self.data)])

    @contextmanager
    def log_as(self, user: str, database: str = LOG) -> Iterator[Any]:
        """The log's database, as `user` of `database` sees it."""
        with pymongo.MongoClient[dict[str, Any]](self.mongo.uri(user, database)) as client:
            yield client[LOG]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    folder = Path(tempfile.mkdtemp(prefix="users-"))  # short: a Unix socket lives in it
    try:
        with guarded_mongod(folder / "db") as mongo:
            site = Site(mongo, folder, {"audit__database": LOG, "audit__origin": "clinic.example/audit"})
            migrating = {"audit__migrate_uri": mongo.uri("root", "admin")}
            assert site.cli("roles", "--create", **migrating) == 0
            uris = {user: mongo.add_user(user, LOG, *roles) for user, roles in USERS.items()}
            site.variables |= {
                "mongodb_uri": mongo.add_user("fhir", DATA, "readWrite"), "audit__mongo_uri": uris["audit"],
            }  # fmt: skip
            yield site
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def fill(site: Site) -> None:
    """Old events of two writers, about Patient/old, sealed in several runs."""
    client = connect(site.mongo.uri("root", "admin"))
    try:
        kit = LedgerKit(client[LOG], site.data / "audit", now=OLD)
        writers, sealer = [await kit.writer(), await kit.writer()], kit.sealer()
        for _ in range(RUNS // 2):
            for writer in writers:
                await kit.record(writer, IN_RUN, entity=[{"what": {"reference": "Patient/old"}}])
            await sealer.seal()
    finally:
        await client.close()


@pytest.fixture(scope="module")
def server(site: Site) -> Iterator[Server]:
    """The server as the restricted users; its log was prepared by the migration user."""
    with pytest.raises(CannotStart, match="fhirserver audit prepare"):
        asyncio.run(home_of(site, ("fhir", DATA), ("audit", LOG)))
    migrating = {"audit__migrate_uri": site.mongo.uri("audit-migrate", LOG)}
    assert site.cli("prepare", **migrating) == 0
    assert site.cli("prepare", **migrating) == 0, "nothing is left to do the second time"
    asyncio.run(fill(site))
    with Server(site.data, audit__seal_interval="0.2", **site.variables) as running:
        yield running


def until(condition: Callable[[], bool]) -> None:
    patience = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < patience, "it did not come about"
        time.sleep(0.05)


def found(server: Server, query: str) -> int:
    answer = httpx.get(f"{server.fhir}/AuditEvent?{query}&_summary=count", timeout=30)
    assert answer.status_code == 200, answer.text
    total: int = answer.json()["total"]
    return total


def test_a_server_whose_user_may_only_add_records_and_seals(site: Site, server: Server) -> None:
    person = {"resourceType": "Patient", "name": [{"family": "Silva"}]}
    made = httpx.post(f"{server.fhir}/Patient", json=person, headers={"content-type": JSON}, timeout=30)
    assert made.status_code == 201, made.text
    id = made.json()["id"]
    assert httpx.get(f"{server.fhir}/Patient/{id}", timeout=30).status_code == 200
    assert found(server, f"patient=Patient/{id}&subtype=read") == 1
    assert found(server, "patient=Patient/old") == RUNS * IN_RUN

    def sealed() -> bool:
        with site.log_as("audit") as log:
            newest = log[CHECKPOINTS].find_one(sort=[("_id", -1)])
            return newest is not None and newest["_id"] > RUNS * IN_RUN

    until(sealed)
    assert site.cli("verify") == 0


CHANGES: dict[str, Callable[[Any], Any]] = {
    "update": lambda log: log[EVENTS].update_one({}, {"$set": {"raw": b""}}),
    "replace": lambda log: log[EVENTS].find_one_and_replace({}, {}),
    "upsert": lambda log: log[EVENTS].update_one({"_id": "x"}, {"$set": {"raw": b""}}, upsert=True),
    "delete": lambda log: log[EVENTS].delete_one({}),
    "delete all": lambda log: log[EVENTS].delete_many({}),
    "drop": lambda log: log[EVENTS].drop(),
    "drop database": lambda log: log.client.drop_database(LOG),
    "rename": lambda log: log[EVENTS].rename("elsewhere"),
    "index": lambda log: log[EVENTS].create_index("ts", expireAfterSeconds=1),
    "drop index": lambda log: log[EVENTS].drop_index("ledger"),
    "collMod": lambda log: log.command("collMod", EVENTS, validationLevel="off"),
    "$out": lambda log: log[EVENTS].aggregate([{"$out": EVENTS}]),
    "$merge": lambda log: log[WRITABLE].aggregate([{"$merge": EVENTS}]),
    "checkpoint": lambda log: log[CHECKPOINTS].update_one({}, {"$set": {"note": ""}}),
    "checkpoint delete": lambda log: log[CHECKPOINTS].delete_many({}),
    "tile": lambda log: log[TILES].delete_many({}),
    "grant": lambda log: log.command("grantRolesToUser", "audit", roles=["dbOwner"]),
    "stop": lambda log: log.client.admin.command("shutdown"),
}  # fmt: skip
WRITABLE = CHECKPOINTS


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_database_refuses_every_change_by_the_servers_user(
    site: Site, server: Server, change: Callable[[Any], Any]
) -> None:
    for user, database in (("audit", LOG), ("fhir", DATA)):
        with site.log_as(user, database) as log, pytest.raises(OperationFailure) as refused:
            change(log)
        assert refused.value.code == NOT_ALLOWED
    with site.log_as("root", "admin") as log:
        assert log[EVENTS].count_documents({}) >= RUNS * IN_RUN


def test_the_purge_user_removes_and_changes_nothing_else(site: Site, server: Server) -> None:
    with site.log_as("audit-purge") as log:
        assert log[EVENTS].delete_many({"_id": "nothing"}).deleted_count == 0
        for name in set(CHANGES) - {"delete", "delete all", "replace"}:
            with pytest.raises(OperationFailure) as refused:
                CHANGES[name](log)
            assert refused.value.code == NOT_ALLOWED, name


async def test_the_server_does_not_start_as_a_user_who_could_change_the_log(site: Site) -> None:
    app, audit, root = ("fhir", DATA), ("audit", LOG), ("root", "admin")
    cases = [
        (app, root, "AUDIT__MONGO_URI may change the audit log"),
        (app, ("audit-purge", LOG), "it has remove on fhir_audit.audit_events"),
        (app, ("audit-migrate", LOG), "it has createIndex"),
        (root, audit, "FHIRSERVER_MONGODB_URI may change the audit log"),
    ]
    for main_user, log_user, words in cases:
        with pytest.raises(CannotStart, match=words):
            await home_of(site, main_user, log_user)
    assert await home_of(site, app, audit) == (DATA, LOG)


async def home_of(site: Site, main_user: tuple[str, str], log_user: tuple[str, str]) -> tuple[str, str]:
    """The names of the databases of a server with these users."""
    chosen = Audit(mongo_uri=SecretStr(site.mongo.uri(*log_user)), database=LOG)
    async with connect(site.mongo.uri(*main_user)) as client:
        home = await audit_home(Settings(database=DATA, audit=chosen), client)
        try:
            await check_prepared(home)
        finally:
            await home.audit.client.close()
        return home.database.name, home.audit.name


def test_no_role_of_the_server_and_every_administrators_holds_too_much() -> None:
    def held(role: str) -> list[str]:
        (found,) = [each for each in ROLES if each.name == role]
        return excess_of(found.document(LOG)["privileges"], LOG)

    assert [held(role) for role in USERS["audit"]] == [[], []]
    assert held("audit_purge") == ["remove"]
    assert excess_of([{"resource": {"db": "", "collection": ""}, "actions": ["update", "find"]}], LOG) == [
        "update"
    ]
    assert excess_of([{"resource": {"db": LOG, "collection": "other"}, "actions": ["update"]}], LOG) == []
    assert excess_of([{"resource": {"db": "admin", "collection": ""}, "actions": ["grantRole"]}], LOG) == [
        "grantRole"
    ]
    assert excess_of([{"resource": {"anyResource": True}, "actions": ["anyAction"]}], LOG) == ["anyAction"]


def test_the_printed_script_names_every_role(capsys: pytest.CaptureFixture[str], site: Site) -> None:
    assert site.cli("roles") == 0
    script = capsys.readouterr().out
    assert all(f'role: "{role.name}"' in script for role in ROLES)
    assert site.cli("roles", audit__database="") == 2, (
        "a log among the server's own data cannot be kept from it"
    )
    assert site.cli("prepare") == 2, "nobody was named who may"
    nobodys = {"audit__migrate_uri": site.mongo.uri("audit", LOG)}
    assert site.cli("prepare", audit__database="another_log", **nobodys) == 1
    assert site.cli("roles", "--create", **nobodys) == 1


# --- the purge


@pytest.mark.parametrize(
    ("years", "words", "code"),
    [
        ("4", TWO, 2),
        ("5", TWO[:2], 1),
        ("5", [*TWO[:2], *TWO[:2]], 1),
    ],
)
def test_a_purge_is_refused(site: Site, server: Server, years: str, words: list[str], code: int) -> None:
    purging = {"audit__purge_uri": site.mongo.uri("audit-purge", LOG), "audit__retention_years": years}
    assert site.cli(*PURGE, *words, **purging) == code
    assert found(server, "patient=Patient/old") == RUNS * IN_RUN


def test_a_legal_hold_and_a_user_who_may_not_remove_stop_a_purge(site: Site, server: Server) -> None:
    purging = {"audit__purge_uri": site.mongo.uri("audit-purge", LOG), "audit__retention_years": "5"}
    assert site.cli(*PURGE, *TWO, **purging, audit__legal_hold="case 7") == 1
    assert site.cli(*PURGE, *TWO, audit__retention_years="5") == 1, "the server's own user may not"
    assert found(server, "patient=Patient/old") == RUNS * IN_RUN


def test_a_purge_that_is_killed_half_way_is_finished_by_the_next(
    site: Site, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    purging = {"audit__purge_uri": site.mongo.uri("audit-purge", LOG), "audit__retention_years": "5"}
    environment = {f"FHIRSERVER_{name.upper()}": value for name, value in (site.variables | purging).items()}
    command = [sys.executable, "-m", "fhirserver", "audit", *PURGE, *TWO, "--data-dir", str(site.data)]
    with site.log_as("root", "admin") as log:
        slow = {"failCommands": ["delete"], "blockConnection": True, "blockTimeMS": 150}
        log.client.admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=slow)
        tiles = list(log[TILES].find())
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(lambda: log[EVENTS].count_documents({"ts": {"$lt": OLD + 10**12}}) < RUNS * IN_RUN)
        process.send_signal(signal.SIGKILL)
        process.wait()
        log.client.admin.command("configureFailPoint", "failCommand", mode="off")
        assert log[EVENTS].count_documents({"ix.subtype": "purge"}) == 1, "recorded before anything goes"
    assert RUNS * IN_RUN - WHOLE < found(server, "patient=Patient/old") < RUNS * IN_RUN
    capsys.readouterr()
    assert site.cli("verify", "--json") == 0, "what has gone so far went under the record"
    assert "PURGED" in capsys.readouterr().out

    assert site.cli(*PURGE, *TWO, **purging) == 0
    left = RUNS * IN_RUN - WHOLE
    assert f"up to size {WHOLE:,}" in capsys.readouterr().out
    assert found(server, "patient=Patient/old") == left
    assert site.cli(*PURGE, *TWO, **purging) == 1, "nothing is left to remove"
    with site.log_as("root", "admin") as log:
        assert all(tile in list(log[TILES].find()) for tile in tiles)
        until(
            lambda: (
                log[CHECKPOINTS].find_one(sort=[("_id", -1)])["_id"]
                == log[EVENTS].count_documents({}) + WHOLE
            )
        )
    capsys.readouterr()
    assert site.cli("verify", "--json") == 0
    report = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("finding") for line in report] == ["PURGED", None]
    assert (report[0]["after"], report[0]["to"]) == (0, WHOLE)
    keys = str(site.data / "audit" / "keys.txt")
    for days in ([], ["--from", "2020-01-01"]):
        out = site.folder / f"export{len(days)}"
        assert site.cli("export", "--out", str(out), *days) == 0
        assert (
            main(
                ["audit", "verify", "--export", str(out), "--keys", keys, "--origin", "clinic.example/audit"]
            )
            == 0
        )
