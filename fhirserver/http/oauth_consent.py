"""The consent page: what an app asks for, about whom, and what the user says to it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from fhirserver.access.oauth.clients import schemes_and_hosts
from fhirserver.http.oauth_frame import Forged

if TYPE_CHECKING:
    from fhirserver.access.oauth.authorize import Question
    from fhirserver.access.oauth.signin import SignedIn
    from fhirserver.http.oauth_frame import Browser, Frame
    from fhirserver.http.oauth_people import Choice, People
    from fhirserver.store.oauth_flow import TxnRecord


class ConsentPage:
    """Asks and hears the answer. `people`: finds the patients to choose from."""

    def __init__(self, frame: Frame, people: People) -> None:
        self._frame = frame
        self._people = people

    async def ask(
        self,
        request: Request,
        browser: Browser,
        number: str,
        txn: TxnRecord,
        found: SignedIn,
        *,
        q: str = "",
        ticks: list[str] | None = None,
        error: str | None = None,
        status: int = 200,
    ) -> Response:
        """The page; or the way back to the app, where there is nothing to ask. `q`: the patient's name searched for."""
        authorization = self._frame.desk.authorization
        question = await self._frame.desk.run(request, lambda v: authorization.question(v, txn, found))
        if question.skip:
            url = await self._frame.desk.run(
                request, lambda v: authorization.approve(v, txn, found, None, None)
            )
            return self._frame.leave(url)
        return await self._page(request, browser, number, txn, found, question, q, ticks, error, status)

    async def consent(self, request: Request, browser: Browser) -> Response:
        """The user decided, or looks for a patient."""
        form, number, txn = await self._frame.answered(request, browser)
        found = await self._frame.found(request, browser)
        if found is None or found.session.stage != "full" or txn.client_id is None:
            return self._frame.to("/auth/continue", txn=number, lang=browser.language)
        authorization = self._frame.desk.authorization
        if await self._frame.desk.run(request, lambda v: authorization.needs_login(v, txn, found)):
            return self._frame.to("/auth/continue", txn=number, lang=browser.language)
        decision = form.get("decision")
        if decision == "deny":
            denied = await self._frame.desk.run(
                request, lambda v: authorization.refuse(v, txn, found, "The user denied access.")
            )
            raise denied
        ticks, patient = form.get("scope", "").split(), form.get("patient", "")
        if decision == "search":
            return await self.ask(
                request, browser, number, txn, found, q=form.get("q", "")[:100], ticks=ticks
            )
        if decision != "approve":
            raise Forged
        question = await self._frame.desk.run(request, lambda v: authorization.question(v, txn, found))
        if question.choose and not patient:
            q = form.get("q", "")[:100]
            return await self.ask(
                request, browser, number, txn, found, q=q, ticks=ticks, error="must_choose", status=400
            )
        if question.choose:
            address = self._frame.desk.address(request)
            if await self._people.chosen(found.user, patient, address) is None:
                reason = "The user may not act for the patient."
                raise await self._frame.desk.run(
                    request, lambda v: authorization.refuse(v, txn, found, reason)
                )
        url = await self._frame.desk.run(
            request, lambda v: authorization.approve(v, txn, found, ticks, patient or None)
        )
        return self._frame.leave(url)

    async def _page(
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
        address = self._frame.desk.address(request)
        patients: list[Choice] = []
        more, patient = False, None
        searchable = self._people.is_searching(found.user)
        if question.choose:
            patients, more = await self._people.offered(found.user, q, address)
            if not patients and not searchable:
                reason = "The user has no patient to act for."
                raise await self._frame.desk.run(
                    request, lambda v: self._frame.desk.authorization.refuse(v, txn, found, reason)
                )
        elif "patient" in question.context:
            patient = await self._people.chosen(found.user, question.context["patient"], address)
        html = self._frame.pages.consent(
            browser.language,
            scopes=str(question.offered).split(" "),
            **self._frame.common(browser, number),
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
            error=self._frame.told(browser, error),
        )
        return self._frame.page(browser, html, status, targets_of(txn))


def _preselected(found: SignedIn, patients: list[Choice]) -> str | None:
    """The only one, or the user's own; anyone else is chosen by hand."""
    own = [one.id for one in patients if f"Patient/{one.id}" == found.user.fhir_user]
    return own[0] if own else patients[0].id if len(patients) == 1 else None


def targets_of(txn: TxnRecord) -> tuple[str, ...]:
    """Where the forms of a request may lead besides back to us: Chromium applies form-action to what comes after."""
    return schemes_and_hosts([txn.params["redirect_uri"]]) if txn.client_id is not None else ()


def _target(redirect_uri: str) -> str:
    """Where the user goes afterwards, in short."""
    parts = urlsplit(redirect_uri)
    return parts.netloc or parts.scheme
