"""From Results to bytes: status, headers, body; singles and Bundles alike. Source: hl7.org/fhir/R4/http.html."""

from __future__ import annotations

import base64
import gzip
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fhirserver.context import Content, Exchange, Kind, Page, Result, Version
from fhirserver.http.negotiation import Format
from fhirserver.outcome import Issue, IssueCode, NotAllowed, operation_outcome
from fhirserver.r4.jsontext import dump_json, parse_json
from fhirserver.r4.xmltext import dump_xml

if TYPE_CHECKING:
    from fhirserver.http.request import Answering
    from fhirserver.r4.elements import Elements

Headers = list[tuple[bytes, bytes]]
_GZIP_FROM = 1400
_WRITES = (Kind.CREATE, Kind.UPDATE, Kind.PATCH)


class Renderer:
    """Folds Results into one HTTP answer. `base`: FHIR base URL."""

    def __init__(self, base: str, elements: Elements) -> None:
        self._base = base
        self._elements = elements

    def answer(
        self, exchange: Exchange, results: tuple[Result, ...], how: Answering
    ) -> tuple[int, Headers, bytes]:
        """Status, FHIR headers and body of the whole answer."""
        if exchange.bundle is not None:
            if exchange.atomic and results and results[0].error is not None:
                return self.failure(results[0], how)
            return self.raw(200, self._bundle_response(exchange, results, how), how)
        result, kind = results[0], exchange.interactions[0].kind
        headers = self._headers(result, kind)
        if result.content is not None:
            return result.status, headers + _headers_of(result.content), result.content.body
        raw = self._single(result, how, kind in _WRITES)
        if raw is None:
            return result.status, headers, b""
        return result.status, headers + self._typed(how), self._encoded(raw, how)

    def failure(self, result: Result, how: Answering) -> tuple[int, Headers, bytes]:
        """The answer to a request that did not become an Exchange."""
        headers = self._headers(result, None) + self._typed(how)
        return result.status, headers, self._encoded(self._single(result, how, False) or b"", how)

    def raw(self, status: int, body: bytes, how: Answering) -> tuple[int, Headers, bytes]:
        """An answer whose JSON bytes are ready, such as the CapabilityStatement."""
        return status, self._typed(how), self._encoded(body, how)

    def _single(self, result: Result, how: Answering, is_write: bool) -> bytes | None:
        if result.error is not None:
            return dump_json(result.error.to_json())
        if result.status in (204, 304):
            return None
        if is_write and how.prefer == "minimal":
            return None
        if is_write and how.prefer == "OperationOutcome":
            return dump_json(operation_outcome((_stored(result),)))
        if result.resource is not None:
            return dump_json(result.resource)
        if result.content is not None:  # inside a Bundle
            data = base64.b64encode(result.content.body).decode("ascii")
            return dump_json({"resourceType": "Binary", "contentType": result.content.media, "data": data})
        if result.page is not None:
            return self.page(result.page)
        return result.version.raw if result.version is not None else None

    def _headers(self, result: Result, kind: Kind | None) -> Headers:
        headers: Headers = [(name.encode(), value.encode()) for name, value in result.headers.items()]
        version = result.version
        if version is not None:
            headers.append((b"etag", b'W/"%d"' % version.vid))
            headers.append((b"last-modified", http_date(version.ts // 1_000_000)))
            if result.status == 201:
                headers.append((b"location", self._location(version).encode()))
            elif kind in (Kind.VREAD, Kind.UPDATE, Kind.PATCH, Kind.CREATE):
                headers.append((b"content-location", self._location(version).encode()))
        if result.error is not None and result.error.retry_after is not None:
            headers.append((b"retry-after", str(result.error.retry_after).encode()))
        if result.error is not None and result.error.challenge is not None:
            headers.append((b"www-authenticate", result.error.challenge.encode()))
        if isinstance(result.error, NotAllowed):
            allow = [*result.error.allow, *(("HEAD",) if "GET" in result.error.allow else ())]
            headers.append((b"allow", ", ".join(dict.fromkeys(allow)).encode()))
        return headers

    def _location(self, version: Version) -> str:
        return f"{self._base}/{version.type}/{version.id}/_history/{version.vid}"

    @staticmethod
    def _typed(how: Answering) -> Headers:
        return [(b"content-type", _CONTENT_TYPE[how.format])]

    def _encoded(self, raw: bytes, how: Answering) -> bytes:
        if how.format is Format.XML:
            return dump_xml(parse_json(raw, max_depth=_OWN_DEPTH), self._elements, pretty=how.pretty)
        if how.pretty:
            return dump_json(parse_json(raw, max_depth=_OWN_DEPTH), pretty=True)
        return raw

    def page(self, page: Page) -> bytes:
        """A searchset or history Bundle, assembled by joining bytes."""
        entries = [self._entry(page.kind, entry.version, entry.mode, entry.raw) for entry in page.entries]
        if page.issues:
            outcome = dump_json(operation_outcome(page.issues))
            entries.append(b'{"resource":%b,"search":{"mode":"outcome"}}' % outcome)
        head: dict[str, Any] = {"resourceType": "Bundle", "type": page.kind}
        if page.total is not None:
            head["total"] = page.total
        if page.links:
            head["link"] = [{"relation": relation, "url": url} for relation, url in page.links]
        start = dump_json(head)
        if not entries:
            return start
        return b'%b,"entry":[%b]}' % (start[:-1], b",".join(entries))

    def _entry(self, kind: str, version: Version, mode: str, raw: bytes | None) -> bytes:
        url = f"{self._base}/{version.type}/{version.id}".encode()
        body = raw if raw is not None else version.raw
        resource = b',"resource":%b' % body if body is not None else b""
        if kind == "history":
            return b'{"fullUrl":"%b"%b,%b}' % (url, resource, self._history_parts(version))
        return b'{"fullUrl":"%b"%b,"search":{"mode":"%b"}}' % (url, resource, mode.encode())

    @staticmethod
    def _history_parts(version: Version) -> bytes:
        method = "DELETE" if version.deleted else version.method
        url = version.type if method == "POST" else f"{version.type}/{version.id}"
        if method == "POST" and version.vid > 1:
            method, url = "PUT", f"{version.type}/{version.id}"
        status = "204" if version.deleted else "201" if version.created else "200"
        parts = {
            "request": {"method": method, "url": url},
            "response": {"status": status, "etag": version.etag, "lastModified": instant(version.ts)},
        }
        return dump_json(parts)[1:-1]

    def _bundle_response(self, exchange: Exchange, results: tuple[Result, ...], how: Answering) -> bytes:
        entries = [
            self._response_entry(interaction.kind, result, how)
            for interaction, result in zip(exchange.interactions, results, strict=True)
        ]
        head = b'{"resourceType":"Bundle","type":"%b-response"' % (exchange.bundle or "batch").encode()
        return b'%b,"entry":[%b]}' % (head, b",".join(entries)) if entries else head + b"}"

    def _response_entry(self, kind: Kind, result: Result, how: Answering) -> bytes:
        response: dict[str, Any] = {"status": f"{result.status} {_PHRASES.get(result.status, '')}".strip()}
        version = result.version
        parts = []
        if version is not None:
            if kind in _WRITES and not version.deleted:
                response["location"] = f"{version.type}/{version.id}/_history/{version.vid}"
            response["etag"] = version.etag
            response["lastModified"] = instant(version.ts)
        if result.error is not None:
            response["outcome"] = result.error.to_json()
        elif kind in _WRITES and how.prefer == "OperationOutcome":
            response["outcome"] = operation_outcome((_stored(result),))
        elif kind not in _WRITES or how.prefer == "representation":
            raw = self._single(result, how, False)
            if raw is not None:
                if version is not None:
                    parts.append(b'"fullUrl":"%b"' % f"{self._base}/{version.type}/{version.id}".encode())
                parts.append(b'"resource":%b' % raw)
        parts.append(b'"response":%b' % dump_json(response))
        return b"{%b}" % b",".join(parts)


def _headers_of(content: Content) -> Headers:
    headers: Headers = [(b"content-type", content.media.encode())]
    if content.name is not None:
        headers.append((b"content-disposition", f'attachment; filename="{content.name}"'.encode()))
    return headers


def _stored(result: Result) -> Issue:
    done = "created" if result.status == 201 else "found unchanged" if result.version is None else "stored"
    return Issue(IssueCode.INFORMATIONAL, "stored", f"The resource was {done}.", severity="information")


def compressed(headers: Headers, body: bytes, how: Answering) -> bytes:
    """The body, gzipped where the caller takes that and it is worth it; says so in `headers`."""
    if how.gzip and len(body) >= _GZIP_FROM:
        headers.append((b"content-encoding", b"gzip"))
        headers.append((b"vary", b"Accept-Encoding"))
        return gzip.compress(body, compresslevel=1, mtime=0)
    return body


@lru_cache(maxsize=4096)
def http_date(second: int) -> bytes:
    """An HTTP date. `second`: since 1970, UTC. Source: RFC 9110 section 5.6.7."""
    return format_datetime(datetime.fromtimestamp(second, UTC), usegmt=True).encode()


def instant(ts: int) -> str:
    """A FHIR instant with milliseconds, UTC. `ts`: microseconds since 1970."""
    moment = datetime.fromtimestamp(ts // 1_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ts // 1000 % 1000:03d}Z"


_OWN_DEPTH = 200
_CONTENT_TYPE = {format: f"{format.value}; charset=utf-8".encode() for format in Format}
_PHRASES = {
    200: "OK",
    201: "Created",
    204: "No Content",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    410: "Gone",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
