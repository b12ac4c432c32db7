"""What runs in a worker process before its first request. Imports little: each worker pays for it at its start."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable
from importlib import import_module
from multiprocessing.synchronize import Event
from typing import Any

from fhirserver.cli.processes import die_with_parent

_DATABASE_SECONDS = 90.0  # longer than mongod may take; the application then says itself that there is none


def load_application(parent: int, database_up: Event, target: str, *_: Any) -> Callable[..., Any]:
    """Builds the ASGI application `target` ("module:factory") in a process that ends with `parent`.

    By SIGKILL: a worker whose supervisor was killed has no database to finish its requests with, and nobody who
    would end it should an orderly stop get stuck. The import goes on while MongoDB starts.
    """
    die_with_parent(parent, by=signal.SIGKILL)
    module, name = target.split(":")
    gc.disable()  # nothing that an import makes is garbage, but each look at it takes time
    create: Callable[[], Callable[..., Any]] = getattr(import_module(module), name)
    gc.freeze()  # nor will it be: later looks pass it over
    gc.enable()
    database_up.wait(_DATABASE_SECONDS)
    return create()
