"""The composition root: Settings -> Services -> one ASGI application. Nothing else builds parts."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fhirserver.access.gate import Gate
from fhirserver.engine.capabilities import capability_statement
from fhirserver.engine.routes import Router
from fhirserver.engine.stations import Engine
from fhirserver.http import logs
from fhirserver.http.cors import Cors
from fhirserver.http.fhir import FhirApp
from fhirserver.http.metrics import Metrics
from fhirserver.http.openapi import openapi_document
from fhirserver.http.render import Renderer
from fhirserver.http.request import RequestReader
from fhirserver.http.site import build_site
from fhirserver.r4.definitions import Definitions
from fhirserver.r4.elements import Elements
from fhirserver.r4.jsontext import dump_json
from fhirserver.search.index import Indexer
from fhirserver.services import Services
from fhirserver.settings import Settings
from fhirserver.store import Store
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
