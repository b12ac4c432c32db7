"""From an ASGI request to an Exchange: limits, headers, body, route. Source: hl7.org/fhir/R4/http.html."""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from fhirserver.context import Agent, Exchange, Interaction, Kind, Request
from fhirserver.engine import bundle
from fhirserver.http import negotiation
from fhirserver.http.body import Receive, read_body
from fhirserver.http.negotiation import FORM, JSON_PATCH, Format
from fhirserver.http.peer import Network, peer_address
from fhirserver.operations import OPERATIONS
from fhirserver.outcome import (
    BadRequest,
    NotAcceptable,
    OutcomeError,
    Unprocessable,
    UnsupportedMedia,
    UriTooLong,
)
from fhirserver.r4.jsontext import parse_json
from fhirserver.r4.xmltext import parse_xml

if TYPE_CHECKING:
    from fhirserver.engine.routes import Router
    from fhirserver.services import Services

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACE_ID = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_RECORDED = (("Accept", "accept"), ("Content-Type", "content-type"), ("Prefer", "prefer"))
_MEANT = ("if-match", "if-none-match", "if-modified-since", "if-none-exist", "prefer")


@dataclass(frozen=True, slots=True)
class Answering:
    """How the caller wants its answer. `prefer`: return=minimal, representation or OperationOutcome, or empty."""

    request_id: str
    format: Format = Format.JSON
    pretty: bool = False
    prefer: str = ""
    head: bool = False
    gzip: bool = False
    accept: str | None = None


def header_map(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers by lower-case name. Repeated ones are joined by a comma, as RFC 9110 section 5.3 allows."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key = name.decode("latin-1")
        text = value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def request_id_of(headers: Mapping[str, str]) -> str:
    """The caller's X-Request-Id where it is harmless, else a fresh one."""
    given = headers.get("x-request-id")
    return given if given is not None and _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def answering(
    headers: Mapping[str, str], query: str, method: str, request_id: str, *, any_format: bool = False
) -> Answering:
    """How to answer: format, pretty, Prefer.

    `any_format`: what is asked for may exist in formats of its own (a Binary). Raises NotAcceptable.
    """
    format, pretty = None, False
    if "_format" in query or "_pretty" in query:
        for name, value in parse_qsl(query):
            if name == "_format":
                format = value
            elif name == "_pretty":
                pretty = value == "true"
    accept = headers.get("accept")
    try:
        chosen = negotiation.chosen(accept, format)
    except NotAcceptable:
        if not any_format:
            raise
        chosen = Format.JSON
    prefer = headers.get("prefer", "")
    wanted = re.search(r"return=(minimal|representation|OperationOutcome)", prefer) if prefer else None
    return Answering(
        request_id,
        chosen,
        pretty,
        wanted[1] if wanted else "",
        method == "HEAD",
        "gzip" in headers.get("accept-encoding", ""),
        accept,
    )


@dataclass(frozen=True, slots=True)
class RequestReader:
    """Makes Exchanges of requests. `prefix`: path of the FHIR base, `/fhir`. `proxies`: whose X-Forwarded-For counts."""

    services: Services
    router: Router
    prefix: str = "/fhir"
    proxies: tuple[Network, ...] = ()

    def request(self, scope: Mapping[str, Any], headers: Mapping[str, str], request_id: str) -> Request:
        """What AuditEvents will tell of the request."""
        query: bytes = scope["query_string"]
        path: bytes = scope.get("raw_path") or scope["path"].encode()
        traceparent = headers.get("traceparent")
        traced = _TRACE_ID.fullmatch(traceparent) if traceparent is not None else None
        return Request(
            request_id,
            scope["method"],
            path.partition(b"?")[0] + (b"?" + query if query else b""),
            tuple((name, headers[key]) for name, key in _RECORDED if key in headers),
            address=peer_address(scope, headers, self.proxies),
            trace_id=traced[1] if traced is not None else None,
        )

    def meant(self, request: Request) -> Interaction | None:
        """The interaction that a refused request stood for, None where it was none."""
        path, _, query = request.target.decode("latin-1").partition("?")
        try:
            return self.router.route(request.method, path[len(self.prefix) :], query)
        except OutcomeError:
            return None

    async def exchange(
        self,
        scope: Mapping[str, Any],
        receive: Receive,
        headers: Mapping[str, str],
        request: Request,
        agent: Agent,
    ) -> Exchange:
        """The Exchange that a request of `agent` asks for. Raises OutcomeError of every 4xx kind, ClientGone."""
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        query_bytes: bytes = scope["query_string"]
        if len(raw_path) + len(query_bytes) > self.services.settings.limits.url_bytes:
            raise UriTooLong(
                f"The URL is longer than {self.services.settings.limits.url_bytes} bytes; use POST _search.",
                code="url-too-long",
            )
        method: str = scope["method"]
        path = raw_path.partition(b"?")[0].decode("latin-1")[len(self.prefix) :]
        query = query_bytes.decode("latin-1")
        interaction = self.router.route(method, path, query, headers=_meant(headers))
        if method not in ("GET", "HEAD", "DELETE"):
            return await self._with_body(interaction, receive, headers, request, agent)
        return Exchange(agent, (interaction,), request.id, request=request)

    async def _with_body(
        self,
        interaction: Interaction,
        receive: Receive,
        headers: Mapping[str, str],
        request: Request,
        agent: Agent,
    ) -> Exchange:
        limits = self.services.settings.limits
        limit = limits.binary_bytes if interaction.type == "Binary" else limits.body_bytes
        data = await read_body(receive, headers, limit, limits.body_seconds)
        content_type = headers.get("content-type")
        if interaction.kind.value.startswith("search"):
            pairs = interaction.query + _form(data, content_type)
            told = replace(request, form=data)
            return Exchange(agent, (replace(interaction, query=pairs),), request.id, request=told)
        try:
            body = self._parsed(interaction, data, content_type)
        except BadRequest as error:
            if interaction.operation is None or not OPERATIONS[interaction.operation].judges_body:
                raise
            body = error
        interaction = replace(interaction, body=body)
        if interaction.kind is Kind.BATCH:
            return self._bundle(interaction.body, headers, request, agent)
        return Exchange(agent, (interaction,), request.id, request=request)

    def _parsed(self, interaction: Interaction, data: bytes, content_type: str | None) -> Any:
        if interaction.kind is Kind.OPERATION and not data:
            return None
        if not data and content_type is None:
            raise BadRequest("The request needs a body.", code="body-missing")
        media = negotiation.parse_media(content_type or "")[0]
        if interaction.kind is Kind.PATCH and media == JSON_PATCH:
            patch = parse_json(data, max_depth=self.services.settings.limits.nesting)
            if not isinstance(patch, list):
                raise BadRequest("A JSON Patch is an array of operations.", code="patch-not-array")
            return patch
        if interaction.type == "Binary" and interaction.kind in (Kind.CREATE, Kind.UPDATE) and _native(media):
            return _binary(data, content_type or "", interaction.id)
        try:
            format = negotiation.of_body(content_type)
        except UnsupportedMedia as error:
            if interaction.kind is Kind.PATCH:
                raise UnsupportedMedia(
                    f"Send a JSON Patch as {JSON_PATCH}, or a FHIRPath Patch (Parameters) as application/fhir+json.",
                    code="media-type-unknown",
                ) from error
            raise
        depth = self.services.settings.limits.nesting
        if format is Format.XML:
            body: Any = parse_xml(data, self.services.elements, max_depth=depth)
        else:
            body = parse_json(data, max_depth=depth)
        if interaction.kind is Kind.PATCH and not isinstance(body, dict):
            raise UnsupportedMedia(f"A JSON Patch is sent as {JSON_PATCH}.", code="media-type-unknown")
        return body

    def _bundle(self, body: Any, headers: Mapping[str, str], request: Request, agent: Agent) -> Exchange:
        if not isinstance(body, dict) or body.get("resourceType") != "Bundle":
            raise BadRequest(
                "POST to the base takes a Bundle of type batch or transaction.", code="bundle-expected"
            )
        kind = body.get("type")
        if kind not in ("batch", "transaction"):
            raise Unprocessable(
                "Only a Bundle of type batch or transaction is executed; store others with POST /Bundle.",
                code="bundle-type",
                expression="Bundle.type",
            )
        interactions = bundle.unfold(body, self.router, self.services, _meant(headers))
        return Exchange(agent, interactions, request.id, kind, request)


def _meant(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[name] for name in _MEANT if name in headers}


def _form(data: bytes, content_type: str | None) -> tuple[tuple[str, str], ...]:
    if not data:
        return ()
    if negotiation.parse_media(content_type or "")[0] != FORM:
        raise UnsupportedMedia(f"POST _search takes {FORM}.", code="media-type-unknown")
    try:
        return tuple(
            parse_qsl(data.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=1000)
        )
    except ValueError as error:
        raise BadRequest(
            "The form is not valid percent-encoded UTF-8, or has more than 1000 parameters.",
            code="query-malformed",
        ) from error


def _native(media: str) -> bool:
    return media not in (
        "",
        "application/fhir+json",
        "application/json",
        "application/fhir+xml",
        "application/xml",
    )


def _binary(data: bytes, content_type: str, id: str | None) -> dict[str, Any]:
    """A Binary resource around content that came in its own format. Source: hl7.org/fhir/R4/binary.html#rest."""
    resource: dict[str, Any] = {"resourceType": "Binary"}
    if id is not None:
        resource["id"] = id
    return resource | {"contentType": content_type, "data": base64.b64encode(data).decode("ascii")}
