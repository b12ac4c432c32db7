"""The pages of signing in: the app's request comes in, name and password, second factor, own password."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from fhirserver.access.oauth.lockout import SlowDown
from fhirserver.access.oauth.passwords import PasswordRefused
from fhirserver.access.oauth.request import read_form, read_pairs
from fhirserver.access.oauth.signin import SignedIn, SignInRefused
from fhirserver.http.oauth_consent import ConsentPage, targets_of
from fhirserver.http.oauth_desk import body_of

if TYPE_CHECKING:
    from fhirserver.http.oauth_frame import Browser, Frame
    from fhirserver.store.oauth_flow import TxnRecord


class SignInPages:
    """The handlers. `consent`: what comes after signing in."""

    def __init__(self, frame: Frame, consent: ConsentPage) -> None:
        self._frame = frame
        self._consent = consent

    async def authorize(self, request: Request, browser: Browser) -> Response:
        """Check the request of an app, keep it, and go on by GET: only then do same-site cookies come along."""
        if request.method == "GET":
            parameters = read_pairs(request.url.query.encode("latin-1", "replace"))
        else:
            parameters = read_form(request.headers.get("content-type", ""), await body_of(request))
        number = await self._frame.desk.run(
            request, lambda v: self._frame.desk.authorization.begin(v, parameters)
        )
        return self._frame.to("/auth/continue", txn=number)

    async def proceed(self, request: Request, browser: Browser) -> Response:
        """The next page of a kept request."""
        number = request.query_params.get("txn", "")
        txn = await self._frame.desk.run(
            request, lambda _: self._frame.desk.authorization.bound(number, browser.id)
        )
        return await self._step(request, browser, number, txn)

    async def login(self, request: Request, browser: Browser) -> Response:
        """User name and password were typed."""
        form, number, txn = await self._frame.answered(request, browser)
        name = form.get("username", "")
        try:
            cookie, _ = await self._frame.desk.run(
                request, lambda v: self._frame.desk.signin.password(v, name, form.get("password", ""))
            )
        except SignInRefused as refused:
            key = "wrong" if refused.reason == "wrong" else "enrolment_over"
            return await self._login_page(request, browser, number, txn, key, name=name[:128])
        except SlowDown as slow:
            return await self._login_page(request, browser, number, txn, "slow", name=name[:128], slow=slow)
        return self._signed_in(browser, number, cookie)

    async def factor(self, request: Request, browser: Browser) -> Response:
        """The code of the second factor was typed."""
        form, number, txn = await self._frame.answered(request, browser)
        try:
            cookie, _ = await self._frame.desk.run(
                request,
                lambda v: self._frame.desk.signin.code(v, browser.session or "", form.get("code", "")[:16]),
            )
        except SignInRefused as refused:
            if refused.reason == "again":
                return await self._login_page(request, browser, number, txn, "again")
            return await self._step(request, browser, number, txn, error="wrong_code", status=401)
        except SlowDown as slow:
            return await self._login_page(request, browser, number, txn, "slow", slow=slow)
        return self._signed_in(browser, number, cookie)

    async def renew(self, request: Request, browser: Browser) -> Response:
        """A password of one's own was chosen, as the last step of signing in."""
        form, number, txn = await self._frame.answered(request, browser)
        new = form.get("password", "")
        if new != form.get("again", ""):
            return await self._step(request, browser, number, txn, error="refused_differ", status=400)
        try:
            cookie, _ = await self._frame.desk.run(
                request, lambda v: self._frame.passwords.choose(v, browser.session or "", new)
            )
        except PasswordRefused as refused:
            return await self._step(request, browser, number, txn, error=refused.word, status=400)
        except SignInRefused:
            return await self._login_page(request, browser, number, txn, "again")
        return self._signed_in(browser, number, cookie)

    async def _step(
        self,
        request: Request,
        browser: Browser,
        number: str,
        txn: TxnRecord,
        *,
        error: str | None = None,
        status: int = 200,
    ) -> Response:
        """The page that comes next: sign-in, second factor, own password, consent; or the way back to the app."""
        found = await self._frame.found(request, browser)
        if found is not None and found.session.stage != "full":
            return self._stage_page(browser, number, txn, found, error, status)
        authorization = self._frame.desk.authorization
        if (
            await self._frame.desk.run(request, lambda v: authorization.needs_login(v, txn, found))
            or not found
        ):
            return await self._login_page(request, browser, number, txn, None)
        if txn.client_id is None:
            return self._frame.to(txn.params["page"], lang=browser.language)
        return await self._consent.ask(request, browser, number, txn, found)

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
            client = await self._frame.desk.run(
                request, lambda _: self._frame.desk.parts.store.clients.get(txn.client_id or "")
            )
            app = client.name if client is not None else None
        hint = txn.params.get("login_hint", "")[:128]
        html = self._frame.pages.login(
            browser.language,
            **self._frame.common(browser, number),
            app=app,
            username=name or hint,
            error=self._frame.told(browser, error, slow),
        )
        status = 200 if error is None else 429 if slow is not None else 401
        response = self._frame.page(browser, html, status, targets_of(txn))
        if slow is not None:
            response.headers["Retry-After"] = str(slow.seconds)
        return response

    def _stage_page(
        self,
        browser: Browser,
        number: str,
        txn: TxnRecord,
        found: SignedIn,
        error: str | None,
        status: int,
    ) -> Response:
        common = {**self._frame.common(browser, number), "error": self._frame.told(browser, error)}
        if found.session.stage == "factor":
            html = self._frame.pages.factor(browser.language, **common)
            return self._frame.page(browser, html, status, targets_of(txn))
        if found.session.stage == "renew":
            strict, name = self._frame.passwords.is_strict, found.user.name
            html = self._frame.pages.renew(browser.language, username=name, strict=strict, **common)
            return self._frame.page(browser, html, status, targets_of(txn))
        seed, address = self._frame.desk.signin.seed(found)
        html = self._frame.pages.enrol(browser.language, seed=seed, address=address, **common)
        return self._frame.page(browser, html, status, targets_of(txn))

    def _signed_in(self, browser: Browser, number: str, cookie: str) -> Response:
        on = self._frame.to("/auth/continue", txn=number, lang=browser.language)
        return self._frame.with_session(on, cookie)
