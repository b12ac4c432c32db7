"""Documentation and metrics are there for this machine alone, unless configured. Rules: security.md I6, E2, K1."""

from __future__ import annotations

import io
import json
from typing import Any

import anyio
import httpx
import pytest

from fhirserver.http.logs import AccessLog
from fhirserver.http.metrics import Metrics
from fhirserver.http.site import build_site
from fhirserver.settings import Settings

TOKEN = "q8" * 16
PUBLIC: dict[str, Any] = {"base_url": "https://clinic.example"}


async def nothing_is_missing() -> list[str]:
    return []


def asked(
    settings: dict[str, Any], *paths: str, stream: io.StringIO | None = None, **headers: str
) -> list[httpx.Response]:
    """The answers of a site with these settings to GETs of `paths`."""

    async def ask() -> list[httpx.Response]:
        log = AccessLog(stream or io.StringIO())
        site = build_site(
            Settings(**settings), nothing_is_missing, Metrics(), log, lambda: {"openapi": "3.1.0"}
        )
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(site), base_url="http://127.0.0.1:8000", headers=headers
        ) as client:
            answers = [await client.get(path) for path in paths]
        log.flush()
        return answers

    return anyio.run(ask)


@pytest.mark.parametrize(
    ("settings", "docs", "metrics"),
    [
        (PUBLIC, 404, 404),
        ({"host": "0.0.0.0"}, 404, 404),
        ({"host": "0.0.0.0", "base_url": "http://localhost:8000"}, 404, 404),
        (PUBLIC | {"docs": True}, 200, 404),
        (PUBLIC | {"metrics_token": TOKEN}, 404, 404),
        ({}, 200, 200),
        ({"base_url": "http://localhost:8000"}, 200, 200),
        ({"host": "::1"}, 200, 200),
        ({"docs": False}, 404, 200),
        ({"metrics_token": TOKEN}, 200, 404),
    ],
)
def test_documentation_and_metrics_are_for_this_machine_unless_configured(
    settings: dict[str, Any], docs: int, metrics: int
) -> None:
    paths = ("/docs", "/openapi.json", "/metrics", "/readyz")
    found = [answer.status_code for answer in asked(settings, *paths)]
    assert found == [docs, docs, metrics, 200]


@pytest.mark.parametrize("settings", [{}, PUBLIC])
def test_metrics_with_a_token_ask_for_exactly_this_one(settings: dict[str, Any]) -> None:
    guarded = settings | {"metrics_token": TOKEN}
    for shown in ("", "Bearer", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN, "Bearer é"):
        header = {"authorization": shown.encode("latin-1")}
        assert asked(guarded, "/metrics", **header)[0].status_code == 404, shown  # type: ignore[arg-type]
    answer = asked(guarded, "/metrics", authorization=f"Bearer {TOKEN}")[0]
    assert answer.status_code == 200
    assert "fhirserver_requests" in answer.text


def test_a_refused_page_looks_like_one_that_does_not_exist() -> None:
    refused, absent = asked(PUBLIC, "/metrics", "/absent")
    assert refused.content == absent.content


def test_the_access_log_tells_routes_and_leaves_paths_queries_and_health_out() -> None:
    stream = io.StringIO()
    answers = asked({}, "/healthz", "/readyz", "/metrics", "/canary-path?code=canary", "/docs", stream=stream)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["route"], line["status"]) for line in lines] == [("", 404), ("/docs", 200)]
    assert [line["request_id"] for line in lines] == [a.headers["x-request-id"] for a in answers[3:]]
    assert "canary" not in stream.getvalue()
