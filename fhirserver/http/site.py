"""Everything that is not FHIR: health, metrics, the OpenAPI document and its pages. A FastAPI application.

/healthz says that the process runs, /readyz that it can serve: database there, indexes in place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Response
from fastapi_offline import FastAPIOffline

from fhirserver.r4.jsontext import dump_json

if TYPE_CHECKING:
    from fhirserver.http.metrics import Metrics


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

    @site.get("/healthz")
    async def healthz() -> Response:
        return _json({"status": "alive"})

    @site.get("/readyz")
    async def readyz() -> Response:
        reasons = await ready()
        if reasons:
            return _json({"status": "not ready", "reasons": reasons}, 503)
        return _json({"status": "ready"})

    @site.get("/metrics")
    async def exposition() -> Response:
        return Response(metrics.exposition(), media_type=metrics.content_type)

    return site


def _json(body: dict[str, Any], status: int = 200) -> Response:
    return Response(dump_json(body), status_code=status, media_type="application/json")
