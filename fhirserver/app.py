"""The composition root: Settings -> Services -> one ASGI application. Nothing else builds parts."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fhirserver.access.gate import Gate
from fhirserver.engine.capabilities import capability_statement
from fhirserver.engine.routes import Router
from fhirserver.engine.stations import Engine
from fhirserver.http import logs
from fhirserver.http.cors import Cors
from fhirserver.http.fhir import FhirApp
from fhirserver.http.logs import AccessLog
from fhirserver.http.metrics import SNAPSHOT_EVERY, Metrics
from fhirserver.http.openapi import openapi_document
from fhirserver.http.render import Renderer, instant
from fhirserver.http.request import RequestReader
from fhirserver.http.site import build_site
from fhirserver.http.tracing import traced
from fhirserver.outcome import OutcomeError
from fhirserver.r4.definitions import Definitions
from fhirserver.r4.elements import Elements
from fhirserver.r4.jsontext import dump_json
from fhirserver.search.index import Indexer
from fhirserver.services import Services
from fhirserver.settings import Settings
from fhirserver.store import CannotStart, Store, check, connect
from fhirserver.store.compile import compile_restriction
from fhirserver.store.keys import signing_key
from fhirserver.store.migrate import migrate
from fhirserver.store.search import Searcher
from fhirserver.validation import Validator

Asgi = Callable[[Any, Any, Any], Awaitable[None]]


def now() -> int:
    """Microseconds since 1970 UTC, cut to whole milliseconds."""
    return time.time_ns() // 1_000_000 * 1000


def build_new_id() -> Callable[[], str]:
    """A source of logical ids: UUID version 7, rising within the process. Source: RFC 9562 section 5.7."""
    lock = threading.Lock()
    last = [0]

    def new_id() -> str:
        with lock:
            last[0] = stamp = max(time.time_ns() // 1_000_000 << 12 | int.from_bytes(os.urandom(1)), last[0] + 1)
        tail = int.from_bytes(os.urandom(8)) >> 2
        value = (stamp >> 12) << 80 | 7 << 76 | (stamp & 0xFFF) << 64 | 2 << 62 | tail
        text = f"{value:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    return new_id


@dataclass(frozen=True, slots=True)
class Application:
    """The running parts: the ASGI callable and what is behind it."""

    asgi: Asgi
    services: Services
    close: Callable[[], Awaitable[None]]
    ready: Callable[[], Awaitable[list[str]]]


async def build(settings: Settings) -> Application:
    """Build the parts and connect to the database.

    Raises CannotStart where the database cannot be used or has a schema of a newer server.
    """
    if settings.mongodb_uri is None:
        raise CannotStart("No MongoDB is configured; `fhirserver serve` starts the embedded one.")
    metrics = Metrics(settings.metrics_dir)
    client = connect(settings.mongodb_uri.get_secret_value(), listener=metrics.on_pool)
    await check(client)
    definitions = Definitions.load()
    elements = Elements.load()
    indexer = Indexer(definitions, settings.tenant, settings.fhir_base)
    store = Store.over(
        client,
        settings.database,
        tenant=settings.tenant,
        indexer=indexer,
        clock=now,
        compile=compile_restriction,
        on_batch=metrics.on_batch,
    )
    await migrate(store.database)
    await store.collections.prepare()
    searcher = Searcher(store.database, definitions, await signing_key(store.database, settings), settings.limits, settings.tenant)
    services = Services(settings, definitions, elements, Validator(elements), store, searcher, now, build_new_id())
    access_log = AccessLog()
    router = Router(frozenset(definitions.resource_types))
    engine = Engine(services, Gate())
    started = instant(now())
    statement = dump_json(capability_statement(services, started))
    fhir = FhirApp(
        RequestReader(services, router),
        engine,
        Renderer(settings.fhir_base, elements),
        Cors(frozenset(settings.cors_origins)),
        metrics,
        access_log,
        lambda: statement,
    )

    async def ready() -> list[str]:
        return await store.problems()

    site = build_site(ready, metrics, lambda: openapi_document(services), docs=settings.docs)
    snapshots = asyncio.create_task(_snapshots(metrics)) if settings.metrics_dir else None

    async def close() -> None:
        if snapshots is not None:
            snapshots.cancel()
            metrics.snapshot()
        access_log.flush()
        await store.close()
        await client.close()

    return Application(_front(fhir, site), services, close, ready)


async def _snapshots(metrics: Metrics) -> None:
    while True:
        metrics.snapshot()
        await asyncio.sleep(SNAPSHOT_EVERY)


def _front(fhir: Asgi, site: Asgi) -> Asgi:
    """The FHIR API below /fhir, everything else on the site."""

    async def front(scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        path: str = scope.get("path", "")
        if path.startswith("/fhir") and (len(path) == _PREFIX or path[_PREFIX] == "/"):
            await fhir(scope, receive, send)
        else:
            await site(scope, receive, send)

    return front


_PREFIX = len("/fhir")


class Served:
    """The ASGI application as the server process runs it: builds its parts at start-up, closes them at the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._application: Application | None = None

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        """Serve a request, or the lifespan of the process."""
        if scope["type"] == "http" and self._application is not None:
            await self._application.asgi(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def _lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        try:
            self._application = await build(self._settings)
        except (CannotStart, OutcomeError) as error:
            logging.getLogger("fhirserver.app").error("cannot start: %s", error)  # noqa: TRY400 - told, not traced
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        self._application = replace(
            self._application, asgi=traced(self._application.asgi, on=self._settings.tracing)
        )
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._application.close()
        await send({"type": "lifespan.shutdown.complete"})


def create() -> Asgi:
    """The application of a worker process; its settings come from environment and file."""
    settings = Settings()
    logs.configure(settings.log_level)
    return Served(settings)
