"""Indexes, labels, migrations, and which databases are refused."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fhirserver.store import CannotStart, Store, check, connect
from fhirserver.store.indexes import HOT, plan
from fhirserver.store.migrate import MIGRATIONS, SERVER, Migration, migrate, stale_index
from fhirserver.store.mongod_home import find_program
from fhirserver.store.reindex import reindex
from tests.unit.store.conftest import EVERYTHING, a_patient

pytestmark = pytest.mark.anyio


async def test_a_type_gets_its_indexes_with_its_first_write(store: Store) -> None:
    await store.create("Observation", "o", {"resourceType": "Observation"}, permission=EVERYTHING)
    have = await store.database["Observation"].index_information()
    assert set(have) == {"_id_", "search", "time", "patient-date"}
    assert await store.collections.types() == ["Observation"]


async def test_every_planned_index_can_be_made(store: Store) -> None:
    await store.prepare()
    await store.collections.ensure([*HOT, "Patient"])
    assert await store.missing() == []
    names = await store.database.list_collection_names()
    assert len(set(names) & set(HOT)) == len(HOT)


async def test_a_missing_or_different_index_is_named_and_mended_by_prepare(make_store: Any) -> None:
    async with make_store() as store:
        await store.prepare()
        await store.create("Slot", "s", {"resourceType": "Slot"}, permission=EVERYTHING)
        await store.database["Slot"].drop_index("search")
        await store.database["Slot"].drop_index("time")
        await store.database["Slot"].create_index([("ts", -1)], name="time")
        assert await store.missing() == ["Slot.search", "Slot.time"]
    async with make_store() as again:
        await again.prepare()
        assert await again.missing() == []


async def test_reads_by_search_fields_use_the_plan(store: Store) -> None:
    await store.create("Patient", "p", a_patient(gender="female"), permission=EVERYTHING)
    explained = await store.database["Patient"].find({"ix.gender": "female"}).explain()
    assert "search" in str(explained["queryPlanner"]["winningPlan"])
    slot = store.database["Slot"]
    await store.create("Slot", "s", {"resourceType": "Slot"}, permission=EVERYTHING)
    explained = await slot.find({"ix.schedule": "x"}).sort({"ix.start~s": 1}).explain()
    assert "schedule-start" in str(explained["queryPlanner"]["winningPlan"])
    assert "SORT'" not in str(explained["queryPlanner"]["winningPlan"])


def test_each_compound_index_has_one_array_at_most() -> None:
    for type in HOT:
        for index in plan(type):
            arrays = [name for name, _ in index.keys if name.startswith("ix.") and not name.endswith("~s")]
            assert len(arrays) <= 1, f"{type}.{index.name}"


async def test_the_first_migration_registers_version_1_once(make_store: Any) -> None:
    async with make_store() as one, make_store() as other:
        await asyncio.gather(one.prepare(), other.prepare())
        schema = await one.database[SERVER].find_one({"_id": "schema"})
        assert schema is not None
        assert (schema["version"], len(schema["steps"])) == (len(MIGRATIONS), len(MIGRATIONS))
        assert await one.database[SERVER].find_one({"_id": "lease:migrate"}) is None


async def test_steps_run_once_in_order_even_with_two_processes(make_store: Any) -> None:
    done: list[int] = []

    def step(version: int) -> Migration:
        async def apply(database: Any) -> None:
            done.append(version)
            await database["x"].insert_one({"v": version})

        return Migration(version, f"step {version}", apply)

    async with make_store() as one, make_store() as other:
        await migrate(one.database, [step(1)])
        await asyncio.gather(*(migrate(s.database, [step(1), step(2), step(3)]) for s in (one, other)))
        assert done == [1, 2, 3]


async def test_what_an_older_server_has_indexed_is_due_for_a_reindex(store: Store) -> None:
    class Empty:
        def index(self, type: str, resource: dict[str, Any]) -> Any:
            return SimpleNamespace(ix={}, x={}, cx=[], geo=None)

    await migrate(store.database, MIGRATIONS[:1])
    await store.database["Patient"].insert_one({"_id": "default/Patient/p", "raw": b'{"id":"p"}', "v": 1})
    assert await stale_index(store.database, "default") is False
    await migrate(store.database)
    assert await stale_index(store.database, "default") is True
    await reindex(store.database, "default", Empty(), [], types=["Patient"])
    assert await stale_index(store.database, "default") is True
    await reindex(store.database, "default", Empty(), [])
    assert await stale_index(store.database, "default") is False
    assert await stale_index(store.database, "another") is True


async def test_a_new_database_is_not_due_for_a_reindex(store: Store) -> None:
    await migrate(store.database)
    assert await stale_index(store.database, "default") is False


async def test_a_newer_form_refuses_to_start_and_is_left_alone(store: Store) -> None:
    await store.prepare()
    await store.database[SERVER].update_one({"_id": "schema"}, {"$set": {"version": 99}})
    with pytest.raises(CannotStart, match="newer server"):
        await store.prepare()
    schema = await store.database[SERVER].find_one({"_id": "schema"})
    assert schema is not None
    assert schema["version"] == 99


async def test_labels_are_those_of_visible_resources() -> None:
    from fhirserver.store.labels import _codings, _profiles

    assert _codings({"a", "s|a", "s|", "|b", "b"}) == [{"code": "b"}, {"system": "s", "code": "a"}]
    assert _profiles({"http://p", "http://q", "http://q|1"}) == ["http://p", "http://q|1"]


async def test_a_replica_set_is_accepted(mongodb_uri: str) -> None:
    async with connect(mongodb_uri) as client:
        assert int((await check(client)).split(".")[0]) >= 6


async def test_a_standalone_is_refused_with_the_sentence_that_helps(tmp_path_factory: Any) -> None:
    import shutil
    import tempfile
    from urllib.parse import quote

    folder = Path(tempfile.mkdtemp(prefix="fhirtest-"))
    command = [
        find_program(),
        "--dbpath",
        folder,
        "--bind_ip",
        folder / "s.sock",
        "--port",
        "0",
        "--nounixsocket",
    ]
    with (folder / "log").open("wb") as log:
        mongod = subprocess.Popen(command, stdout=log)  # noqa: ASYNC220
    try:
        async with connect(f"mongodb://{quote(f'{folder}/s.sock', safe='')}/", selection_ms=20_000) as client:
            with pytest.raises(CannotStart, match="--replSet rs0"):
                await check(client)
    finally:
        mongod.kill()
        mongod.wait()
        shutil.rmtree(folder)


async def test_an_unreachable_or_senseless_uri_is_refused_with_words(tmp_path: Path) -> None:
    async with connect("mongodb://%2Fnothing%2Fhere.sock/?replicaSet=rs0", selection_ms=100) as client:
        with pytest.raises(CannotStart, match="does not answer"):
            await check(client)
    for uri in ("postgres://x", "mongodb://", "mongodb://a:b:c/"):
        with pytest.raises(CannotStart, match="form"):
            connect(uri)


def test_the_guarantees_stand_whatever_the_uri_says(mongodb_uri: str) -> None:
    client = connect(
        mongodb_uri + "&w=1&journal=false&retryWrites=false&readConcernLevel=local&readPreference=nearest"
    )
    assert client.write_concern.document == {"w": "majority", "j": True, "wtimeout": 10_000}
    assert client.read_concern.level == "majority"
    assert client.options.retry_writes
    assert client.read_preference.name == "Primary"


def test_a_mongod_that_cannot_be_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="FHIRSERVER_MONGOD"):
        find_program(tmp_path / "mongod")
