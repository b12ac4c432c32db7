"""The yardstick: an ASGI app that answers every request with the same bytes, as large as a stored Patient."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

BODY = b'{"resourceType":"Patient","text":"' + b"x" * 1000 + b'"}'
HEADERS = [
    (b"content-type", b"application/fhir+json"),
    (b"content-length", str(len(BODY)).encode()),
    (b"etag", b'W/"1"'),
    (b"last-modified", b"Thu, 01 Jan 2026 00:00:00 GMT"),
]
START = {"type": "http.response.start", "status": 200, "headers": HEADERS}
END = {"type": "http.response.body", "body": BODY}


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[Any]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer."""
    if scope["type"] == "http":
        await send(START)
        await send(END)
