"""The processes of `fhirserver serve`: they start and end in order, and none outlives a killed server."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fhirserver.cli.local import free_port

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the embedded MongoDB is for Linux")


class Running:
    """A server of the stub application on its own data folder."""

    def __init__(self, folder: Path, *flags: str, wait: bool = True, **settings: str) -> None:
        self.port = free_port()
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FHIRSERVER_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.stub_application", "serve", "--port", str(self.port),
             "--data-dir", str(folder / "data"), *flags],
            cwd=ROOT, env=clean | {"PYTHONPATH": str(ROOT)} | settings, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.said = []
        for line in self.process.stdout if wait else ():
            self.said.append(line)
            if line.startswith("stop"):
                break

    def get(self, path: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path)
        body: dict[str, Any] = json.loads(connection.getresponse().read())
        connection.close()
        return body

    def family(self) -> list[int]:
        """All descendants."""
        found, new = list[int](), [self.process.pid]
        while new:
            children = Path(f"/proc/{new[0]}/task")
            lines = [task.joinpath("children").read_text() for task in children.iterdir()]
            new = new[1:] + [int(pid) for line in lines for pid in line.split()]
            found += [pid for pid in new if pid not in found]
        return found


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    servers: list[Running] = []

    def run(*flags: str, **more: Any) -> Running:
        servers.append(Running(tmp_path, *flags, **more))
        return servers[-1]

    yield run
    for server in servers:
        server.process.kill()
        server.process.communicate(timeout=30)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_server_says_where_it_is_and_finishes_what_it_accepted(start: Callable[..., Running]) -> None:
    server = start()
    assert f"FHIR    http://127.0.0.1:{server.port}/fhir" in "".join(server.said)
    assert server.get("/")["uri"].startswith("mongodb://%2F")
    family = server.family()
    assert len(family) >= 2  # a worker and mongod
    answers: list[dict[str, Any]] = []
    slow = threading.Thread(target=lambda: answers.append(server.get("/slow")))
    slow.start()
    wait_until(lambda: server.get("/")["slow"] == 1)
    server.process.send_signal(signal.SIGTERM)
    slow.join()
    assert len(answers) == 1
    assert server.process.wait(30) == 0
    wait_until(lambda: not any(map(is_alive, family)))


def test_nothing_outlives_a_killed_server_and_the_data_folder_serves_again(
    start: Callable[..., Running],
) -> None:
    server = start("--workers", "2")
    family = server.family()
    assert len(family) >= 3  # two workers and mongod
    server.process.kill()
    wait_until(lambda: not any(map(is_alive, family)))
    again = start()
    assert again.get("/")["pid"] not in family


def test_a_data_folder_has_one_server(
    start: Callable[..., Running], capfd: pytest.CaptureFixture[str]
) -> None:
    start()
    assert start().process.wait(30) == 1
    assert "uses the data folder" in capfd.readouterr().err


def test_a_port_in_use_is_named(start: Callable[..., Running], capfd: pytest.CaptureFixture[str]) -> None:
    server = start()
    assert start("--port", str(server.port)).process.wait(30) == 1
    assert f"port {server.port}" in capfd.readouterr().err


def a_mongod(folder: Path, *does: str) -> str:
    """A program in the place of mongod."""
    program = folder / "mongod"
    program.write_text("\n".join(("#!/bin/sh", *does)) + "\n")
    program.chmod(0o700)
    return str(program)


def test_a_mongod_that_cannot_start_ends_the_server_with_its_words(
    start: Callable[..., Running], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = a_mongod(tmp_path, "echo 'the disk is on fire'", "exit 1")
    server = start(FHIRSERVER_MONGOD=broken)
    assert server.process.wait(30) == 1
    assert "It said: the disk is on fire" in capfd.readouterr().err
    assert "ready" not in "".join(server.said)
    assert "ready" in "".join(start().said), "the data folder is free again, and the real one serves"


def test_a_server_can_be_stopped_while_mongod_is_still_starting(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    never = a_mongod(tmp_path, "exec sleep 600")
    server = start(wait=False, FHIRSERVER_MONGOD=never)
    wait_until(lambda: len(server.family()) >= 3)  # granian's resource tracker, the worker and mongod
    family = server.family()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    wait_until(lambda: not any(map(is_alive, family)))
