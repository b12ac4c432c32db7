"""The embedded MongoDB: a real mongod under supervision, on a Unix socket and no TCP port.

A replica set of one, for transactions and change streams. It ends with the server, even when that is killed:
the kernel tells it (PR_SET_PDEATHSIG), and what is left all the same is ended at the next start. When mongod
dies, it is started again; meanwhile calls wait up to two seconds and then are Unavailable.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

from fhirserver.store.client import REPLICA_SET, CannotStart, Client, socket_uri
from fhirserver.store.mongod_home import Home, find_program

_START_SECONDS = 60.0  # a crash recovery may take a while
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.02
_ROTATE_SECONDS = 60.0
_LONGEST_PAUSE = 5.0
_STEADY_SECONDS = 30.0  # a mongod that lived this long is started again without a pause
_OPLOG_MB = 1024
_NOT_INITIATED = 94

# Runs before mongod in its process. The signal comes when the *thread* that started the process ends, so the
# supervisor's event loop thread must be one that lives as long as the server. A parent that died in between
# is noticed by its number.
_SHIM = """
import ctypes, os, signal, sys
ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""

_PARAMETERS: Mapping[str, str] = MappingProxyType(
    {
        "diagnosticDataCollectionEnabled": "false",
        "shutdownTimeoutMillisForSignaledShutdown": "100",  # nobody could take over
    }
)

_log = logging.getLogger(__name__)


class Mongod:
    """Supervises one mongod for `data_dir`.

    `program`: settings.mongod. `cache_gb`: WiredTiger's cache; None: an eighth of the memory, 0.25 to 2.
    `parameters`: further --setParameter. `on_restart`: called after mongod was started again.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        program: Path | None = None,
        cache_gb: float | None = None,
        parameters: Mapping[str, str] = MappingProxyType({}),
        options: tuple[str, ...] = (),
        on_restart: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._home = Home(data_dir)
        self._given_program = program
        self._cache_gb = cache_gb if cache_gb is not None else _default_cache_gb()
        self._parameters = {**_PARAMETERS, **parameters}
        self._options = options
        self._on_restart = on_restart
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._program: Path | None = None  # known while the data folder is taken
        self._socket = Path()
        self._ready = asyncio.Event()
        self.restarts = 0

    @property
    def uri(self) -> str:
        """The URI for clients; also those of other processes."""
        return socket_uri(str(self._socket))

    @property
    def pid(self) -> int | None:
        """The process id of mongod, None while it is down."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def up(self) -> bool:
        """True while mongod is ready for work, as far as the supervisor knows."""
        return self._ready.is_set()

    async def wait_up(self) -> None:
        """Wait until mongod is ready for work."""
        await self._ready.wait()

    async def open(self) -> str:
        """Take the data folder; returns the URI that mongod will have once it is started. Raises CannotStart."""
        program = find_program(self._given_program)
        await asyncio.to_thread(self._home.open)
        try:
            if await asyncio.to_thread(self._home.end_orphan):
                _log.warning("ended a mongod that an earlier server left behind")
            self._socket = self._home.socket()
        except BaseException:
            self._home.close()
            raise
        self._program = program
        return self.uri

    async def start(self) -> str:
        """Start mongod (`open` comes first) and wait until it takes writes; returns the URI. Raises CannotStart."""
        if self._program is None:
            await self.open()
        try:
            await self._launch()
        except BaseException:
            await self._end()
            self._close()
            raise
        self._watch = asyncio.create_task(self._supervise(), name="mongod supervisor")
        return self.uri

    async def stop(self) -> None:
        """Stop supervising and mongod, cleanly."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
            self._watch = None
        await self._end()
        self._close()

    def _close(self) -> None:
        self._program = None
        self._home.close()

    async def _launch(self) -> None:
        self._home.rotate_log()
        with self._home.output.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", "-c", _SHIM, str(os.getpid()), str(self._program), *self._arguments(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the server, which then stops mongod in order
            )  # fmt: skip
        self._process = process
        self._home.remember(process.pid)
        async with asyncio.timeout(_START_SECONDS):
            await self._until_primary(process)
        self._ready.set()

    def _arguments(self) -> list[str]:
        arguments = [
            "--dbpath", str(self._home.database),
            "--replSet", REPLICA_SET,
            "--bind_ip", str(self._socket),
            "--port", "0",
            "--nounixsocket",  # no second one in /tmp; the one of --bind_ip stays
            "--filePermissions", "0600",
            "--networkMessageCompressors", "disabled",
            "--wiredTigerCacheSizeGB", f"{self._cache_gb:.2f}",
            "--oplogSize", str(_OPLOG_MB),
            "--logpath", str(self._home.log),
            "--logappend",
            "--logRotate", "reopen",
            "--quiet",
            *self._options,
        ]  # fmt: skip
        for name, value in self._parameters.items():
            arguments += ["--setParameter", f"{name}={value}"]
        return arguments

    async def _until_primary(self, process: asyncio.subprocess.Process) -> None:
        uri = f"mongodb://{quote(str(self._socket), safe='')}/?directConnection=true"
        client: Client = AsyncMongoClient(uri, serverSelectionTimeoutMS=1000, connectTimeoutMS=1000)
        try:
            while process.returncode is None and not await self._is_primary(client):  # noqa: ASYNC110  - it cannot tell us
                await asyncio.sleep(_POLL_SECONDS)
        finally:
            await client.close()
        if process.returncode is not None:
            raise CannotStart(f"mongod ended at its start. {self._last_words()}")

    async def _is_primary(self, client: Client) -> bool:
        if not self._socket.exists():
            return False
        with suppress(PyMongoError):
            hello = await client.admin.command("hello")
            if hello.get("isWritablePrimary"):
                return str(self._socket) in hello["hosts"] or await self._configure(client)
            if not hello.get("secondary"):
                await self._configure(client)
        return False

    async def _configure(self, client: Client) -> bool:
        """Initiate the replica set, or tell it its new socket after the data folder was moved."""
        member = {"_id": 0, "host": str(self._socket)}
        try:
            config: dict[str, Any] = (await client.admin.command("replSetGetConfig"))["config"]
        except OperationFailure as error:
            if error.code != _NOT_INITIATED:
                raise
            await client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [member]})
            return False
        if [found["host"] for found in config["members"]] != [member["host"]]:
            config |= {"members": [{**config["members"][0], **member}], "version": config["version"] + 1}
            await client.admin.command("replSetReconfig", config, force=True)
        return False

    async def _supervise(self) -> None:
        pause = 0.0
        while True:
            started = asyncio.get_running_loop().time()
            await self._until_exit()
            self._ready.clear()
            lived = asyncio.get_running_loop().time() - started
            pause = (
                0.0
                if lived > _STEADY_SECONDS
                else min(max(0.1, pause * 2), _LONGEST_PAUSE)
                if pause
                else 0.05
            )
            _log.error("mongod ended and is started again", extra={"exit_code": self._exit_code()})
            await asyncio.sleep(pause)
            try:
                await self._launch()
            except (CannotStart, TimeoutError, OSError):
                _log.exception("mongod could not be started again")
                await self._end()
                continue
            self.restarts += 1
            if self._on_restart is not None:
                await self._on_restart()

    async def _until_exit(self) -> None:
        process = self._process
        while process is not None and process.returncode is None:
            with suppress(TimeoutError):
                # not wait_for: that of Python 3.11 may lose a cancellation
                async with asyncio.timeout(_ROTATE_SECONDS):
                    await process.wait()
            if process.returncode is None and self._home.rotate_log():
                process.send_signal(signal.SIGUSR1)

    async def _end(self) -> None:
        process, self._process = self._process, None
        self._ready.clear()
        if process is None:
            return
        for send in (process.terminate, process.kill):
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    send()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_STOP_SECONDS):
                        await process.wait()
        self._home.forget()

    def _exit_code(self) -> int | None:
        return self._process.returncode if self._process is not None else None

    def _last_words(self) -> str:
        """Why mongod ended, from its own output and log."""
        with suppress(OSError, IndexError):
            lines = self._home.output.read_text(errors="replace").strip().splitlines()
            if lines and not lines[-1].startswith("{"):
                return f"It said: {lines[-1][:300]}"
        with suppress(OSError):
            for line in reversed(self._home.log.read_text(errors="replace").splitlines()[-200:]):
                with suppress(ValueError):
                    entry = json.loads(line)
                    if entry.get("s") in ("F", "E"):
                        cause = entry.get("attr", {}).get("error", "")
                        return f"It said: {entry.get('msg')} {cause} (more in {self._home.log})"[:400]
        return f"Its log is {self._home.log}."


def _default_cache_gb() -> float:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):
        memory = min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(2.0, max(0.25, memory / 8 / 2**30))
