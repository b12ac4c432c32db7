"""The endpoints that apps call: discovery, token, introspection, revocation, userinfo, launch, registration.

Every body is a form of at most 64 KiB, each parameter once; every answer is JSON and never stored. Sources: RFC 6749,
RFC 7009, RFC 7591, RFC 7662; hl7.org/fhir/smart-app-launch/STU2.2
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from fhirserver.access.oauth import discovery, endpoints, launch, registering
from fhirserver.access.oauth.buckets import Busy
from fhirserver.access.oauth.clients import ClientRefused
from fhirserver.access.oauth.request import Malformed, SmartRequest, read_form
from fhirserver.http.oauth_desk import HEADERS, Desk, authorization_of, bearer_of, body_of
from fhirserver.outcome import OutcomeError, TooLarge
from fhirserver.r4.jsontext import parse_json

if TYPE_CHECKING:
    from fastapi import FastAPI

    from fhirserver.access.oauth.parts import Visit
    from fhirserver.access.oauth.server import Triple
    from fhirserver.http.oauth_people import People

ANYONE = ("*",)
SMART_CONFIGURATION = "/fhir/.well-known/smart-configuration"
_METHODS = "GET, POST, OPTIONS"
Endpoint = Callable[[Request], Awaitable[Response]]


def error(code: str, text: str) -> dict[str, str]:
    """An OAuth error body."""
    return {"error": code, "error_description": text}


def add_oauth(site: FastAPI, desk: Desk, people: People, registration_token: str | None) -> None:
    """Mount the endpoints on the site. `registration_token`: turns dynamic registration on."""
    _add_discovery(site, desk, registration=registration_token is not None)

    async def token(request: Request) -> Response:
        smart = await _smart(request)
        status, body, headers = await desk.run(request, lambda visit: desk.server.token(smart(visit)))
        return _answered(desk, request, (status, body, headers), smart.client_origins())

    async def revoke(request: Request) -> Response:
        smart = await _smart(request)
        triple = await desk.run(request, lambda visit: endpoints.revoke(desk.parts, smart(visit)))
        return _answered(desk, request, triple, smart.client_origins())

    async def introspect(request: Request) -> Response:
        smart = await _smart(request)
        triple = await desk.run(request, lambda visit: endpoints.introspect(desk.parts, smart(visit)))
        return _answered(desk, request, triple, None)

    async def userinfo(request: Request) -> Response:
        shown = bearer_of(request)
        claims = await desk.run(request, lambda _: endpoints.userinfo(desk.parts, shown or ""))
        if not claims:
            challenge = 'Bearer realm="userinfo"' + (', error="invalid_token"' if shown else "")
            body = error("invalid_token", "The access token is missing, ended, or not for this.")
            return desk.answer(request, 401, body, {"WWW-Authenticate": challenge}, cors=desk.origins())
        return desk.answer(request, 200, claims, cors=desk.origins())

    _mount(site, desk, "/auth/token", token, ["POST"], cors=True)
    _mount(site, desk, "/auth/revoke", revoke, ["POST"], cors=True)
    _mount(site, desk, "/auth/introspect", introspect, ["POST"])
    _mount(site, desk, "/auth/userinfo", userinfo, ["GET"], cors=True)
    _add_launch(site, desk, people)
    if registration_token is not None:
        _add_registration(site, desk, registration_token)


def _add_discovery(site: FastAPI, desk: Desk, *, registration: bool) -> None:
    smart = discovery.smart_configuration(desk.parts.issuer, registration=registration)
    metadata = discovery.server_metadata(desk.parts.issuer, registration=registration)
    documents = {
        SMART_CONFIGURATION: smart,
        "/.well-known/openid-configuration": metadata,
        "/.well-known/oauth-authorization-server": metadata,
    }

    def told(document: dict[str, Any]) -> Endpoint:
        async def tell(request: Request) -> Response:
            return desk.answer(request, 200, document, cors=ANYONE)

        return tell

    for path, document in documents.items():
        _mount(site, desk, path, told(document), ["GET", "HEAD"], cors=True, anyone=True)

    async def jwks(request: Request) -> Response:
        keys = await desk.run(request, lambda _: desk.parts.keys.published())
        return desk.answer(request, 200, keys, {"Cache-Control": "public, max-age=300"}, cors=ANYONE)

    _mount(site, desk, "/auth/jwks", jwks, ["GET", "HEAD"], cors=True, anyone=True)


def _add_launch(site: FastAPI, desk: Desk, people: People) -> None:
    async def create(request: Request) -> Response:
        shown = bearer_of(request)
        able = await desk.run(request, lambda _: launch.may_create(desk.parts, shown or ""))
        if not able:
            body = error("invalid_token", f"An access token with the scope {launch.SCOPE} is needed.")
            return desk.answer(request, 401, body, {"WWW-Authenticate": 'Bearer realm="launch"'})
        body = parse_json(await body_of(request), max_depth=8)
        try:
            order = await desk.run(request, lambda _: launch.wanted(desk.parts, body))
        except launch.LaunchRefused as refused:
            return desk.answer(request, 400, error(refused.error, str(refused)))
        context = order.context
        if "patient" in context and not await people.exists(context["patient"], context.get("encounter")):
            text = "There is no such patient, or no such encounter of that patient."
            return desk.answer(request, 400, error("invalid_request", text))
        made = await desk.run(request, lambda visit: launch.create(desk.parts, visit, order))
        return desk.answer(request, 201, made)

    _mount(site, desk, "/auth/launch", create, ["POST"])


def _add_registration(site: FastAPI, desk: Desk, token: str) -> None:
    async def register(request: Request) -> Response:
        shown = bearer_of(request) or ""
        if not hmac.compare_digest(shown.encode(), token.encode()):
            await desk.run(request, lambda _: None, cost=10)
            body = error("invalid_token", "An initial access token is needed.")
            return desk.answer(request, 401, body, {"WWW-Authenticate": 'Bearer realm="registration"'})
        body = parse_json(await body_of(request), max_depth=8)
        try:
            made = await desk.run(request, lambda visit: registering.register(desk.parts, visit, body))
        except ClientRefused as refused:
            code = "invalid_redirect_uri" if refused.field == "redirect_uris" else "invalid_client_metadata"
            return desk.answer(request, 400, error(code, f"{refused.field}: {refused}."))
        return desk.answer(request, 201, made)

    _mount(site, desk, "/auth/register", register, ["POST"])


class _Form:
    """A form that was read, on its way to the worker thread."""

    def __init__(self, request: Request, parameters: dict[str, str]) -> None:
        self._request = request
        self._parameters = parameters
        self._smart: SmartRequest | None = None

    def __call__(self, visit: Visit) -> SmartRequest:
        """As the grants want it."""
        self._smart = SmartRequest(
            "POST", self._parameters, visit, authorization=authorization_of(self._request)
        )
        return self._smart

    def client_origins(self) -> Collection[str] | None:
        """The origins of the client that was authenticated; None where there was none."""
        client = self._smart.client if self._smart is not None else None
        return client.record.allowed_origins if client is not None else None


async def _smart(request: Request) -> _Form:
    return _Form(request, read_form(request.headers.get("content-type", ""), await body_of(request)))


def _answered(desk: Desk, request: Request, triple: Triple, origins: Collection[str] | None) -> Response:
    status, body, headers = triple
    if origins is None and request.url.path != "/auth/introspect":
        origins = desk.origins()
    kept = {name: value for name, value in headers if name.lower() == "www-authenticate"}
    return desk.answer(request, status, dict(body), kept, cors=origins)


def _mount(
    site: FastAPI,
    desk: Desk,
    path: str,
    endpoint: Endpoint,
    methods: list[str],
    *,
    cors: bool = False,
    anyone: bool = False,
) -> None:
    """`cors`: pages of registered apps may read the answers, errors included; `anyone`: of any page."""

    def origins() -> Collection[str] | None:
        return None if not cors else ANYONE if anyone else desk.origins()

    async def guarded(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Malformed as problem:
            return desk.answer(request, 400, error("invalid_request", str(problem)), cors=origins())
        except Busy as busy:
            body = error("temporarily_unavailable", "Too many requests; wait a little.")
            return desk.answer(request, 429, body, {"Retry-After": str(busy.seconds)}, cors=origins())
        except TooLarge:
            body = error("invalid_request", "The request is too large.")
            return desk.answer(request, 413, body, {"Connection": "close"}, cors=origins())
        except OutcomeError as problem:
            status = problem.status if problem.status in (400, 408, 503) else 500
            code = {400: "invalid_request", 408: "invalid_request", 503: "temporarily_unavailable"}.get(
                status, "server_error"
            )
            return desk.answer(request, status, error(code, str(problem)), cors=origins())
        except ClientDisconnect:
            return Response(status_code=400)

    async def preflight(request: Request) -> Response:
        headers = {**HEADERS, "Allow": _METHODS, **desk.cors(request, origins())}
        if "Access-Control-Allow-Origin" in headers:
            headers |= {
                "Access-Control-Allow-Methods": _METHODS,
                "Access-Control-Allow-Headers": "authorization, content-type, accept, x-request-id",
                "Access-Control-Max-Age": "600",
            }
        return Response(status_code=204, headers=headers)

    site.add_api_route(path, guarded, methods=methods, include_in_schema=False, response_model=None)
    site.add_api_route(path, preflight, methods=["OPTIONS"], include_in_schema=False, response_model=None)
