"""OpenTelemetry tracing, an extra (`pip install fhirserver[otel]`): off, it costs and imports nothing.

On, `traced` wraps the ASGI application: one server span for each request, a child of the caller's span
where it sends `traceparent`. A span knows method, route template, interaction, type and status, never ids,
queries or content. Where spans go is told by OpenTelemetry's own variables (OTEL_EXPORTER_OTLP_ENDPOINT
...).

Source: opentelemetry.io/docs/specs/semconv/http/http-spans
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Tracer

Asgi = Callable[[Any, Any, Any], Awaitable[None]]
SEEN = "fhirserver.seen"


class Seen(NamedTuple):
    """What the application made of a request; it leaves it in the ASGI scope under SEEN once it knows."""

    route: str
    interaction: str
    type: str


class NotInstalled(RuntimeError):
    """Tracing was asked for without the packages that it needs."""


def traced(
    app: Asgi, *, on: bool, service: str = "fhirserver", processor: SpanProcessor | None = None
) -> Asgi:
    """`app` itself where tracing is off, else `app` with a span around each request.

    `processor`: where spans go; None: to the OTLP endpoint of OpenTelemetry's variables. Raises NotInstalled.
    """
    if not on:
        return app
    try:
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind, Status, StatusCode

        tracer = _tracer(service, processor)
    except ImportError as error:
        raise NotInstalled("Tracing needs the extra packages: pip install 'fhirserver[otel]'.") from error

    async def call(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        caller = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        status = 0

        async def noted(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        parent = extract({name: caller[name] for name in ("traceparent", "tracestate") if name in caller})
        with tracer.start_as_current_span(
            scope["method"], parent, SpanKind.SERVER, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                await app(scope, receive, noted)
            finally:
                seen = scope.get(SEEN)
                span.set_attribute("http.request.method", scope["method"])
                if isinstance(seen, Seen):
                    span.update_name(f"{scope['method']} {seen.route}")
                    span.set_attribute("http.route", seen.route)
                    span.set_attribute("fhir.interaction", seen.interaction)
                    span.set_attribute("fhir.type", seen.type)
                if status:
                    span.set_attribute("http.response.status_code", status)
                if status == 0 or status >= 500:
                    span.set_status(Status(StatusCode.ERROR))

    return call


def _tracer(service: str, processor: SpanProcessor | None) -> Tracer:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if processor is None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        processor = BatchSpanProcessor(OTLPSpanExporter())
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(processor)
    return provider.get_tracer("fhirserver")
