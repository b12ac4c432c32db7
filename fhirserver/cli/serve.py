"""`fhirserver serve`: MongoDB, the workers, the demo clinic, and a line that says what to try.

This process supervises: mongod in a thread of its own, the workers by granian in the main thread. They start
side by side, for a worker's imports take as long as mongod; so this process imports what it needs itself and no
more. Both end with it: in order on SIGTERM and SIGINT (first the workers, which finish what they accepted), by the kernel's
hand where it is killed.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import shutil
import socket
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path

from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from fhirserver import __version__
from fhirserver.cli.client import FhirClient
from fhirserver.cli.config import UsageError, environment, load_settings
from fhirserver.cli.database import coming_database
from fhirserver.cli.terminal import CommandFailed, say
from fhirserver.cli.worker import load_application
from fhirserver.http import logs
from fhirserver.http.stop import CLOSE_SECONDS
from fhirserver.settings import Settings, is_loopback
from fhirserver.store.mongod_home import Home

APPLICATION = "fhirserver.app:create"
_READY_SECONDS = 120.0
_SPARE_SECONDS = 5  # for what a worker does after the time that it has to stop
_HEADER_SECONDS = 10  # for a request's line and headers; also how long an idle connection is kept


def run(options: argparse.Namespace) -> int:
    """Serves until it is told to stop."""
    started = time.monotonic()
    settings = load_settings(options)
    if settings.open_mode and not is_loopback(settings.host):
        raise UsageError(
            f"{settings.host} can be reached from other machines, and in open mode the API would be open to all "
            "of them. Serve on 127.0.0.1, or without --open."
        )
    _check_port(settings)
    logs.configure(settings.log_level)
    with coming_database(settings) as (reachable, up):
        shared = reachable.model_copy(update={"metrics_dir": _metrics_dir(settings)})
        os.environ.update(environment(shared))  # the workers read their settings from here
        multiprocessing.set_start_method("spawn", force=True)  # this process has threads: it must not fork
        if settings.mongodb_uri is None:
            Home(settings.data_dir).tell(_root(settings), settings.root_url)
        announcer = threading.Thread(
            target=_announce, args=(settings, reachable, options.demo, started), name="announcer", daemon=True
        )
        announcer.start()
        _serve(reachable, up)
    return 0


def _check_port(settings: Settings) -> None:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as problem:
            raise CommandFailed(
                f"port {settings.port} of {settings.host} cannot be used ({problem.strerror}). Another "
                "server may run there already; choose another port, such as --port 8080."
            ) from None


def _metrics_dir(settings: Settings) -> Path | None:
    """An empty folder in which several workers share their metrics; one worker needs none."""
    if settings.workers == 1:
        return None
    folder = settings.metrics_dir or settings.data_dir.absolute() / "metrics"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _serve(settings: Settings, up: Future[None]) -> None:
    """Runs the workers. `up`: done once MongoDB takes writes; where it cannot start, the workers are ended."""
    database_up = multiprocessing.Event()
    server = Server(
        APPLICATION,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        workers=settings.workers,
        loop=Loops.auto,  # uvloop where it is installed
        http=HTTPModes.auto,
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=math.ceil(settings.stop_seconds + CLOSE_SECONDS) + _SPARE_SECONDS,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADER_SECONDS * 1000),
        log_level=LogLevels.warning,
        log_access=False,
    )

    def started(up: Future[None]) -> None:
        if up.cancelled() or up.exception() is not None:
            server.signal_handler_interrupt()  # type: ignore[no-untyped-call]
        else:
            database_up.set()

    up.add_done_callback(started)
    try:
        server.serve(target_loader=partial(load_application, os.getpid(), database_up))
    except SystemExit as ended:
        if ended.code:
            raise CommandFailed("a worker ended at its start; what it said stands above") from None
    if up.done():
        up.result()


def _token_command(settings: Settings) -> str:
    """The command that mints a token for this server, as it can be typed where this one was started."""
    program = sys.argv[0] if Path(sys.argv[0]).name == "fhirserver" else "fhirserver"
    folder = "" if settings.data_dir == Path(".data") else f" --data-dir '{settings.data_dir}'"
    return f"{program} token --scope 'system/*.rs'{folder}"


def _show(settings: Settings, reachable: Settings, root: str) -> None:
    """Fills a new server with the demo clinic, and says who can sign in."""
    from fhirserver.cli.demo_access import open_doors, say_doors
    from fhirserver.cli.fill import fill
    from fhirserver.cli.local import own_token

    with suppress(CommandFailed):
        able = FhirClient(f"{root}/fhir", token=own_token(reachable))
        if fill(able, settings.data_dir):
            open_doors(reachable, able)
    say_doors(settings.root_url, settings.data_dir)


def _root(settings: Settings) -> str:
    """Where the server answers on this machine."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{settings.port}"


def _announce(settings: Settings, reachable: Settings, demo: bool, started: float) -> None:
    """Says where things are once the server is ready, and fills it with the demo clinic if that is wanted."""
    root = _root(settings)
    client = FhirClient(f"{root}/fhir")
    while not client.is_ready():
        if time.monotonic() - started > _READY_SECONDS:
            return
        time.sleep(0.02)
    external = settings.mongodb_uri is not None
    say(f"fhirserver {__version__} is ready after {time.monotonic() - started:.1f} s")
    say(f"  FHIR    {root}/fhir")
    if settings.serves_docs:
        say(f"  API     {root}/docs")
    own = f"{settings.data_dir.absolute()} (own MongoDB)"
    say(f"  data    {'the MongoDB of the settings' if external else own}")
    say(f"  access  {'open, from this machine only (--open)' if settings.open_mode else 'by token'}")
    if demo:
        _show(settings, reachable, root)
    token = f' -H "Authorization: Bearer $({_token_command(settings)})"'
    if settings.open_mode:
        token = ""
    say(f"try       curl{token} '{root}/fhir/Patient?name=silva&_count=2&_pretty=true'")
    say("stop      Ctrl+C")
