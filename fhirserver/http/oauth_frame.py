"""What the pages of the authorization server share: the browser's cookies, form tokens, languages, failures as pages.

Every form carries a token that only this browser's cookie yields; answers to forms lead on by 303, so that going back
repeats nothing. Source: docs/reference/oauth.md.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from fhirserver.access.oauth.authorize import Denied, Gone
from fhirserver.access.oauth.buckets import Busy
from fhirserver.access.oauth.changing import OwnPassword
from fhirserver.access.oauth.lockout import SlowDown
from fhirserver.access.oauth.parts import digest, fresh_secret
from fhirserver.access.oauth.request import Malformed, read_form
from fhirserver.access.oauth.signin import SignedIn, SignInRefused
from fhirserver.http.oauth_desk import HEADERS, Desk, body_of
from fhirserver.outcome import OutcomeError, TooLarge

if TYPE_CHECKING:
    from fhirserver.store.oauth_flow import TxnRecord

_STAGES = ("full", "factor", "enrol", "renew")


class Renders(Protocol):
    """What makes the HTML; console.pages.Pages does."""

    def policy(self, form_targets: Iterable[str] = ()) -> str:
        """The Content-Security-Policy of a page."""
        ...

    def login(self, language: str, **values: Any) -> str:
        """User name and password."""
        ...

    def factor(self, language: str, **values: Any) -> str:
        """The second factor."""
        ...

    def enrol(self, language: str, *, seed: str, address: str, **values: Any) -> str:
        """Setting up the second factor."""
        ...

    def renew(self, language: str, **values: Any) -> str:
        """A password of one's own, at the first sign-in."""
        ...

    def password(self, language: str, **values: Any) -> str:
        """Another password."""
        ...

    def consent(self, language: str, *, scopes: Iterable[str], **values: Any) -> str:
        """What an app asks for."""
        ...

    def apps(self, language: str, *, grants: Iterable[Any], **values: Any) -> str:
        """The apps let in."""
        ...

    def logout(self, language: str, **values: Any) -> str:
        """Asks whether to sign out."""
        ...

    def message(self, language: str, title: str, text: str) -> str:
        """Tells something."""
        ...

    def phrase(self, language: str, key: str) -> str:
        """A text of the pages."""
        ...


class Forged(Exception):
    """A form that this browser was not given."""


@dataclass(slots=True)
class Browser:
    """The browser of a request, as its cookies tell. `token`: what its forms must carry."""

    id: str
    session: str | None
    language: str
    fresh: bool

    @property
    def token(self) -> str:
        """Derived from the cookie, which no other site can read."""
        return digest(f"csrf|{self.id}")

    def check(self, form: dict[str, str]) -> None:
        """Raises Forged unless the form is one of this browser's."""
        if self.fresh or not hmac.compare_digest(form.get("csrf", "").encode(), self.token.encode()):
            raise Forged


Handler = Callable[[Request, Browser], Awaitable[Response]]


class Frame:
    """Around every page. `zone`: of the clinic. On https the cookies carry the __Host- prefix."""

    def __init__(
        self, desk: Desk, pages: Renders, language_of: Callable[[str, str], str], zone: ZoneInfo
    ) -> None:
        self.desk = desk
        self.pages = pages
        self.passwords = OwnPassword(desk.parts, desk.signin)
        self.zone = zone
        self._language_of = language_of
        self._secure = desk.parts.issuer.startswith("https:")
        prefix = "__Host-fhirserver" if self._secure else "fhirserver"
        self._browser_cookie, self._session_cookie = f"{prefix}-browser", f"{prefix}-session"

    # --- what came

    async def form(self, request: Request, browser: Browser) -> dict[str, str]:
        """The form, in the language of the page it was on. Raises Forged, Malformed, TooLarge, ClientDisconnect."""
        content_type = request.headers.get("content-type", "")
        form = read_form(content_type, await body_of(request), repeated=("scope",))
        browser.check(form)
        browser.language = self._language_of(request.headers.get("accept-language", ""), form.get("lang", ""))
        return form

    async def answered(self, request: Request, browser: Browser) -> tuple[dict[str, str], str, TxnRecord]:
        """A form that belongs to a kept request: the form, the request's number, the request. Raises Gone too."""
        form = await self.form(request, browser)
        number = form.get("txn", "")
        txn = await self.desk.run(request, lambda _: self.desk.authorization.mine(number, browser.id))
        return form, number, txn

    async def found(self, request: Request, browser: Browser) -> SignedIn | None:
        """Who the browser belongs to, at whatever stage of signing in."""
        return await self.desk.run(
            request, lambda _: self.desk.signin.signed_in(browser.session, stages=_STAGES)
        )

    async def sign_in_first(self, request: Request, browser: Browser, page: str) -> Response:
        """The way to `page` through the sign-in."""
        number = await self.desk.run(request, lambda _: self.desk.authorization.keep({"page": page}, None))
        return self.to("/auth/continue", txn=number, lang=browser.language)

    # --- what goes out

    def page(self, browser: Browser, html: str, status: int = 200, targets: Iterable[str] = ()) -> Response:
        """A page. `targets`: where its forms may lead besides back to us."""
        headers = {**HEADERS, "Content-Security-Policy": self.pages.policy(targets)}
        response = HTMLResponse(html, status, headers)
        if browser.fresh:
            self._set(response, self._browser_cookie, browser.id)
        return response

    def told_page(self, browser: Browser, status: int, title: str, text: str) -> Response:
        """A page that only tells something; `title` and `text` are keys of the words."""
        return self.page(browser, self.pages.message(browser.language, title, text), status)

    def told(self, browser: Browser, key: str | None, slow: SlowDown | None = None) -> str | None:
        """The text of an error, with the time to wait in it."""
        if key is None:
            return None
        text = self.pages.phrase(browser.language, key)
        if slow is None:
            return text
        unit, amount = (
            ("seconds", slow.seconds) if slow.seconds < 120 else ("minutes", -(-slow.seconds // 60))
        )
        return text % f"{amount} {self.pages.phrase(browser.language, unit)}"

    def common(self, browser: Browser, number: str) -> dict[str, Any]:
        """What every page of a kept request shows."""
        return {
            "txn": number,
            "csrf": browser.token,
            "switch": self.switch(browser, "/auth/continue", txn=number),
        }

    @staticmethod
    def switch(browser: Browser, path: str, **query: str) -> str:
        """The same page in the other language."""
        other = "en" if browser.language == "pt" else "pt"
        return f"{path}?{urlencode({**query, 'lang': other})}"

    @staticmethod
    def to(path: str, **query: str) -> Response:
        """On to another page of ours."""
        return RedirectResponse(f"{path}?{urlencode(query)}", 303, HEADERS)

    @staticmethod
    def leave(url: str) -> Response:
        """Back to the app; the address was made with care and goes out as it is."""
        return Response(status_code=303, headers={**HEADERS, "Location": url})

    def with_session(self, response: Response, cookie: str) -> Response:
        """The same, and the browser keeps the session."""
        self._set(response, self._session_cookie, cookie)
        return response

    def without_session(self, response: Response) -> Response:
        """The same, and the browser forgets its session."""
        response.delete_cookie(self._session_cookie, path="/", secure=self._secure, httponly=True)
        return response

    def _set(self, response: Response, name: str, value: str) -> None:
        response.set_cookie(name, value, path="/", secure=self._secure, httponly=True, samesite="lax")

    def guarded(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """Cookies and language in front of the handler; its failures as pages behind it."""

        async def guarded(request: Request) -> Response:
            known = request.cookies.get(self._browser_cookie, "")
            language = self._language_of(
                request.headers.get("accept-language", ""), request.query_params.get("lang", "")
            )
            browser = Browser(
                known or fresh_secret(), request.cookies.get(self._session_cookie), language, fresh=not known
            )
            try:
                return await handler(request, browser)
            except Denied as denied:
                return self.leave(denied.url)
            except Malformed as problem:
                registered = "registered" in str(problem)
                return self.told_page(browser, 400, "bad_title", "unknown_app" if registered else "bad_text")
            except (Gone, SignInRefused):
                return self.told_page(browser, 400, "gone_title", "gone_text")
            except Forged:
                return self.told_page(browser, 403, "forged_title", "forged_text")
            except TooLarge:
                return self.told_page(browser, 413, "bad_title", "bad_text")
            except Busy as busy:
                response = self.told_page(browser, 429, "busy_title", "busy_text")
                response.headers["Retry-After"] = str(busy.seconds)
                return response
            except OutcomeError as problem:
                status = problem.status if problem.status in (400, 408, 503) else 500
                return self.told_page(browser, status, "busy_title", "busy_text")
            except ClientDisconnect:
                return Response(status_code=400)

        return guarded
