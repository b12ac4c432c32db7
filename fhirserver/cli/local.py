"""Which server a command talks to: the one it was given, the one that runs here, or one started for it."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from fhirserver.cli.client import FhirClient, read_token
from fhirserver.cli.config import environment, load_settings
from fhirserver.cli.database import database
from fhirserver.cli.processes import die_with_parent
from fhirserver.cli.terminal import CommandFailed, note
from fhirserver.settings import Settings
from fhirserver.store.mongod_home import running_address

_START_SECONDS = 90.0
_STOP_SECONDS = 60.0
_SCOPE = "system/*.cruds system/AuditEvent.crs"
_TOKEN_SECONDS = 24 * 3600


@contextmanager
def server(options: argparse.Namespace) -> Iterator[tuple[FhirClient, Settings]]:
    """A client of the server that `options` (--server, --token, database flags) name, and the settings."""
    settings, token = load_settings(options), read_token(options.token)
    base = options.server or base_of(settings)
    if FhirClient(base).is_there():
        if token is None and not options.server:
            with database(settings) as reachable:
                token = own_token(reachable)
        yield FhirClient(base, token=token), settings
    elif options.server:
        raise CommandFailed(f"no server answers at {options.server}")
    else:
        with _started(settings) as base, database(settings) as reachable:
            yield FhirClient(base, token=token or own_token(reachable)), settings


def base_of(settings: Settings) -> str:
    """Where a server on the data folder answers, whatever port it was given; else where one would."""
    address = None if settings.mongodb_uri else running_address(settings.data_dir)
    return settings.fhir_base if address is None else f"{address[0]}/fhir"


def own_token(settings: Settings) -> str | None:
    """A token for the server's own commands, which reach its database anyway; None in open mode."""
    if settings.open_mode:
        return None
    from fhirserver.app import mint_token

    return asyncio.run(mint_token(settings, scope=_SCOPE, ttl=_TOKEN_SECONDS))


@contextmanager
def _started(settings: Settings) -> Iterator[str]:
    """Runs a server on the data folder while the block runs; gives its FHIR base URL."""
    port = free_port()
    client = FhirClient(f"http://127.0.0.1:{port}/fhir")
    note(f"no server runs at {settings.fhir_base}; starting one on {settings.data_dir}")
    variables = dict(environment(settings)) | {"FHIRSERVER_BASE_URL": ""}
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "fhirserver",
            "serve",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--no-demo",
        ],
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        preexec_fn=partial(die_with_parent, os.getpid()),
    )
    try:
        until = time.monotonic() + _START_SECONDS
        while not client.is_ready():
            if process.poll() is not None or time.monotonic() > until:
                raise CommandFailed("the server could not be started; what it said stands above")
            time.sleep(0.05)
        yield client.base
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
        process.kill()


def free_port() -> int:
    """A TCP port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
