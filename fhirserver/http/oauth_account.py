"""The pages of one's account: the apps that were let in, the password, and signing out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from fhirserver.access.oauth.authorize import Gone
from fhirserver.access.oauth.lockout import SlowDown
from fhirserver.access.oauth.passwords import PasswordRefused
from fhirserver.access.oauth.signin import SignInRefused

if TYPE_CHECKING:
    from fhirserver.access.oauth.signin import SignedIn
    from fhirserver.http.oauth_frame import Browser, Frame
    from fhirserver.http.oauth_people import People


class AccountPages:
    """The handlers."""

    def __init__(self, frame: Frame, people: People) -> None:
        self._frame = frame
        self._people = people

    async def apps(self, request: Request, browser: Browser) -> Response:
        """The apps that the user has let in."""
        found = await self._frame.found(request, browser)
        if found is None or found.session.stage != "full":
            return await self._frame.sign_in_first(request, browser, "/auth/apps")
        grants = await self._frame.desk.run(request, lambda _: self._grants(found))
        address = self._frame.desk.address(request)
        for grant in grants:
            if grant["patient"]:
                choice = await self._people.chosen(found.user, grant["patient"], address)
                grant["patient"] = choice.name if choice else None
        html = self._frame.pages.apps(
            browser.language,
            grants=grants,
            who=found.user.display,
            before=found.session.before and found.session.before.astimezone(self._frame.zone),
            csrf=browser.token,
            notice="withdrawn" in request.query_params,
            switch=self._frame.switch(browser, "/auth/apps"),
        )
        return self._frame.page(browser, html)

    def _grants(self, found: SignedIn) -> list[dict[str, Any]]:
        store = self._frame.desk.parts.store
        told = []
        for grant in store.grants.of_user(found.user.id, self._frame.desk.parts.clock()):
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
        await self._frame.form(request, browser)
        found = await self._frame.found(request, browser)
        if found is None or found.session.stage != "full":
            return self._frame.to("/auth/apps", lang=browser.language)
        id = request.path_params["grant"][:64]

        def revoke(visit: Any) -> bool:
            done = self._frame.desk.parts.store.grants.revoke(
                id, self._frame.desk.parts.clock(), found.user.id
            )
            if done:
                visit.note("revoked", user=found.user.id, name=found.user.name, grant=id)
            return done

        if not await self._frame.desk.run(request, revoke):
            raise Gone
        return self._frame.to("/auth/apps", lang=browser.language, withdrawn="1")

    async def ask_password(self, request: Request, browser: Browser) -> Response:
        """The form for another password."""
        found = await self._frame.found(request, browser)
        if found is None or found.session.stage != "full":
            return await self._frame.sign_in_first(request, browser, "/auth/password")
        return self._password_page(browser, found, notice="changed" in request.query_params)

    async def password(self, request: Request, browser: Browser) -> Response:
        """Another password was chosen."""
        form = await self._frame.form(request, browser)
        found = await self._frame.found(request, browser)
        if found is None or found.session.stage != "full":
            return self._frame.to("/auth/password", lang=browser.language)
        new, everywhere = form.get("password", ""), "everywhere" in form
        if new != form.get("again", ""):
            return self._password_page(browser, found, "refused_differ", 400)
        try:
            cookie = await self._frame.desk.run(
                request,
                lambda v: self._frame.passwords.change(
                    v, found, form.get("current", ""), new, everywhere=everywhere
                ),
            )
        except PasswordRefused as refused:
            return self._password_page(browser, found, refused.word, 400)
        except SignInRefused:
            return self._password_page(browser, found, "wrong_current", 401)
        except SlowDown as slow:
            response = self._password_page(browser, found, "slow", 429, slow=slow)
            response.headers["Retry-After"] = str(slow.seconds)
            return response
        on = self._frame.to("/auth/password", lang=browser.language, changed="1")
        return self._frame.with_session(on, cookie)

    def _password_page(
        self,
        browser: Browser,
        found: SignedIn,
        error: str | None = None,
        status: int = 200,
        *,
        slow: SlowDown | None = None,
        notice: bool = False,
    ) -> Response:
        html = self._frame.pages.password(
            browser.language,
            who=found.user.display,
            username=found.user.name,
            csrf=browser.token,
            strict=self._frame.passwords.is_strict,
            error=self._frame.told(browser, error, slow),
            notice=notice,
            switch=self._frame.switch(browser, "/auth/password"),
        )
        return self._frame.page(browser, html, status)

    async def ask_logout(self, request: Request, browser: Browser) -> Response:
        """Asks whether to sign out; a GET changes nothing."""
        switch = self._frame.switch(browser, "/auth/logout")
        return self._frame.page(
            browser, self._frame.pages.logout(browser.language, csrf=browser.token, switch=switch)
        )

    async def logout(self, request: Request, browser: Browser) -> Response:
        """Sign out."""
        await self._frame.form(request, browser)
        await self._frame.desk.run(request, lambda v: self._frame.desk.signin.out(v, browser.session))
        return self._frame.without_session(self._frame.told_page(browser, 200, "out_title", "out_text"))
