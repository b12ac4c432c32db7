"""Binary in its own format instead of as a resource. Source: hl7.org/fhir/R4/binary.html#rest."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from fhirserver.context import Interaction, Kind, Result
from fhirserver.http.negotiation import parse_media
from fhirserver.http.render import Headers, http_date
from fhirserver.r4.jsontext import parse_json

if TYPE_CHECKING:
    from fhirserver.http.request import Answering

_SANDBOX: Headers = [
    (b"content-disposition", b'attachment; filename="binary"'),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
]


def content(interaction: Interaction, result: Result, how: Answering) -> tuple[int, Headers, bytes] | None:
    """Status, headers and bytes of the content where the caller accepts its media type by name; None otherwise.

    Served as an attachment in a sandbox: it may be a page or a drawing with scripts that somebody uploaded.
    """
    version = result.version
    if (
        interaction.kind not in (Kind.READ, Kind.VREAD)
        or result.status != 200
        or version is None
        or not version.raw
    ):
        return None
    resource = parse_json(version.raw, max_depth=200)
    stored = resource.get("contentType", "")
    media = parse_media(stored)[0]
    wanted = {parse_media(part)[0] for part in (how.accept or "").split(",")}
    if "data" not in resource or not (media in wanted or f"{media.partition('/')[0]}/*" in wanted):
        return None
    if media in ("application/fhir+json", "application/json", "application/fhir+xml", "application/xml"):
        return None
    if not stored.isascii() or any(mark in stored for mark in "\r\n\0"):
        stored = "application/octet-stream"
    headers: Headers = [
        (b"content-type", stored.encode()),
        (b"etag", version.etag.encode()),
        (b"last-modified", http_date(version.ts // 1_000_000)),
        *_SANDBOX,
    ]
    return 200, headers, base64.b64decode(resource["data"])
