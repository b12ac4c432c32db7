"""The FHIR API as one ASGI application: read the request, run the Exchange, render, send.

It stands in front of FastAPI instead of inside it: every path below the FHIR base has one shape-driven route, and a
router that matches 20 patterns per request would cost more than the read itself (docs/decisions/0007-the-fhir-api-in-front-of-fastapi.md).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fhirserver.access.gate import ANONYMOUS
from fhirserver.context import Agent, Exchange, Kind, Request
from fhirserver.engine.routes import ROUTES
from fhirserver.engine.stations import Engine, failed
from fhirserver.http import binary, logs
from fhirserver.http.body import ClientGone, Receive
from fhirserver.http.cors import Cors
from fhirserver.http.render import Headers, Renderer, compressed
from fhirserver.http.request import Answering, RequestReader, answering, header_map, request_id_of
from fhirserver.http.tracing import SEEN, Seen
from fhirserver.operations import OPERATIONS
from fhirserver.outcome import Internal, OutcomeError

if TYPE_CHECKING:
    from fhirserver.http.logs import AccessLog
    from fhirserver.http.metrics import Metrics

Send = Callable[[dict[str, Any]], Awaitable[None]]
_LOG = logging.getLogger("fhirserver.http")

SECURITY_HEADERS: Headers = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
]


@dataclass(frozen=True, slots=True)
class FhirApp:
    """ASGI application of everything below the FHIR base."""

    reader: RequestReader
    engine: Engine
    renderer: Renderer
    cors: Cors
    metrics: Metrics
    access_log: AccessLog
    capabilities: Callable[[], bytes]
    terminology: Callable[[], Awaitable[bytes]]

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        self.metrics.started()
        try:
            await self._respond(scope, receive, send)
        finally:
            self.metrics.ended()

    async def _respond(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        headers = header_map(scope["headers"])
        request_id = request_id_of(headers)
        logs.request_id.set(request_id)
        origin = headers.get("origin")
        if scope["method"] == "OPTIONS":
            await self._send(send, 204, [*self.cors.preflight(headers), *SECURITY_HEADERS], b"", request_id)
            return
        exchange: Exchange | None = None
        agent: Agent | None = None
        request = self.reader.request(scope, headers, request_id)
        how = Answering(request_id, head=scope["method"] == "HEAD")
        try:
            query = scope["query_string"].decode("latin-1")
            any_format = scope["method"] in ("GET", "HEAD") and scope["path"].startswith(_BINARY)
            any_format = any_format or scope["path"].rpartition("/$")[2] in _NATIVE
            how = answering(headers, query, scope["method"], request_id, any_format=any_format)
            agent = ANONYMOUS if scope["path"] in _PUBLIC else await self.engine.gate.agent(headers)
            exchange = await self.reader.exchange(scope, receive, headers, request, agent)
            status, out, body = await self._answer(exchange, how)
        except ClientGone:
            return
        except OutcomeError as error:
            status, out, body = await self._failed(error, how, request, agent)
        except Exception:  # noqa: BLE001 the last place where a fault can become an answer
            _LOG.exception("request failed", extra={"request_id": request_id})
            fault = Internal("The server failed on this request.", code="internal")
            status, out, body = await self._failed(fault, how, request, agent)
        body = compressed(out, body, how)
        out += (
            SECURITY_HEADERS
            if not any(name == b"content-security-policy" for name, _ in out)
            else _LIGHT_HEADERS
        )
        if origin is not None:
            out += self.cors.headers(origin)
        scope[SEEN] = seen = _seen(exchange)
        seconds = time.perf_counter() - started
        self.metrics.observe(seen.interaction, seen.type, status, seconds)
        self.access_log.write(
            scope["method"], seen.route, seen.interaction, seen.type, status, seconds, request_id
        )
        await self._send(send, status, out, b"" if how.head else body, request_id, length=len(body))

    async def _answer(self, exchange: Exchange, how: Answering) -> tuple[int, Headers, bytes]:
        if exchange.bundle is None and exchange.interactions[0].kind is Kind.CAPABILITIES:
            if dict(exchange.interactions[0].query).get("mode") == "terminology":
                return self.renderer.raw(200, await self.terminology(), how)
            return self.renderer.raw(200, self.capabilities(), how)
        results = await self.engine.run(exchange)
        if exchange.bundle is None and exchange.interactions[0].type == "Binary":
            native = binary.content(exchange.interactions[0], results[0], how)
            if native is not None:
                return native
        return self.renderer.answer(exchange, results, how)

    async def _failed(
        self, error: OutcomeError, how: Answering, request: Request, agent: Agent | None
    ) -> tuple[int, Headers, bytes]:
        """The answer to a request that was refused or failed outside of the stations, audited like the others."""
        interaction = self.reader.meant(request)
        if interaction is not None and interaction.kind is Kind.CAPABILITIES:
            return self.renderer.failure(failed(error), how)
        return self.renderer.failure(await self.engine.refuse(request, agent, interaction, error), how)

    @staticmethod
    async def _send(
        send: Send, status: int, headers: Headers, body: bytes, request_id: str, *, length: int | None = None
    ) -> None:
        headers.append((b"x-request-id", request_id.encode()))
        if status not in (204, 304):
            headers.append((b"content-length", b"%d" % (len(body) if length is None else length)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _seen(exchange: Exchange | None) -> Seen:
    """What metrics, access log and traces say of a request; never more."""
    if exchange is None:
        kind, type = "refused", ""
    elif exchange.bundle is not None:
        kind, type = exchange.bundle, ""
    else:
        kind, type = exchange.interactions[0].kind.value, exchange.interactions[0].type or ""
    return Seen(_TEMPLATES.get(kind, ""), kind, type)


_BINARY = "/fhir/Binary/"
_NATIVE = frozenset(operation.name for operation in OPERATIONS.values() if operation.native)
_PUBLIC = ("/fhir/metadata", "/fhir/metadata/")
_TEMPLATES = {route.kind.value: route.path for route in reversed(ROUTES)} | {
    "transaction": "/",
    "operation": "/{type}/{id}/${operation}",
}
_LIGHT_HEADERS: Headers = [header for header in SECURITY_HEADERS if header[0] != b"content-security-policy"]
