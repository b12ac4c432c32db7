"""The database of a command: the configured MongoDB, or the embedded one for as long as it is needed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from pydantic import SecretStr

from fhirserver.cli.terminal import CommandFailed
from fhirserver.outcome import OutcomeError
from fhirserver.settings import Settings
from fhirserver.store.client import CannotStart, socket_uri
from fhirserver.store.mongod import Mongod
from fhirserver.store.mongod_home import running_address, running_socket


@contextmanager
def database(settings: Settings, *, share: bool = True) -> Iterator[Settings]:
    """The settings with the URI of a MongoDB that is there while the block runs.

    A server that runs on the data folder lends its own, and its public URL, if `share`. Raises CommandFailed where the database
    cannot be used, by this function or inside the block.
    """
    if settings.mongodb_uri is None and share and (socket := running_socket(settings.data_dir)) is not None:
        lent: dict[str, Any] = {"mongodb_uri": SecretStr(socket_uri(str(socket)))}
        if (address := running_address(settings.data_dir)) is not None:
            lent["base_url"] = address[1]
        settings = settings.model_copy(update=lent)
    with coming_database(settings) as (reachable, up):
        up.result()
        yield reachable


@contextmanager
def coming_database(settings: Settings) -> Iterator[tuple[Settings, Future[None]]]:
    """The settings with the URI of a MongoDB that may still be starting, and what is done once it takes writes.

    For who has work to do meanwhile. The data folder is taken already. Raises CommandFailed where the database
    cannot be used, by this function or inside the block.
    """
    try:
        if settings.mongodb_uri is not None:
            there: Future[None] = Future()
            there.set_result(None)
            yield settings, there
        else:
            with _embedded(settings) as starting:
                yield starting
    except (CannotStart, OutcomeError) as problem:
        raise CommandFailed(str(problem)) from problem


@contextmanager
def _embedded(settings: Settings) -> Iterator[tuple[Settings, Future[None]]]:
    """The supervisor lives in a thread of its own: the caller's thread is free for anything that blocks."""
    mongod = Mongod(settings.data_dir, program=settings.mongod)
    with _loop_in_a_thread() as loop:
        uri = asyncio.run_coroutine_threadsafe(mongod.open(), loop).result()
        starting = asyncio.run_coroutine_threadsafe(_begin(mongod), loop).result()
        try:
            up = asyncio.run_coroutine_threadsafe(_outcome(starting), loop)
            yield settings.model_copy(update={"mongodb_uri": SecretStr(uri)}), up
        finally:
            asyncio.run_coroutine_threadsafe(_end(starting, mongod), loop).result()


@contextmanager
def _loop_in_a_thread() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="mongod supervisor", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _begin(mongod: Mongod) -> asyncio.Task[str]:
    return asyncio.create_task(mongod.start())


async def _outcome(starting: asyncio.Task[str]) -> None:
    try:
        await asyncio.shield(starting)
    except TimeoutError as problem:
        raise CannotStart("mongod did not become ready in time; its log is in the data folder") from problem


async def _end(starting: asyncio.Task[str], mongod: Mongod) -> None:
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await mongod.stop()
