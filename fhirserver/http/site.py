"""Everything that is not FHIR: health, metrics, the OpenAPI document and its pages. A FastAPI application.

/healthz says that the process runs, /readyz that it can serve: database there, indexes in place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Response
from fastapi.openapi.docs import get_swagger_ui_html

from fhirserver.http.assets import asset
from fhirserver.r4.jsontext import dump_json

if TYPE_CHECKING:
    from starlette.responses import HTMLResponse

    from fhirserver.http.metrics import Metrics

_PAGE_POLICY = "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"


def build_site(
    ready: Callable[[], Awaitable[list[str]]], metrics: Metrics, document: Callable[[], dict[str, Any]], *, docs: bool
) -> FastAPI:
    """The application.

    `ready`: the reasons why the server cannot serve now, none when it can. `document`: the OpenAPI document.
    `docs`: whether document and pages are served at all.
    """
    site = FastAPI(title="fhirserver", openapi_url=None, docs_url=None, redoc_url=None)

    @site.get("/healthz")
    async def healthz() -> Response:
        return Response(dump_json({"status": "alive"}), media_type="application/json")

    @site.get("/readyz")
    async def readyz() -> Response:
        reasons = await ready()
        body = {"status": "ready"} if not reasons else {"status": "not ready", "reasons": reasons}
        return Response(dump_json(body), status_code=503 if reasons else 200, media_type="application/json")

    @site.get("/metrics")
    async def exposition() -> Response:
        return Response(metrics.exposition(), media_type=metrics.content_type)

    if docs:
        _add_docs(site, document)
    return site


def _add_docs(site: FastAPI, document: Callable[[], dict[str, Any]]) -> None:
    @site.get("/openapi.json")
    async def openapi() -> Response:
        return Response(dump_json(document()), media_type="application/json")

    @site.get("/docs")
    async def page() -> HTMLResponse:
        response = get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="fhirserver: the API",
            swagger_js_url="/docs/swagger-ui-bundle.js",
            swagger_css_url="/docs/swagger-ui.css",
            swagger_favicon_url="data:,",
        )
        response.headers["content-security-policy"] = _PAGE_POLICY
        return response

    @site.get("/docs/{name}")
    async def file(name: str) -> Response:
        found = asset(name)
        if found is None:
            return Response(status_code=404)
        return Response(found[0], media_type=found[1])
