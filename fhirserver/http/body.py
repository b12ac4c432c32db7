"""Reading a request body within its limits, decompressed. Source: ../docs/reference/errors.md for the codes."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fhirserver.outcome import BadRequest, TooLarge, TooSlow, UnsupportedMedia

Receive = Callable[[], Awaitable[Any]]
_WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class ClientGone(Exception):
    """The client went away before its request was complete."""


async def read_body(receive: Receive, headers: Mapping[str, str], limit: int, seconds: float) -> bytes:
    """The whole body, decompressed.

    `limit`: bytes, of the body as sent and after decompression. `seconds`: for the whole body to arrive. Raises
    TooLarge (413) as soon as the limit is passed, TooSlow (408), UnsupportedMedia (415) for an unknown
    Content-Encoding, BadRequest for broken compression, ClientGone.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _read(receive, headers, limit)
    except TimeoutError:
        raise TooSlow(
            f"The body did not arrive within {seconds:g} seconds; send it again, or in smaller parts.",
            code="body-too-slow",
        ) from None


async def _read(receive: Receive, headers: Mapping[str, str], limit: int) -> bytes:
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in _WINDOW and encoding not in ("identity", ""):
        raise UnsupportedMedia("Content-Encoding is gzip, deflate or none.", code="encoding-unknown")
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared[:18]) > limit:
        raise _too_large(limit)
    inflate = zlib.decompressobj(_WINDOW[encoding]) if encoding in _WINDOW else None
    chunks: list[bytes] = []
    size = sent = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        sent += len(chunk)
        if inflate is not None:
            chunk = _inflated(inflate, chunk, limit - size)
        size += len(chunk)
        if size > limit or sent > limit:
            raise _too_large(limit)
        chunks.append(chunk)
        if not message.get("more_body", False):
            break
    if inflate is not None and size + sent > 0 and not inflate.eof:
        raise BadRequest("The compressed body ends too early.", code="encoding-broken")
    if inflate is not None and inflate.unused_data:
        raise BadRequest("There is data behind the compressed body.", code="encoding-broken")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _inflated(inflate: Any, chunk: bytes, room: int) -> bytes:
    try:
        data: bytes = inflate.decompress(chunk, room + 1)
    except zlib.error as error:
        raise BadRequest(
            "The body is not compressed as Content-Encoding says.", code="encoding-broken"
        ) from error
    return data


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"The body is larger than {limit} bytes (after decompression); send it in smaller parts.",
        code="body-too-large",
    )
