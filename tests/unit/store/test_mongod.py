"""The embedded MongoDB lives and dies with its server, and nothing acknowledged is lost on the way."""

from __future__ import annotations

import asyncio
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fhirserver.context import Version
from fhirserver.outcome import Unavailable
from fhirserver.store import CannotStart, Mongod, Store, connect
from fhirserver.store.mongod_home import Home
from tests.kit.teardown import ended
from tests.unit.store.conftest import EVERYTHING, SmallIndexer, a_patient

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).resolve().parents[3]

SERVER = """
import asyncio, sys
from pathlib import Path
from fhirserver.store import Mongod, CannotStart
async def main():
    mongod = Mongod(Path(sys.argv[1]), cache_gb=0.25)
    try:
        await mongod.start()
    except CannotStart as error:
        print(error, flush=True)
        return 3
    print(mongod.pid, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await mongod.stop()
sys.exit(asyncio.run(main()))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="fhirtest-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def mongod(folder: Path, anyio_backend: str) -> AsyncIterator[Mongod]:
    mongod = Mongod(folder, cache_gb=0.25)
    await mongod.start()
    yield mongod
    await ended(mongod.stop())


def start_server(folder: Path) -> subprocess.Popen[str]:
    """A process that supervises a mongod until its standard input is closed."""
    return subprocess.Popen(
        [sys.executable, "-c", SERVER, str(folder)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


def said_by(server: subprocess.Popen[str]) -> str:
    assert server.stdout is not None
    return server.stdout.readline().strip()


def ends(pid: int, seconds: float = 20) -> bool:
    """Wait for the end of a process that is not our child."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], seconds)[0])
    finally:
        os.close(process)


async def test_a_killed_server_takes_mongod_with_it_and_the_next_finds_the_data(folder: Path) -> None:
    server = start_server(folder)
    pid = int(said_by(server))
    uri = Mongod(folder)  # not started: only to know the socket
    uri._socket = uri._home.socket()
    async with connect(uri.uri) as client:
        await client["x"]["y"].insert_one({"_id": 1})
    server.kill()
    server.communicate()
    assert await asyncio.to_thread(ends, pid)
    again = start_server(folder)
    try:
        assert int(said_by(again)) != pid
        async with connect(uri.uri) as client:
            assert await client["x"]["y"].count_documents({}) == 1
    finally:
        await asyncio.to_thread(again.communicate, "")
    assert again.returncode == 0


async def test_an_orphan_is_ended_at_the_next_start_and_a_stranger_is_not(folder: Path) -> None:
    mongod = Mongod(folder, cache_gb=0.25)
    await mongod.start()
    assert mongod._watch is not None
    assert mongod._process is not None
    mongod._watch.cancel()
    mongod._home.close()  # as if the server were gone and its signal lost
    orphan = mongod._process
    successor = Mongod(folder, cache_gb=0.25)
    await successor.start()
    assert await asyncio.wait_for(orphan.wait(), 10) is not None
    await successor.stop()
    stranger = await asyncio.create_subprocess_exec("sleep", "60")
    (folder / "mongo" / "mongod.pid").write_text(
        f"{stranger.pid}\n"
    )  # its number was given to another process
    third = Mongod(folder, cache_gb=0.25)
    await third.start()
    assert stranger.returncode is None
    stranger.kill()
    await stranger.wait()
    await third.stop()


async def test_two_servers_on_one_folder_get_a_clear_error(mongod: Mongod, folder: Path) -> None:
    with pytest.raises(CannotStart, match=f"process {os.getpid()}"):
        await Mongod(folder).start()
    second = start_server(folder)
    said, _ = await asyncio.to_thread(second.communicate, "")
    assert second.returncode == 3
    assert "Another server" in said
    assert mongod.pid is not None, "the first one is not disturbed"


async def test_it_listens_on_a_private_socket_and_no_port(mongod: Mongod, folder: Path) -> None:
    assert (folder / "mongo").stat().st_mode & 0o777 == 0o700
    sockets = [path for path in (folder / "mongo").iterdir() if path.is_socket()]
    assert [path.stat().st_mode & 0o077 for path in sockets] == [0]
    assert mongod.pid is not None
    assert listening_ports(mongod.pid) == []


def listening_ports(pid: int) -> list[str]:
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            inodes.add(str(link.readlink()))
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()
    ]
    return [fields[1] for fields in lines if f"socket:[{fields[9]}]" in inodes]


async def test_a_deep_data_folder_gets_its_socket_elsewhere_and_keeps_it(folder: Path) -> None:
    deep = folder / ("d" * 60) / ("e" * 60)
    for _ in range(2):
        mongod = Mongod(deep, cache_gb=0.25)
        uri = await mongod.start()
        async with connect(uri) as client:
            await client["x"]["y"].insert_one({})
            count = await client["x"]["y"].count_documents({})
        await mongod.stop()
    assert count == 2
    elsewhere = Path((deep / "mongo" / "socket").read_text().strip()).parent
    assert elsewhere.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(elsewhere)
    mongod = Mongod(deep, cache_gb=0.25)  # /tmp was cleaned: a new place, told to the replica set
    async with connect(await mongod.start()) as client:
        assert await client["x"]["y"].count_documents({}) == 2
    await mongod.stop()
    shutil.rmtree(Path((deep / "mongo" / "socket").read_text().strip()).parent)


async def test_a_moved_data_folder_starts(folder: Path) -> None:
    mongod = Mongod(folder / "a", cache_gb=0.25)
    async with connect(await mongod.start()) as client:
        await client["x"]["y"].insert_one({})
    await mongod.stop()
    (folder / "a").rename(folder / "b")
    moved = Mongod(folder / "b", cache_gb=0.25)
    async with connect(await moved.start()) as client:
        assert await client["x"]["y"].count_documents({}) == 1
    await moved.stop()


async def test_a_mongod_that_cannot_start_says_why(folder: Path) -> None:
    with pytest.raises(CannotStart, match="It said"):
        await Mongod(folder, options=("--nonsense",)).start()
    await Mongod(folder, cache_gb=0.25).stop()


@pytest.fixture
async def store(mongod: Mongod) -> AsyncIterator[Store]:
    client = connect(mongod.uri)
    yield Store.over(client, "fhir", tenant="default", indexer=SmallIndexer())
    await ended(client.close())


async def test_what_was_acknowledged_survives_kill_9_of_mongod(mongod: Mongod, store: Store) -> None:
    await store.create("Patient", "shared", a_patient(count=0), permission=EVERYTHING)
    created: dict[str, bytes | None] = {}
    added, stop, enough = 0, asyncio.Event(), asyncio.Event()

    async def create_all(worker: int) -> None:
        n = 0
        while not stop.is_set():
            id, n = f"w{worker}-{n}", n + 1
            try:
                created[id] = (await store.create("Patient", id, a_patient(id), permission=EVERYTHING)).raw
            except Unavailable:
                await mongod.wait_up()
            if len(created) >= 200:
                enough.set()

    async def add_all() -> None:
        nonlocal added

        async def add_one(current: Version | None) -> Any:
            resource = json.loads(current.raw or b"") if current else {}
            return {**resource, "count": resource["count"] + 1}

        while not stop.is_set():
            try:
                await store.modify("Patient", "shared", add_one, permission=EVERYTHING, method="PUT")
                added += 1
            except Unavailable:
                await mongod.wait_up()

    restarted: asyncio.Queue[None] = asyncio.Queue()
    mongod._on_restart = lambda: restarted.put(None)
    async with asyncio.TaskGroup() as group:
        for worker in range(16):
            group.create_task(create_all(worker))
        for _ in range(4):
            group.create_task(add_all())
        for kills in (1, 2):
            enough.clear()
            created_before = len(created)
            await enough.wait()
            assert mongod.pid is not None
            os.kill(mongod.pid, signal.SIGKILL)
            await restarted.get()
            assert mongod.restarts == kills
            assert len(created) >= created_before
        stop.set()

    for id, raw in created.items():
        assert (await store.read("Patient", id, permission=EVERYTHING)).raw == raw
    shared = await store.read("Patient", "shared", permission=EVERYTHING)
    count = json.loads(shared.raw or b"")["count"]
    assert added <= count <= added + 8, "at most what was under way at a kill was done without an answer"
    assert shared.vid == count + 1
    kept = (
        await store.database["history"]
        .find({"k": "default/Patient/shared"}, {"v": 1})
        .sort({"v": 1})
        .to_list()
    )
    assert [version["v"] for version in kept if version["v"] < shared.vid] == list(range(1, shared.vid))


async def test_calls_during_the_gap_are_unavailable_soon_and_work_after_it(
    mongod: Mongod, store: Store
) -> None:
    await store.create("Patient", "p", a_patient(), permission=EVERYTHING)
    assert mongod._watch is not None
    assert mongod._process is not None
    mongod._watch.cancel()  # nobody starts it again before we do
    mongod._process.kill()
    await mongod._process.wait()
    calls = (
        store.read("Patient", "p", permission=EVERYTHING),
        store.create("Patient", "q", a_patient(), permission=EVERYTHING),
        store.history(count=1, permission=EVERYTHING),
        store.transaction(lambda bound: bound.create("Patient", "r", a_patient(), permission=EVERYTHING)),
    )
    async with asyncio.timeout(8):
        errors = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in errors] == [Unavailable] * 4
    assert {error.retry_after for error in errors if isinstance(error, Unavailable)} == {1}
    await mongod._launch()
    assert (await store.read("Patient", "p", permission=EVERYTHING)).vid == 1
    assert (await store.create("Patient", "q", a_patient(), permission=EVERYTHING)).vid == 1


class Ending:
    """Stands in for the process of mongod; ends when it is told."""

    def __init__(self) -> None:
        self.returncode: int | None = None
        self._ended = asyncio.Event()

    def end(self) -> None:
        self.returncode = 0
        self._ended.set()

    terminate = kill = end

    async def wait(self) -> int:
        await self._ended.wait()
        return 0


@pytest.mark.parametrize("turns", range(8))
async def test_it_stops_also_where_mongod_ends_at_that_moment(folder: Path, turns: int) -> None:
    mongod, process, again = Mongod(folder), Ending(), asyncio.Event()

    async def launch() -> None:
        again.set()
        await asyncio.Event().wait()

    mongod._launch = launch  # type: ignore[method-assign]
    mongod._process = process  # type: ignore[assignment]
    mongod._watch = asyncio.create_task(mongod._supervise())
    await asyncio.sleep(0.01)
    process.end()
    for _ in range(turns):  # of the event loop, between the end of mongod and the stop
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await mongod.stop()
    assert not again.is_set()


async def test_a_mongod_that_ends_unasked_is_started_again(folder: Path) -> None:
    mongod, process, again = Mongod(folder), Ending(), asyncio.Event()

    async def launch() -> None:
        again.set()
        mongod._process = Ending()  # type: ignore[assignment]

    mongod._launch = launch  # type: ignore[method-assign]
    mongod._process = process  # type: ignore[assignment]
    mongod._watch = asyncio.create_task(mongod._supervise())
    process.end()
    async with asyncio.timeout(5):
        await again.wait()
        await mongod.stop()


@pytest.mark.parametrize(
    "name", ["Data", "Dados da clínica", "a:b", "x" * 120], ids=["capitals", "blanks", "colon", "long"]
)
async def test_a_data_folder_of_any_name_serves(folder: Path, name: str) -> None:
    mongod = Mongod(folder / name, cache_gb=0.25)
    uri = await mongod.start()
    try:
        async with connect(uri) as client:  # finds the primary under the name that the replica set gives it
            await client["x"]["y"].insert_one({"_id": 1})
    finally:
        await mongod.stop()


def test_a_plain_folder_holds_its_own_socket(folder: Path) -> None:
    # the positive control: only other names need a socket elsewhere
    plain = folder.parent / "fhirtest-plain"
    assert Home(plain).socket() == plain / "mongo" / "mongo.sock"
