"""Signing in to the compliance officer's pages, and out of them."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from fhirserver.access.oauth.buckets import Busy
from fhirserver.console.auditshell import Look, Shell, checked_form, language_asked, to
from fhirserver.console.session import HOME, NotAuditor, NotSignedIn


class SignIn:
    """The ways in and out."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    async def sign_in(self, request: Request) -> Response:
        """Begin the SMART flow."""
        try:
            self._shell.door.admit(request)
        except Busy as busy:
            return self._slowed(request, busy)
        url, cookie = await self._shell.sessions.begin(
            request.query_params.get("back", HOME), language_asked(request)
        )
        return self._shell.with_cookie(to(url), cookie)

    async def callback(self, request: Request) -> Response:
        """The server has answered."""
        answer = dict(request.query_params)
        try:
            address = self._shell.door.admit(request)
            back, cookie = await self._shell.sessions.finish(self._shell.cookie(request), answer, address)
        except NotAuditor:
            return self._shell.told(language_asked(request), 403, "not_auditor_title", "not_auditor_text")
        except NotSignedIn:
            return self._shell.told(language_asked(request), 400, "ended_title", "ended_text")
        except Busy as busy:
            return self._slowed(request, busy)
        return self._shell.with_cookie(to(back), cookie)

    def _slowed(self, request: Request, busy: Busy) -> Response:
        response = self._shell.told(language_asked(request), 429, "busy_title", "busy_text")
        response.headers["Retry-After"] = str(busy.seconds)
        return response

    async def sign_out(self, look: Look) -> Response:
        """End the session and its token; the server's own sign-out comes next."""
        await checked_form(look)
        await self._shell.sessions.end(self._shell.cookie(look.request), look.officer.agent.address or "")
        response = to(f"/auth/logout?lang={look.language}")
        response.delete_cookie(
            self._shell.sessions.cookie, path="/", secure=self._shell.sessions.secure, httponly=True
        )
        return response
