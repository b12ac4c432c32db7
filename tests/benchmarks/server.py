"""Starts and stops what is measured: the server on a temporary data folder, and the bare app."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.client import HOST
from tests.benchmarks.processes import Family

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN = 120.0
STOP_WITHIN = 60.0


class NotStarted(RuntimeError):
    """The program to measure did not come up; the text holds the end of its output."""


def free_port() -> int:
    """A TCP port of loopback that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def status_of(port: int, path: str) -> int:
    """The status of one GET on a connection of its own; 0 where there is no answer."""
    try:
        with socket.create_connection((HOST, port), 5) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n".encode())
            head = connection.recv(64)
        return int(head[9:12])
    except (OSError, ValueError):
        return 0


def environment() -> dict[str, str]:
    """The environment without settings of the developer's own server, so that defaults are measured, in open mode.

    FHIRSERVER_MONGOD stays: it only says where the database program is.
    """
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith("FHIRSERVER_") or k == "FHIRSERVER_MONGOD"
    }
    return kept | {"PYTHONPATH": str(ROOT), "FHIRSERVER_OPEN_MODE": "true"}


@dataclass
class Program:
    """A started program. `ready`: seconds from start to the first good answer."""

    command: list[str]
    port: int
    probe: str
    data_dir: Path
    log: Path
    process: subprocess.Popen[bytes] | None = None
    ready: float = 0.0
    family: Family = field(init=False)

    def start(self) -> None:
        """Start and wait until it is ready; raises NotStarted."""
        started = time.perf_counter()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.data_dir,
                env=environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.family = Family(self.process.pid, str(self.data_dir))
        while status_of(self.port, self.probe) != 200:
            if self.process.poll() is not None or time.perf_counter() - started > READY_WITHIN:
                self.stop()
                raise NotStarted(f"{' '.join(self.command)}\n{self.tail()}")
            time.sleep(0.005)
        self.ready = time.perf_counter() - started

    def stop(self) -> float:
        """Stop it gracefully, by force after 60 s; seconds that it took."""
        if self.process is None:
            return 0.0
        started = time.perf_counter()
        self.process.terminate()
        try:
            self.process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None
        return time.perf_counter() - started

    def tail(self) -> str:
        """The end of what it printed."""
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""


@contextlib.contextmanager
def server(workers: int, log: Path, module: str = "fhirserver") -> Iterator[Program]:
    """The server on a new data folder, which is removed at the end. `log`: where its output is added.

    `module`: what is started; another one than the server itself for a variant of it.
    """
    folder = Path(tempfile.mkdtemp(prefix="fhir-bench-"))
    port = free_port()
    command = [
        sys.executable,
        "-m",
        module,
        "serve",
        "--port",
        str(port),
        "--data-dir",
        str(folder / "data"),
    ]
    command += ["--workers", str(workers), "--no-demo"]
    program = Program(command, port, "/readyz", folder, log)
    try:
        program.start()
        yield program
    finally:
        program.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def bare(workers: int) -> Iterator[Program]:
    """The bare app on the same ASGI server."""
    folder = Path(tempfile.mkdtemp(prefix="fhir-bench-"))
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "granian",
        "--interface",
        "asgi",
        "--host",
        HOST,
        "--port",
        str(port),
        "--no-ws",
    ]
    command += ["--workers", str(workers), "--log-level", "warning", "tests.benchmarks.bare:app"]
    program = Program(command, port, "/", folder, folder / "bare.log")
    try:
        program.start()
        yield program
    finally:
        program.stop()
        shutil.rmtree(folder, ignore_errors=True)
