"""Where HTTP and the authorization server meet: worker threads, audit before the answer, limits, headers, cookies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import Response

from fhirserver.access.oauth.buckets import Buckets
from fhirserver.access.oauth.parts import Visit
from fhirserver.access.oauth.request import LARGEST
from fhirserver.http.peer import Network, peer_address
from fhirserver.outcome import TooLarge, TooSlow
from fhirserver.r4.jsontext import dump_json

if TYPE_CHECKING:
    from fhirserver.access.oauth.authorize import Authorization
    from fhirserver.access.oauth.parts import Parts
    from fhirserver.access.oauth.server import SmartServer
    from fhirserver.access.oauth.signin import SignIn
    from fhirserver.context import AuthEvent

T = TypeVar("T")
OnEvent = Callable[["AuthEvent"], Awaitable[None]]
THREADS = 16  # not the shared default: hosts of slow key sets would stall every other synchronous call

HEADERS = {
    "Cache-Control": "no-store",
    "Pragma": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_NO_PAGE = "default-src 'none'; frame-ancestors 'none'"


def peer(request: Request, trusted: Sequence[Network]) -> str:
    """The address that a request comes from: of the peer, or what a trusted proxy says of it."""
    return peer_address(request.scope, request.headers, trusted) or ""


@dataclass(slots=True)
class Desk:
    """What the endpoints work with.

    `origins`: of all active clients, kept fresh by the composition root. `always`: origins of the settings. `on_event`:
    records what is to be audited, before the answer leaves.
    """

    parts: Parts
    server: SmartServer
    authorization: Authorization
    signin: SignIn
    buckets: Buckets
    on_event: OnEvent
    always: Collection[str] = ()
    origins: Callable[[], Collection[str]] = tuple
    trusted: Sequence[Network] = ()
    limiter: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(THREADS))

    def address(self, request: Request) -> str:
        """The address that a request comes from, seen through proxies that are trusted."""
        return peer(request, self.trusted)

    def admit(self, request: Request, cost: float = 1.0) -> str:
        """One more call from the request's address, which is returned. Raises Busy."""
        address = self.address(request)
        self.buckets.take(address, cost)
        return address

    async def run(self, request: Request, work: Callable[[Visit], T], *, cost: float = 1.0) -> T:
        """`work` in a worker thread; what it notes is recorded whatever comes of it. Raises Busy."""
        visit = Visit(self.admit(request, cost))
        try:
            return await to_thread.run_sync(work, visit, limiter=self.limiter)
        finally:
            for event in visit.events:
                await self.on_event(event)

    def answer(
        self,
        request: Request,
        status: int,
        body: Any,
        headers: Mapping[str, str] | None = None,
        *,
        cors: Collection[str] | None = None,
    ) -> Response:
        """A JSON answer. `cors`: origins that may read it ("*": any), None: none."""
        found = {**HEADERS, "Content-Security-Policy": _NO_PAGE, **(headers or {})}
        found |= self.cors(request, cors)
        return Response(dump_json(body), status, found, "application/json")

    def cors(self, request: Request, origins: Collection[str] | None) -> dict[str, str]:
        """The headers that let a page of one of `origins` read the answer."""
        if origins is None:
            return {}
        if "*" in origins:
            return {"Access-Control-Allow-Origin": "*"}
        origin = request.headers.get("origin", "")
        if origin in ("", "null") or not (origin in origins or origin in self.always):
            return {"Vary": "Origin"}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": "www-authenticate, retry-after",
            "Vary": "Origin",
        }


_BODY_SECONDS = 10  # bodies here are forms of a few kilobytes


async def body_of(request: Request, most: int = LARGEST) -> bytes:
    """The body. Raises TooLarge, TooSlow, ClientDisconnect."""
    found = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in request.stream():
                found += chunk
                if len(found) > most:
                    raise TooLarge(f"The body is larger than {most} bytes.", code="body-too-large")
    except TimeoutError:
        raise TooSlow(
            f"The body did not arrive within {_BODY_SECONDS} seconds.", code="body-too-slow"
        ) from None
    return bytes(found)


def authorization_of(request: Request) -> str | None:
    """The Authorization header; several count as one that no client has."""
    values = request.headers.getlist("authorization")
    if not values:
        return None
    return values[0] if len(values) == 1 and len(values[0]) <= LARGEST // 8 else "several"


def bearer_of(request: Request) -> str | None:
    """The access token that the request shows."""
    scheme, _, token = (authorization_of(request) or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None
