"""Tracing is off without a trace of it, and on it names requests by their templates only.

Source: opentelemetry.io/docs/specs/semconv/http/http-spans
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from typing import Any

import pytest

from fhirserver.http.tracing import SEEN, NotInstalled, Seen, traced

CALLER = (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")


def app_answering(status: int, *, seen: bool = True) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if seen:
            scope[SEEN] = Seen("/{type}/{id}", "read", "Patient")
        if status == 0:
            raise RuntimeError("Maria das Dores")
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return app


def spans_of(app: Any, *headers: tuple[bytes, bytes], type: str = "http") -> list[Any]:
    """The spans of one request for a patient."""
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    exporter = memory.InMemorySpanExporter()
    call = traced(app, on=True, processor=export.SimpleSpanProcessor(exporter))
    scope = {"type": type, "method": "GET", "path": "/fhir/Patient/123", "query_string": b"x=1"}

    async def send(message: Any) -> None:
        pass

    async def work() -> None:
        await call({**scope, "headers": list(headers)}, None, send)

    with contextlib.suppress(RuntimeError):
        asyncio.run(work())
    return list(exporter.get_finished_spans())


def test_off_is_the_application_itself_and_imports_nothing() -> None:
    code = (
        "import sys; from fhirserver.http.tracing import traced; app = object()\n"
        "assert traced(app, on=False) is app\n"
        "assert not any(name.startswith('opentelemetry') for name in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_span_names_the_template_and_neither_id_nor_query() -> None:
    (span,) = spans_of(app_answering(200))
    assert span.name == "GET /{type}/{id}"
    assert dict(span.attributes) == {
        "http.request.method": "GET",
        "http.route": "/{type}/{id}",
        "fhir.interaction": "read",
        "fhir.type": "Patient",
        "http.response.status_code": 200,
    }
    assert span.status.is_ok or span.status.status_code.name == "UNSET"
    assert "123" not in span.to_json().replace(str(span.start_time), "").split('"context"')[0]


def test_a_span_continues_the_callers_trace_and_begins_its_own_without() -> None:
    (child,) = spans_of(app_answering(200), CALLER)
    assert f"{child.context.trace_id:032x}" == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert f"{child.parent.span_id:016x}" == "00f067aa0ba902b7"
    (own,) = spans_of(app_answering(200), (b"traceparent", b"nonsense"))
    assert own.parent is None


@pytest.mark.parametrize(("status", "failed"), [(200, False), (404, False), (503, True), (0, True)])
def test_only_failures_of_the_server_are_errors(status: int, failed: bool) -> None:
    (span,) = spans_of(app_answering(status))
    assert (span.status.status_code.name == "ERROR") is failed
    assert "Maria" not in span.to_json()


def test_a_request_that_was_never_routed_has_the_method_for_a_name() -> None:
    (span,) = spans_of(app_answering(404, seen=False))
    assert span.name == "GET"


def test_other_scopes_than_http_pass_without_a_span() -> None:
    assert spans_of(app_answering(200, seen=False), type="lifespan") == []


def test_asking_for_tracing_without_its_packages_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.propagate", None)
    with pytest.raises(NotInstalled, match="otel"):
        traced(app_answering(200), on=True)
