"""The authorization request, from its check to its code. The pages in between belong to the console.

A checked request is kept on the server; the browser only carries its number, and the number only works in the browser
that was first shown it. Source: hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html#obtain-authorization-code
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from authlib.common.urls import add_params_to_uri
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import AccessDeniedError

from fhirserver.access.oauth import granting
from fhirserver.access.oauth.parts import digest, fresh_secret
from fhirserver.access.oauth.request import Malformed, SmartRequest, check_characters
from fhirserver.access.oauth.server import Decision
from fhirserver.access.scopes import Scopes, parse
from fhirserver.store.oauth_flow import TxnRecord

if TYPE_CHECKING:
    from fhirserver.access.oauth.parts import Parts, Visit
    from fhirserver.access.oauth.server import SmartServer
    from fhirserver.access.oauth.signin import SignedIn
    from fhirserver.store.oauth import ClientRecord

TXN_LIVES = timedelta(minutes=20)


class Denied(Exception):
    """The request ends here, without a code. `url`: where the browser goes, with the error."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url


class Gone(Exception):
    """There is no such request in this browser: it ended, was answered, or is another browser's."""


class LoginRequired(OAuth2Error):
    """prompt=none without a session."""

    error = "login_required"


class ConsentRequired(OAuth2Error):
    """prompt=none where the user must agree."""

    error = "consent_required"


class InteractionRequired(OAuth2Error):
    """prompt=none where a patient must be chosen."""

    error = "interaction_required"


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask a signed-in user.

    `offered`: what may be granted. `context`: of the EHR launch. `choose`: a patient must be chosen. `skip`: nothing else
    needs to be asked.
    """

    client: ClientRecord
    offered: Scopes
    context: dict[str, Any]
    choose: bool
    skip: bool


class Authorization:
    """The steps of an authorization request."""

    def __init__(self, parts: Parts, server: SmartServer) -> None:
        self._parts = parts
        self._server = server

    def begin(self, visit: Visit, parameters: Mapping[str, str]) -> str:
        """Check a request and keep it; the number of what is kept.

        Raises Malformed (nobody to send the browser back to), Denied.
        """
        check_characters(parameters)
        client = self._server.query_client(parameters.get("client_id", ""))
        if client is None:
            raise Malformed("The app is not registered here.")
        if not client.check_redirect_uri(parameters.get("redirect_uri", "")):
            raise Malformed("The app named an address to return to that is not registered for it.")
        request = SmartRequest("GET", parameters, visit)
        try:
            self._server.get_consent_grant(request)
        except OAuth2Error as error:
            raise self._denied(visit, request, error) from None
        kept = dict(request.payload.data)
        return self.keep(kept, kept["client_id"])

    def keep(self, parameters: dict[str, str], client_id: str | None) -> str:
        """Keep a request; its number. Without a client: someone came for a page of ours."""
        number = fresh_secret()
        now = self._parts.clock()
        self._parts.store.txns.add(TxnRecord(digest(number), parameters, client_id, now, now + TXN_LIVES))
        return number

    def bound(self, number: str, browser: str) -> TxnRecord:
        """The request, which belongs to this browser from now on. Raises Gone."""
        txn = self._parts.store.txns.bind(digest(number), digest(browser), self._parts.clock())
        if txn is None:
            raise Gone
        return txn

    def mine(self, number: str, browser: str) -> TxnRecord:
        """The request of this browser. Raises Gone."""
        txn = self._parts.store.txns.get(digest(number), digest(browser), self._parts.clock())
        if txn is None:
            raise Gone
        return txn

    def needs_login(self, visit: Visit, txn: TxnRecord, found: SignedIn | None) -> bool:
        """True where somebody must sign in first. Raises Denied (prompt=none)."""
        prompts = txn.params.get("prompt", "").split()
        if found is not None and ("login" not in prompts or found.session.auth_time >= txn.created):
            return False
        if "none" in prompts:
            raise self._denied(visit, self._request(visit, txn), LoginRequired("Nobody is signed in."))
        return True

    def question(self, visit: Visit, txn: TxnRecord, found: SignedIn) -> Question:
        """What this user is to be asked. Raises Denied, Gone."""
        request = self._request(visit, txn)
        client = self._server.query_client(txn.client_id or "")
        if client is None:
            raise Gone
        asked = parse(txn.params.get("scope", ""), self._parts.vocabulary)
        offered = granting.for_user(self._parts, asked, client.record, found.user)
        if not offered:
            raise self._denied(
                visit, request, AccessDeniedError("The user's role allows none of the scopes.")
            )
        context = self._launch_context(visit, txn, found, offered)
        choose = granting.needs_patient(offered) and "patient" not in context
        prompts = txn.params.get("prompt", "").split()
        skip = client.record.first_party and "consent" not in prompts
        if "none" in prompts:
            if choose:
                raise self._denied(visit, request, InteractionRequired("A patient must be chosen."))
            if not skip:
                raise self._denied(visit, request, ConsentRequired("The user must agree."))
        return Question(client.record, offered, context, choose, skip and not choose)

    def _launch_context(
        self, visit: Visit, txn: TxnRecord, found: SignedIn, offered: Scopes
    ) -> dict[str, Any]:
        if "launch" not in offered:
            return {}
        launch = self._parts.store.launches.get(digest(txn.params.get("launch", "")), self._parts.clock())
        if launch is None:
            raise Gone
        if launch.user != found.user.id:
            refusal = AccessDeniedError("The app was launched for another user.")
            raise self._denied(visit, self._request(visit, txn), refusal)
        return launch.context

    def refuse(self, visit: Visit, txn: TxnRecord, found: SignedIn | None, reason: str) -> Denied:
        """The end of a request that its user denied, or could not approve; `reason` for the app's developer."""
        user = found.user.id if found else None
        visit.note("consent-denied", client=txn.client_id, user=user, error="access_denied")
        self._parts.store.txns.take(txn.digest, txn.browser or "", self._parts.clock())
        return self._denied(visit, self._request(visit, txn), AccessDeniedError(reason))

    def approve(
        self,
        visit: Visit,
        txn: TxnRecord,
        found: SignedIn,
        ticks: Collection[str] | None,
        patient: str | None,
    ) -> str:
        """The end of a request that its user approved: where the browser goes, with the code.

        `ticks`: the scopes left ticked, None for all. `patient`: the chosen one, checked already. Raises Denied, Gone
        (also where something was ticked that was not offered).
        """
        question = self.question(visit, txn, found)
        granted = question.offered if ticks is None else granting.ticked(question.offered, ticks)
        if granted is None:
            raise Gone
        if not granted:
            raise self.refuse(visit, txn, found, "The user granted nothing.")
        context = dict(question.context)
        if question.choose and granting.needs_patient(granted):
            if patient is None:
                raise self.refuse(visit, txn, found, "No patient was chosen.")
            context["patient"] = patient
        if self._parts.store.txns.take(txn.digest, txn.browser or "", self._parts.clock()) is None:
            raise Gone
        known = {"client": txn.client_id, "user": found.user.id, "patient": context.get("patient")}
        visit.note("consent", scope=str(granted), **known)
        session = found.session
        launch = digest(txn.params["launch"]) if "launch" in question.offered else None
        decision = Decision(found.user, granted, context, session.digest, session.auth_time, launch)
        return self._code(visit, txn, decision)

    def _code(self, visit: Visit, txn: TxnRecord, decision: Decision) -> str:
        request = self._request(visit, txn)
        request.decision = decision
        request.user = decision.user
        grant = self._server.get_authorization_grant(request)
        _, _, headers = self._server.create_authorization_response(
            request, grant_user=decision.user, grant=grant
        )
        return self._with_issuer(dict(headers)["Location"])

    def _request(self, visit: Visit, txn: TxnRecord) -> SmartRequest:
        return SmartRequest("GET", txn.params, visit)

    def _denied(self, visit: Visit, request: SmartRequest, error: OAuth2Error) -> Denied:
        error.redirect_uri = request.payload.redirect_uri
        error.state = request.payload.state
        _, _, headers = error()
        if not isinstance(error, AccessDeniedError):
            visit.note("token-refused", client=request.payload.client_id, error=error.error)
        return Denied(self._with_issuer(dict(headers)["Location"]))

    def _with_issuer(self, location: str) -> str:
        """Says who answers (RFC 9207), against mix-up of authorization servers."""
        return str(add_params_to_uri(location, {"iss": self._parts.issuer}))
