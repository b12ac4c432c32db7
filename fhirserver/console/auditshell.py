"""What surrounds every page of the compliance officer: the session, the language, headers, and what goes wrong."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlencode

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from fhirserver.access.oauth.request import Malformed, read_form
from fhirserver.console.audittold import Told
from fhirserver.console.auditwords import AUDIT_WORDS
from fhirserver.console.pages import Pages, language_of
from fhirserver.console.session import NotAuditor, NotSignedIn, Officer, Sessions
from fhirserver.outcome import OutcomeError

if TYPE_CHECKING:
    from fhirserver.console.desk import AuditDesk

HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_LARGEST = 16_384
_LONGEST = 200


class Forged(Exception):
    """A form that this session was not given."""


class Door(Protocol):
    """Knows where requests come from, and how many are too many; shared with the authorization server."""

    def address(self, request: Request) -> str:
        """The address that a request comes from, seen through proxies that are trusted."""
        ...

    def admit(self, request: Request) -> str:
        """One more call from the request's address, which is returned. Raises Busy."""
        ...


@dataclass(frozen=True, slots=True)
class Look:
    """One request to the pages."""

    request: Request
    officer: Officer
    language: str

    def given(self, name: str, default: str = "") -> str:
        """A parameter of the address, of bounded length."""
        return self.request.query_params.get(name, default)[:_LONGEST].strip()


Handler = Callable[[Look], Awaitable[Response]]
Page = tuple[str, str, Handler]
"""Method, path, handler."""


class Shell:
    """Renders pages and guards their routes."""

    def __init__(self, sessions: Sessions, desk: AuditDesk, door: Door) -> None:
        self.door = door
        self.sessions = sessions
        self.desk = desk
        self.pages = Pages(("style.css", "audit.css"), AUDIT_WORDS)

    def for_officers(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """The route of a page: only with the session of an auditor."""

        async def guarded(request: Request) -> Response:
            language, look = language_asked(request), None
            try:
                officer = await self.sessions.officer(self.cookie(request), self.door.address(request))
                look = Look(request, officer, language)
                return await handler(look)
            except NotSignedIn:
                if request.method != "GET":
                    return self.told(language, 403, "ended_title", "ended_text")
                back = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
                return to(f"/console/sign-in?{urlencode({'back': back, 'lang': language})}")
            except NotAuditor:
                return self.told(language, 403, "not_auditor_title", "not_auditor_text")
            except (Forged, Malformed):
                return self.told(language, 403, "forged_title", "forged_text", look)
            except OutcomeError as problem:
                return self._failed(problem, language, look)
            except ClientDisconnect:
                return Response(status_code=400)

        return guarded

    def _failed(self, problem: OutcomeError, language: str, look: Look | None) -> Response:
        known = {400: "bad", 403: "refused", 404: "gone", 410: "gone", 409: "busy"}
        key = known.get(problem.status, "busy")
        status = problem.status if problem.status in known or problem.status == 503 else 500
        detail = problem.issues[0].text if key == "bad" and problem.issues else ""
        return self.told(language, status, f"{key}_title", f"{key}_text", look, detail)

    def told(
        self, language: str, status: int, title: str, text: str, look: Look | None = None, detail: str = ""
    ) -> Response:
        """A page that only tells something; `title` and `text` are keys of the words."""
        words = {"title": self.pages.phrase(language, title), "text": self.pages.phrase(language, text)}
        html = self.pages.render(
            "audit_message", language, **words, detail=detail, **self._around(look, language)
        )
        return self._html(html, status)

    def page(self, look: Look, template: str, **values: Any) -> Response:
        """A page made of `template`."""
        return self._html(
            self.pages.render(template, look.language, **values, **self._around(look, look.language)), 200
        )

    def _around(self, look: Look | None, language: str) -> dict[str, Any]:
        """What every page shows: who is there, the way to the other language, words for codes and times."""
        told = Told(self.desk.zone, language)
        switch, path = "", ""
        if look is not None and look.request.method == "GET":
            path = look.request.url.path
            others = {**dict(look.request.query_params), "lang": "en" if language == "pt" else "pt"}
            switch = f"{path}?{urlencode(others)}"
        officer = look.officer if look is not None else None
        return {"officer": officer, "switch": switch, "path": path, "told": told}

    def _html(self, html: str, status: int) -> Response:
        return HTMLResponse(html, status, {**HEADERS, "Content-Security-Policy": self.pages.policy()})

    def cookie(self, request: Request) -> str:
        """The value of the session's cookie."""
        return request.cookies.get(self.sessions.cookie, "")

    def with_cookie(self, response: Response, value: str) -> Response:
        """The response, which sets the session's cookie."""
        response.set_cookie(
            self.sessions.cookie,
            value,
            path="/",
            secure=self.sessions.secure,
            httponly=True,
            samesite="lax",
        )
        return response


def language_asked(request: Request) -> str:
    """The language of the page that is asked for."""
    chosen = request.query_params.get("lang", "")
    return language_of(request.headers.get("accept-language", ""), chosen)


def to(url: str) -> Response:
    """Go on there."""
    return RedirectResponse(url, 303, HEADERS)


async def checked_form(look: Look) -> dict[str, str]:
    """The form of a page, which must be one of this session. Raises Forged, Malformed."""
    body = bytearray()
    async for chunk in look.request.stream():
        body += chunk
        if len(body) > _LARGEST:
            raise Forged
    form = read_form(look.request.headers.get("content-type", ""), bytes(body))
    if not hmac.compare_digest(form.get("csrf", "").encode(), look.officer.csrf.encode()):
        raise Forged
    return form
