"""A trace of a real request knows its route and no more. opentelemetry.io/docs/specs/semconv/http/http-spans"""

from __future__ import annotations

import httpx
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from fhirserver.app import Application
from fhirserver.http.tracing import traced
from tests.kit.builders import a_patient
from tests.kit.client import JSON


@pytest.mark.anyio
async def test_a_span_names_route_interaction_and_type_but_no_id(application: Application) -> None:
    exporter = InMemorySpanExporter()
    asgi = traced(application.asgi, on=True, processor=SimpleSpanProcessor(exporter))
    transport = httpx.ASGITransport(asgi)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://x/fhir") as client:
        made = await client.post("/Patient", json=a_patient(), headers={"content-type": JSON})
        await client.get(f"/Patient/{made.json()['id']}")
        await client.get("/Patient?name=souza")
        await client.get("/Nonsense/1")
    spans = [(span.name, dict(span.attributes or {})) for span in exporter.get_finished_spans()]
    assert [name for name, _ in spans] == ["POST /{type}", "GET /{type}/{id}", "GET /{type}", "GET "]
    assert spans[1][1]["fhir.interaction"] == "read"
    assert spans[1][1]["fhir.type"] == "Patient"
    assert spans[3][1]["http.response.status_code"] == 404
    told = str(spans)
    assert made.json()["id"] not in told
    assert "souza" not in told
