"""Everything that is not FHIR: health, metrics, the OpenAPI document and its pages. A FastAPI application.

/healthz says that the process runs, /readyz that it can serve: database there, indexes in place. Errors are
OperationOutcomes, and every answer has a request id and the headers that keep browsers out of trouble.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from fhirserver.http.fhir import SECURITY_HEADERS
from fhirserver.outcome import Internal, NotAllowed, NotFound, OutcomeError
from fhirserver.r4.jsontext import dump_json

if TYPE_CHECKING:
    from fhirserver.http.metrics import Metrics

    Asgi = Callable[[Any, Any, Any], Awaitable[None]]

_BOTH = ["GET", "HEAD"]
_PAGES = ("/docs", "/static-offline-docs")
# the pages of the documentation run scripts of this server, one of them written into the page
_PAGE_POLICY = (
    b"default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
)


def build_site(
    ready: Callable[[], Awaitable[list[str]]],
    metrics: Metrics,
    document: Callable[[], dict[str, Any]],
    *,
    docs: bool,
) -> FastAPI:
    """The application.

    `ready`: the reasons why the server cannot serve now, none when it can. `document`: the OpenAPI document.
    `docs`: whether document (/openapi.json) and pages (/docs) are served at all; their scripts come from this server.
    """
    if docs:
        site: FastAPI = FastAPIOffline(title="fhirserver", docs_url="/docs", redoc_url=None)
        site.openapi = document  # type: ignore[method-assign]
    else:
        site = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    site.add_middleware(Guarded)
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
    async def exposition() -> Response:
        return Response(metrics.exposition(), media_type=metrics.content_type)

    return site


class Guarded:
    """ASGI middleware: the security headers, where the answer does not set them itself, and a request id."""

    def __init__(self, app: Asgi) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, and add to its answer."""
        headers = _guards(scope.get("path", ""))

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(h for h in headers if h[0] not in present)]
            await send(message)

        await self._app(scope, receive, guarded)


def _guards(path: str) -> list[tuple[bytes, bytes]]:
    page = path.startswith(_PAGES)
    guards = [
        (n, _PAGE_POLICY if page and n == b"content-security-policy" else v) for n, v in SECURITY_HEADERS
    ]
    return [*guards, (b"x-request-id", uuid.uuid4().hex.encode())]


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
    headers = {name.decode(): value.decode() for name, value in _guards("")}
    return _outcome(Internal("The server failed on this request.", code="internal"), headers)


def _outcome(error: OutcomeError, headers: Any) -> Response:
    return Response(dump_json(error.to_json()), error.status, headers, "application/fhir+json")
