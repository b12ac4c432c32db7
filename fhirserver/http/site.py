"""Everything that is not FHIR: health, metrics, the OpenAPI document and its pages. A FastAPI application.

/healthz says that the process runs, /readyz that it can serve: database there, indexes in place. Errors are
OperationOutcomes, and every answer has a request id and the headers that keep browsers out of trouble.
"""

from __future__ import annotations

import hmac
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from fhirserver.http import logs
from fhirserver.http.fhir import SECURITY_HEADERS
from fhirserver.outcome import Internal, NotAllowed, NotFound, OutcomeError
from fhirserver.r4.jsontext import dump_json

if TYPE_CHECKING:
    from fhirserver.http.logs import AccessLog
    from fhirserver.http.metrics import Metrics
    from fhirserver.settings import Settings

    Asgi = Callable[[Any, Any, Any], Awaitable[None]]

_BOTH = ["GET", "HEAD"]
_QUIET = ("/healthz", "/readyz", "/metrics")  # asked every few seconds by machines
_PAGES = ("/docs", "/static-offline-docs")
# the pages of the documentation run scripts of this server, one of them written into the page
_PAGE_POLICY = (
    b"default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
)


def build_site(
    settings: Settings,
    ready: Callable[[], Awaitable[list[str]]],
    metrics: Metrics,
    access_log: AccessLog,
    document: Callable[[], dict[str, Any]],
) -> FastAPI:
    """The application.

    `ready`: the reasons why the server cannot serve now, none when it can. `document`: the OpenAPI document. Whether it
    (/openapi.json), its pages (/docs), whose scripts come from this server, and /metrics are there is up to `settings`.
    """
    if settings.serves_docs:
        site: FastAPI = FastAPIOffline(title="fhirserver", docs_url="/docs", redoc_url=None)
        site.openapi = document  # type: ignore[method-assign]
    else:
        site = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    site.add_middleware(Guarded, access_log=access_log)
    site.add_exception_handler(HTTPException, _refused)
    site.add_exception_handler(Exception, _failed)

    @site.api_route("/healthz", methods=_BOTH)
    async def healthz() -> Response:
        return _json({"status": "alive"})

    @site.api_route("/readyz", methods=_BOTH)
    async def readyz() -> Response:
        reasons = await ready()
        if reasons:
            return _json({"status": "not ready", "reasons": reasons}, 503)
        return _json({"status": "ready"})

    @site.api_route("/metrics", methods=_BOTH)
    async def exposition(request: Request) -> Response:
        if not _may_scrape(settings, request):
            raise HTTPException(NotFound.status)
        return Response(metrics.exposition(), media_type=metrics.content_type)

    return site


def _may_scrape(settings: Settings, request: Request) -> bool:
    """Whether /metrics is there for this request: with the token, or without one on a server for this machine alone."""
    if settings.metrics_token is None:
        return settings.is_local
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    wanted = settings.metrics_token.get_secret_value().encode()
    return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), wanted)


class Guarded:
    """ASGI middleware: the security headers, where the answer does not set them itself, a request id, the access log.

    The log gets the template of the path, never the path or its query: those carry numbers of requests, codes, states.
    """

    def __init__(self, app: Asgi, access_log: AccessLog) -> None:
        self._app = app
        self._access_log = access_log

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, and add to its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, request_id, started = scope["path"], uuid.uuid4().hex, time.perf_counter()
        headers = _guards(path, request_id)
        logs.request_id.set(request_id)
        status = 500

        async def guarded(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                present = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(h for h in headers if h[0] not in present)]
            await send(message)

        try:
            await self._app(scope, receive, guarded)
        finally:
            route = getattr(scope.get("route"), "path", "")
            if route not in _QUIET:
                seconds = time.perf_counter() - started
                self._access_log.write(scope["method"], route, "", "", status, seconds, request_id)


def _guards(path: str, request_id: str) -> list[tuple[bytes, bytes]]:
    page = path.startswith(_PAGES)
    guards = [
        (n, _PAGE_POLICY if page and n == b"content-security-policy" else v) for n, v in SECURITY_HEADERS
    ]
    return [*guards, (b"x-request-id", request_id.encode())]


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(dump_json(body), status_code=status, media_type="application/json")


async def _refused(_: Request, error: Exception) -> Response:
    """The routing's own refusals: no such path, other method."""
    headers = getattr(error, "headers", None)
    status = getattr(error, "status_code", 404)
    if status == NotAllowed.status:
        return _outcome(NotAllowed("The method is not offered here.", code="method-not-allowed"), headers)
    if status == NotFound.status:
        return _outcome(
            NotFound("There is no such page; FHIR is below /fhir.", code="route-unknown"), headers
        )
    return Response(status_code=status, headers=headers)


async def _failed(_: Request, __: Exception) -> Response:
    headers = {name.decode(): value.decode() for name, value in _guards("", logs.request_id.get())}
    return _outcome(Internal("The server failed on this request.", code="internal"), headers)


def _outcome(error: OutcomeError, headers: Any) -> Response:
    return Response(dump_json(error.to_json()), error.status, headers, "application/fhir+json")
