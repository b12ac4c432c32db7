"""The pages that people see: authorize, sign-in, second factor, consent, apps, sign-out.

Every form carries the number of its request and a token that only this browser's cookie yields; answers to forms lead
on by 303, so that going back repeats nothing. Source: docs/reference/oauth.md.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlencode, urlsplit

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from fhirserver.access.oauth.authorize import Denied, Gone, Question
from fhirserver.access.oauth.clients import schemes_and_hosts
from fhirserver.access.oauth.lockout import SlowDown
from fhirserver.access.oauth.parts import digest, fresh_secret
from fhirserver.access.oauth.request import Malformed, read_form, read_pairs
from fhirserver.access.oauth.signin import SignedIn, SignInRefused
from fhirserver.http.oauth_desk import HEADERS, Busy, Desk, body_of, peer
from fhirserver.outcome import OutcomeError, TooLarge

if TYPE_CHECKING:
    from fastapi import FastAPI

    from fhirserver.http.oauth_people import Choice, People
    from fhirserver.store.oauth_flow import TxnRecord

_STAGES = ("full", "factor", "enrol")


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


class PageDesk:
    """The handlers. `secure`: the server is reached by https; cookies then carry the __Host- prefix."""

    def __init__(
        self, desk: Desk, people: People, pages: Renders, language_of: Callable[[str, str], str]
    ) -> None:
        self._desk = desk
        self._people = people
        self._pages = pages
        self._language_of = language_of
        self._secure = desk.parts.issuer.startswith("https:")
        prefix = "__Host-fhirserver" if self._secure else "fhirserver"
        self._browser_cookie, self._session_cookie = f"{prefix}-browser", f"{prefix}-session"

    def mount(self, site: FastAPI) -> None:
        """Adds the routes to the site."""
        routes: tuple[tuple[str, str, Handler], ...] = (
            ("GET", "/auth/authorize", self.authorize),
            ("POST", "/auth/authorize", self.authorize),
            ("GET", "/auth/continue", self.proceed),
            ("POST", "/auth/login", self.login),
            ("POST", "/auth/factor", self.factor),
            ("POST", "/auth/consent", self.consent),
            ("GET", "/auth/apps", self.apps),
            ("POST", "/auth/apps/{grant}/revoke", self.withdraw),
            ("GET", "/auth/logout", self.ask_logout),
            ("POST", "/auth/logout", self.logout),
        )
        for method, path, handler in routes:
            site.add_api_route(
                path, self._guarded(handler), methods=[method], include_in_schema=False, response_model=None
            )

    async def authorize(self, request: Request, browser: Browser) -> Response:
        """Check the request of an app, keep it, and go on by GET: only then do same-site cookies come along."""
        if request.method == "GET":
            parameters = read_pairs(request.url.query.encode("latin-1", "replace"))
        else:
            parameters = read_form(request.headers.get("content-type", ""), await body_of(request))
        number = await self._desk.run(request, lambda v: self._desk.authorization.begin(v, parameters))
        return self._to("/auth/continue", txn=number)

    async def proceed(self, request: Request, browser: Browser) -> Response:
        """The next page of a kept request."""
        number = request.query_params.get("txn", "")
        txn = await self._desk.run(request, lambda _: self._desk.authorization.bound(number, browser.id))
        return await self._step(request, browser, number, txn)

    async def login(self, request: Request, browser: Browser) -> Response:
        """User name and password were typed."""
        form, number, txn = await self._form(request, browser)
        name = form.get("username", "")
        try:
            cookie, _ = await self._desk.run(
                request, lambda v: self._desk.signin.password(v, name, form.get("password", ""))
            )
        except SignInRefused as refused:
            key = "wrong" if refused.reason == "wrong" else "enrolment_over"
            return await self._login_page(request, browser, number, txn, key, name=name[:128])
        except SlowDown as slow:
            return await self._login_page(request, browser, number, txn, "slow", name=name[:128], slow=slow)
        return self._signed_in(browser, number, cookie)

    async def factor(self, request: Request, browser: Browser) -> Response:
        """The code of the second factor was typed."""
        form, number, txn = await self._form(request, browser)
        try:
            cookie, _ = await self._desk.run(
                request,
                lambda v: self._desk.signin.code(v, browser.session or "", form.get("code", "")[:16]),
            )
        except SignInRefused as refused:
            if refused.reason == "again":
                return await self._login_page(request, browser, number, txn, "again")
            return await self._step(request, browser, number, txn, error="wrong_code", status=401)
        except SlowDown as slow:
            return await self._login_page(request, browser, number, txn, "slow", slow=slow)
        return self._signed_in(browser, number, cookie)

    async def consent(self, request: Request, browser: Browser) -> Response:
        """The user decided, or looks for a patient."""
        form, number, txn = await self._form(request, browser)
        found = await self._found(request, browser)
        if found is None or found.session.stage != "full" or txn.client_id is None:
            return self._to("/auth/continue", txn=number, lang=browser.language)
        authorization = self._desk.authorization
        decision = form.get("decision")
        if decision == "deny":
            denied = await self._desk.run(
                request, lambda v: authorization.refuse(v, txn, found, "The user denied access.")
            )
            raise denied
        ticks, patient = form.get("scope", "").split(), form.get("patient", "")
        if decision == "search":
            return await self._step(request, browser, number, txn, q=form.get("q", "")[:100], ticks=ticks)
        if decision != "approve":
            raise Forged
        question = await self._desk.run(request, lambda v: authorization.question(v, txn, found))
        if question.choose and not patient:
            q = form.get("q", "")[:100]
            return await self._step(
                request, browser, number, txn, q=q, ticks=ticks, error="must_choose", status=400
            )
        if question.choose:
            address = peer(request, self._desk.trusted)
            if await self._people.chosen(found.user, patient, address) is None:
                reason = "The user may not act for the patient."
                raise await self._desk.run(request, lambda v: authorization.refuse(v, txn, found, reason))
        url = await self._desk.run(
            request, lambda v: authorization.approve(v, txn, found, ticks, patient or None)
        )
        return self._leave(url)

    async def apps(self, request: Request, browser: Browser) -> Response:
        """The apps that the user has let in."""
        found = await self._found(request, browser)
        if found is None or found.session.stage != "full":
            number = await self._desk.run(request, lambda _: self._desk.authorization.keep({}, None))
            return self._to("/auth/continue", txn=number, lang=browser.language)
        grants = await self._desk.run(request, lambda _: self._grants(found))
        address = peer(request, self._desk.trusted)
        for grant in grants:
            if grant["patient"]:
                choice = await self._people.chosen(found.user, grant["patient"], address)
                grant["patient"] = choice.name if choice else None
        html = self._pages.apps(
            browser.language,
            grants=grants,
            who=found.user.display,
            csrf=browser.token,
            notice="withdrawn" in request.query_params,
            switch=self._switch(browser, "/auth/apps"),
        )
        return self._page(browser, html)

    def _grants(self, found: SignedIn) -> list[dict[str, Any]]:
        store = self._desk.parts.store
        told = []
        for grant in store.grants.of_user(found.user.id, self._desk.parts.clock()):
            client = store.clients.get(grant.client or "")
            told.append(
                {
                    "id": grant.id,
                    "app": client.name if client else grant.client,
                    "since": grant.created.date().isoformat(),
                    "patient": grant.context.get("patient"),
                    "scopes": grant.scope.split(),
                }
            )
        return told

    async def withdraw(self, request: Request, browser: Browser) -> Response:
        """The user takes an app's access back."""
        form = read_form(request.headers.get("content-type", ""), await body_of(request))
        browser.check(form)
        found = await self._found(request, browser)
        if found is None or found.session.stage != "full":
            return self._to("/auth/apps", lang=browser.language)
        id = request.path_params["grant"][:64]

        def revoke(visit: Any) -> bool:
            done = self._desk.parts.store.grants.revoke(id, self._desk.parts.clock(), found.user.id)
            if done:
                visit.note("revoked", user=found.user.id, name=found.user.name, grant=id)
            return done

        if not await self._desk.run(request, revoke):
            raise Gone
        return self._to("/auth/apps", lang=browser.language, withdrawn="1")

    async def ask_logout(self, request: Request, browser: Browser) -> Response:
        """Asks whether to sign out; a GET changes nothing."""
        switch = self._switch(browser, "/auth/logout")
        return self._page(browser, self._pages.logout(browser.language, csrf=browser.token, switch=switch))

    async def logout(self, request: Request, browser: Browser) -> Response:
        """Sign out."""
        form = read_form(request.headers.get("content-type", ""), await body_of(request))
        browser.check(form)
        await self._desk.run(request, lambda v: self._desk.signin.out(v, browser.session))
        response = self._page(browser, self._pages.message(browser.language, "out_title", "out_text"))
        response.delete_cookie(self._session_cookie, path="/", secure=self._secure, httponly=True)
        return response

    async def _step(
        self,
        request: Request,
        browser: Browser,
        number: str,
        txn: TxnRecord,
        *,
        q: str = "",
        ticks: list[str] | None = None,
        error: str | None = None,
        status: int = 200,
    ) -> Response:
        """The page that comes next: sign-in, second factor, consent; or the way back to the app."""
        found = await self._found(request, browser)
        if found is not None and found.session.stage != "full":
            return self._factor_page(browser, number, txn, found, error, status)
        authorization = self._desk.authorization
        if await self._desk.run(request, lambda v: authorization.needs_login(v, txn, found)) or not found:
            return await self._login_page(request, browser, number, txn, None)
        if txn.client_id is None:
            return self._to("/auth/apps", lang=browser.language)
        question = await self._desk.run(request, lambda v: authorization.question(v, txn, found))
        if question.skip:
            url = await self._desk.run(request, lambda v: authorization.approve(v, txn, found, None, None))
            return self._leave(url)
        return await self._consent_page(
            request, browser, number, txn, found, question, q, ticks, error, status
        )

    async def _login_page(
        self,
        request: Request,
        browser: Browser,
        number: str,
        txn: TxnRecord,
        error: str | None,
        *,
        name: str = "",
        slow: SlowDown | None = None,
    ) -> Response:
        app = None
        if txn.client_id is not None:
            client = await self._desk.run(
                request, lambda _: self._desk.parts.store.clients.get(txn.client_id or "")
            )
            app = client.name if client is not None else None
        hint = txn.params.get("login_hint", "")[:128]
        html = self._pages.login(
            browser.language,
            **self._common(browser, number),
            app=app,
            username=name or hint,
            error=self._told(browser, error, slow),
        )
        status = 200 if error is None else 429 if slow is not None else 401
        response = self._page(browser, html, status, _targets(txn))
        if slow is not None:
            response.headers["Retry-After"] = str(slow.seconds)
        return response

    def _told(self, browser: Browser, key: str | None, slow: SlowDown | None = None) -> str | None:
        if key is None:
            return None
        text = self._pages.phrase(browser.language, key)
        if slow is None:
            return text
        unit, amount = (
            ("seconds", slow.seconds) if slow.seconds < 120 else ("minutes", -(-slow.seconds // 60))
        )
        return text % f"{amount} {self._pages.phrase(browser.language, unit)}"

    def _factor_page(
        self,
        browser: Browser,
        number: str,
        txn: TxnRecord,
        found: SignedIn,
        error: str | None,
        status: int,
    ) -> Response:
        common = {**self._common(browser, number), "error": self._told(browser, error)}
        if found.session.stage == "factor":
            html = self._pages.factor(browser.language, **common)
            return self._page(browser, html, status, _targets(txn))
        seed, address = self._desk.signin.seed(found)
        html = self._pages.enrol(browser.language, seed=seed, address=address, **common)
        return self._page(browser, html, status, _targets(txn))

    async def _consent_page(
        self,
        request: Request,
        browser: Browser,
        number: str,
        txn: TxnRecord,
        found: SignedIn,
        question: Question,
        q: str,
        ticks: list[str] | None,
        error: str | None,
        status: int,
    ) -> Response:
        address = peer(request, self._desk.trusted)
        patients: list[Choice] = []
        more, patient = False, None
        searchable = self._people.is_searching(found.user)
        if question.choose:
            patients, more = await self._people.offered(found.user, q, address)
            if not patients and not searchable:
                reason = "The user has no patient to act for."
                raise await self._desk.run(
                    request, lambda v: self._desk.authorization.refuse(v, txn, found, reason)
                )
        elif "patient" in question.context:
            patient = await self._people.chosen(found.user, question.context["patient"], address)
        html = self._pages.consent(
            browser.language,
            scopes=str(question.offered).split(" "),
            **self._common(browser, number),
            app=question.client.name,
            who=found.user.display,
            choose=question.choose,
            searchable=searchable,
            q=q,
            patients=patients,
            chosen=_preselected(found, patients),
            more=more,
            patient=patient,
            ticks=ticks,
            target=_target(txn.params["redirect_uri"]),
            error=self._told(browser, error),
        )
        return self._page(browser, html, status, _targets(txn))

    def _common(self, browser: Browser, number: str) -> dict[str, Any]:
        return {
            "txn": number,
            "csrf": browser.token,
            "switch": self._switch(browser, "/auth/continue", txn=number),
        }

    @staticmethod
    def _switch(browser: Browser, path: str, **query: str) -> str:
        other = "en" if browser.language == "pt" else "pt"
        return f"{path}?{urlencode({**query, 'lang': other})}"

    async def _form(self, request: Request, browser: Browser) -> tuple[dict[str, str], str, TxnRecord]:
        content_type = request.headers.get("content-type", "")
        form = read_form(content_type, await body_of(request), repeated=("scope",))
        browser.check(form)
        browser.language = self._language_of(request.headers.get("accept-language", ""), form.get("lang", ""))
        number = form.get("txn", "")
        txn = await self._desk.run(request, lambda _: self._desk.authorization.mine(number, browser.id))
        return form, number, txn

    async def _found(self, request: Request, browser: Browser) -> SignedIn | None:
        return await self._desk.run(
            request, lambda _: self._desk.signin.signed_in(browser.session, stages=_STAGES)
        )

    def _signed_in(self, browser: Browser, number: str, cookie: str) -> Response:
        response = self._to("/auth/continue", txn=number, lang=browser.language)
        self._set(response, self._session_cookie, cookie)
        return response

    def _set(self, response: Response, name: str, value: str) -> None:
        response.set_cookie(name, value, path="/", secure=self._secure, httponly=True, samesite="lax")

    def _page(self, browser: Browser, html: str, status: int = 200, targets: Iterable[str] = ()) -> Response:
        headers = {**HEADERS, "Content-Security-Policy": self._pages.policy(targets)}
        response = HTMLResponse(html, status, headers)
        if browser.fresh:
            self._set(response, self._browser_cookie, browser.id)
        return response

    @staticmethod
    def _to(path: str, **query: str) -> Response:
        return RedirectResponse(f"{path}?{urlencode(query)}", 303, HEADERS)

    @staticmethod
    def _leave(url: str) -> Response:
        """Back to the app; the address was made with care and goes out as it is."""
        return Response(status_code=303, headers={**HEADERS, "Location": url})

    def _guarded(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
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
                return self._leave(denied.url)
            except Malformed as problem:
                registered = "registered" in str(problem)
                return self._told_page(browser, 400, "bad_title", "unknown_app" if registered else "bad_text")
            except (Gone, SignInRefused):
                return self._told_page(browser, 400, "gone_title", "gone_text")
            except Forged:
                return self._told_page(browser, 403, "forged_title", "forged_text")
            except TooLarge:
                return self._told_page(browser, 413, "bad_title", "bad_text")
            except Busy as busy:
                response = self._told_page(browser, 429, "busy_title", "busy_text")
                response.headers["Retry-After"] = str(busy.seconds)
                return response
            except OutcomeError as problem:
                status = problem.status if problem.status in (400, 503) else 500
                return self._told_page(browser, status, "busy_title", "busy_text")
            except ClientDisconnect:
                return Response(status_code=400)

        return guarded

    def _told_page(self, browser: Browser, status: int, title: str, text: str) -> Response:
        return self._page(browser, self._pages.message(browser.language, title, text), status)


def _preselected(found: SignedIn, patients: list[Choice]) -> str | None:
    """The only one, or the user's own; anyone else is chosen by hand."""
    own = [one.id for one in patients if f"Patient/{one.id}" == found.user.fhir_user]
    return own[0] if own else patients[0].id if len(patients) == 1 else None


def _targets(txn: TxnRecord) -> tuple[str, ...]:
    """Where the forms of a request may lead besides back to us: Chromium applies form-action to what comes after."""
    return schemes_and_hosts([txn.params["redirect_uri"]]) if txn.client_id is not None else ()


def _target(redirect_uri: str) -> str:
    """Where the user goes afterwards, in short."""
    parts = urlsplit(redirect_uri)
    return parts.netloc or parts.scheme
