"""The database of a command: the configured MongoDB, or the embedded one for as long as it is needed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import SecretStr

from fhirserver.cli.terminal import CommandFailed
from fhirserver.outcome import OutcomeError
from fhirserver.settings import Settings
from fhirserver.store.client import CannotStart, socket_uri
from fhirserver.store.mongod import Mongod
from fhirserver.store.mongod_home import running_socket


@contextmanager
def database(settings: Settings, *, share: bool = True) -> Iterator[Settings]:
    """The settings with the URI of a MongoDB that is there while the block runs.

    A server that runs on the data folder lends its own, if `share`. Raises CommandFailed where the database
    cannot be used, by this function or inside the block.
    """
    try:
        if settings.mongodb_uri is not None:
            yield settings
        elif share and (socket := running_socket(settings.data_dir)) is not None:
            yield settings.model_copy(update={"mongodb_uri": SecretStr(socket_uri(str(socket)))})
        else:
            with _embedded(settings) as started:
                yield started
    except (CannotStart, OutcomeError) as problem:
        raise CommandFailed(str(problem)) from problem


@contextmanager
def _embedded(settings: Settings) -> Iterator[Settings]:
    """The supervisor lives in a thread of its own: the caller's thread is free for anything that blocks."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="mongod supervisor", daemon=True)
    thread.start()
    mongod = Mongod(settings.data_dir, program=settings.mongod)
    try:
        uri = asyncio.run_coroutine_threadsafe(mongod.start(), loop).result()
        yield settings.model_copy(update={"mongodb_uri": SecretStr(uri)})
    except TimeoutError as problem:
        raise CommandFailed("mongod did not become ready in time; its log is in the data folder") from problem
    finally:
        asyncio.run_coroutine_threadsafe(mongod.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
