"""The grants: dispatch and error bodies are Authlib's, the rules are ours. Synchronous, see docs/decisions/0030.

Sources: RFC 6749, RFC 7636, RFC 9700, OpenID Connect Core; hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from authlib.oauth2.rfc6749 import AuthorizationServer, InvalidGrantError, InvalidRequestError

from fhirserver.access.oauth import granting
from fhirserver.access.oauth.authenticate import authenticated
from fhirserver.access.oauth.clients import SmartClient
from fhirserver.access.oauth.grants import CodeGrant, RefreshGrant, ServiceGrant, SmartRules
from fhirserver.access.oauth.oidc import IdToken
from fhirserver.access.oauth.parts import Parts, Visit, digest, fresh_secret
from fhirserver.access.scopes import Scopes, parse
from fhirserver.store.oauth_flow import CodeRecord
from fhirserver.store.oauth_grants import GrantRecord

if TYPE_CHECKING:
    from fhirserver.access.oauth.request import SmartRequest
    from fhirserver.store.oauth_users import UserRecord

CODE_LIVES = timedelta(seconds=60)
CODE_KEPT = timedelta(days=1)
Triple = tuple[int, Any, list[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a user approved.

    `context`: launch context, members of the token response. `session`: digest of the sign-in. `launch`: digest of the
    EHR launch that is used up by it.
    """

    user: UserRecord
    scopes: Scopes
    context: dict[str, Any]
    session: str
    auth_time: datetime
    launch: str | None = None


class SmartServer(AuthorizationServer):
    """The token endpoint, and the end of an authorization request."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.parts = parts
        identity = IdToken(parts)
        self.register_grant(CodeGrant, [SmartRules(parts), identity])
        self.register_grant(RefreshGrant, [identity])
        self.register_grant(ServiceGrant)

    def query_client(self, client_id: str) -> SmartClient | None:
        """The client, if it is active."""
        record = self.parts.store.clients.get(client_id)
        return SmartClient(record) if record is not None and record.status == "active" else None

    def authenticate_client(
        self, request: SmartRequest, methods: Collection[str], endpoint: str = "token"
    ) -> SmartClient:
        """The one way that the request presents must be the registered one."""
        return authenticated(self.parts, request)

    def create_oauth2_request(self, request: SmartRequest) -> SmartRequest:
        """It is one already."""
        return request

    def handle_response(self, status: int, body: Any, headers: list[tuple[str, str]]) -> Triple:
        """Whatever HTTP is made of it is made elsewhere."""
        return status, body, headers

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nobody listens: what matters is noted on the Visit."""

    def validate_requested_scope(self, scope: str) -> None:
        """The grants look at scopes themselves."""

    def generate_token(
        self,
        grant_type: str,
        client: SmartClient,
        user: UserRecord | None = None,
        scope: str | None = None,
        expires_in: int | None = None,
        include_refresh_token: bool = True,
    ) -> dict[str, Any]:
        """A token response, as yet without launch context; nothing is kept yet."""
        settings = self.parts.settings
        scopes = parse(scope or "", self.parts.vocabulary)
        seconds = settings.access_seconds
        if user is None:
            seconds = settings.system_seconds
        elif granting.ONLINE in scopes:  # an app in use asks again before its session goes idle
            seconds = min(seconds, settings.session_idle_minutes * 30)
        token: dict[str, Any] = {
            "access_token": fresh_secret(),
            "token_type": "Bearer",
            "expires_in": seconds,
            "scope": str(scopes),
        }
        if include_refresh_token and (granting.OFFLINE in scopes or granting.ONLINE in scopes):
            token["refresh_token"] = fresh_secret()
        return token

    def save_token(self, token: dict[str, Any], request: SmartRequest) -> None:
        """Keep the tokens by their digests; the response gets the launch context of the grant."""
        parts, grant = self.parts, request.grant
        now = parts.clock()
        expires = min(now + timedelta(seconds=token["expires_in"]), grant.end)
        token["expires_in"] = max(1, int((expires - now).total_seconds()))
        parts.store.grants.put_access(digest(token["access_token"]), grant.id, token["scope"], now, expires)
        if "refresh_token" in token:
            idle = now + timedelta(days=parts.settings.offline_idle_days)
            parts.store.grants.put_refresh(
                digest(token["refresh_token"]), grant.id, now, min(idle, grant.end)
            )
        token.update(grant.context)
        kind = "token-refreshed" if request.refresh_token is not None else "token-issued"
        request.visit.note(
            kind,
            client=grant.client,
            user=grant.user,
            grant=grant.id,
            scope=token["scope"],
            patient=grant.context.get("patient"),
        )

    def keep_code(self, code: str, request: SmartRequest) -> None:
        """The end of an authorization request: the grant, and a code for it."""
        parts, decision = self.parts, request.decision
        now = parts.clock()
        form = request.payload.data
        if decision.launch is not None and parts.store.launches.take(decision.launch, now) is None:
            raise InvalidRequestError("The launch was used before.")
        grant = GrantRecord(
            uuid.uuid4().hex,
            request.client.get_client_id(),
            decision.user.id,
            str(decision.scopes),
            parts.fhir_base,
            created=now,
            end=self._end(decision, now),
            context=decision.context,
            session=decision.session,
            auth_time=decision.auth_time,
        )
        parts.store.grants.add(grant)
        parts.store.codes.add(
            CodeRecord(
                digest(code),
                request.client.get_client_id(),
                form["redirect_uri"],
                form["code_challenge"],
                grant.id,
                expires=now + CODE_LIVES,
                end=now + CODE_KEPT,
                nonce=form.get("nonce"),
            )
        )
        request.visit.note(
            "code-issued",
            client=grant.client,
            user=grant.user,
            grant=grant.id,
            scope=grant.scope,
            patient=grant.context.get("patient"),
        )

    def _end(self, decision: Decision, now: datetime) -> datetime:
        settings = self.parts.settings
        if granting.OFFLINE in decision.scopes:
            return now + timedelta(days=settings.offline_days)
        if granting.ONLINE in decision.scopes:
            return decision.auth_time + timedelta(hours=settings.session_hours)
        return now + CODE_LIVES + timedelta(seconds=settings.access_seconds)

    def service_grant(self, client: SmartClient, scopes: Scopes) -> GrantRecord:
        """The grant of one token of a backend service."""
        now = self.parts.clock()
        grant = GrantRecord(
            uuid.uuid4().hex,
            client.get_client_id(),
            None,
            str(scopes),
            self.parts.fhir_base,
            created=now,
            end=now + timedelta(seconds=self.parts.settings.system_seconds),
        )
        self.parts.store.grants.add(grant)
        return grant

    def reused(self, visit: Visit, grant: str, client: str) -> InvalidGrantError:
        """A code or refresh token came a second time: someone has a copy. Everything of its grant ends."""
        self.parts.store.grants.revoke(grant, self.parts.clock())
        visit.note("reuse-detected", client=client, grant=grant, error="invalid_grant")
        return InvalidGrantError("It was used before; the grant has ended.")

    def token(self, request: SmartRequest) -> Triple:
        """The answer of the token endpoint: status, body, headers."""
        status, body, headers = self.create_token_response(request)
        if status >= 400:
            known = request.client.get_client_id() if request.client is not None else None
            request.visit.note("token-refused", client=known, error=str(body.get("error")))
        return status, body, headers
