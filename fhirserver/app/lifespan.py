"""A worker process, from start to end."""

from __future__ import annotations

import gc
import logging
from collections.abc import MutableMapping
from typing import Any

from fhirserver.app.api import Asgi
from fhirserver.app.application import Application, build
from fhirserver.http import logs
from fhirserver.http.stop import bound_stop
from fhirserver.http.tracing import traced
from fhirserver.outcome import OutcomeError
from fhirserver.settings import Settings
from fhirserver.store import CannotStart

_LOG = logging.getLogger("fhirserver.app")


class Served:
    """The ASGI application as the server process runs it: builds its parts at start-up, closes them at the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._application: Application | None = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
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
            _LOG.error("cannot start: %s", error)
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        gc.freeze()  # definitions and tables stay; the collector need not walk them again and again
        self._application.asgi = traced(self._application.asgi, on=self._settings.tracing)
        in_time = bound_stop(self._settings.stop_seconds, self._application.close)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        in_time()
        await self._application.close()
        await send({"type": "lifespan.shutdown.complete"})


def create() -> Asgi:
    """The application of a worker process; its settings come from environment and file."""
    settings = Settings()
    logs.configure(settings.log_level)
    return Served(settings)
