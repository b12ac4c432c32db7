"""Events of sign-in, tokens, consent, break-glass and changes of security: one table from what happened to its codes.

Source: docs/reference/audit-events.md; IHE ITI-71 (IUA), IHE BALP (AuthZ consent), DICOM PS3.16 CID 401-403.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from fhirserver.audit import vocabulary as v
from fhirserver.audit.agents import coded
from fhirserver.audit.event import SUCCESS, Entity, Event, EventBuilder, Head, Outcome
from fhirserver.audit.record import Recorder
from fhirserver.audit.recorded import QueryRecorder
from fhirserver.context import AuthEvent, JsonObject


class Line(NamedTuple):
    """The codes of one kind of event. `user`: the type of the user agent. `role`: of the entity that was changed."""

    type: v.Code
    subtype: v.Code
    user: v.Code = v.HUMAN_USER
    role: str | None = None
    purpose: str | None = None


def _own(code: str) -> v.Code:
    return (v.SUBTYPE, code)


_TOKEN = (v.IHE_EVENT, "ITI-71")
_RECIPIENT = (v.PARTICIPATION, "IRCP")
LINES: Mapping[str, Line] = MappingProxyType(
    {
        "login": Line(v.USER_AUTHENTICATION, (v.DCM, "110122")),
        "login-failed": Line(v.USER_AUTHENTICATION, (v.DCM, "110122")),
        "second-factor": Line(v.USER_AUTHENTICATION, _own("second-factor")),
        "logout": Line(v.USER_AUTHENTICATION, (v.DCM, "110123")),
        "consent": Line(v.SECURITY_ALERT, (v.BALP_CONSENT, "AuthZ-Consent"), _RECIPIENT),
        "consent-denied": Line(v.SECURITY_ALERT, (v.BALP_CONSENT, "AuthZ-Consent"), _RECIPIENT),
        "code-issued": Line(v.USER_AUTHENTICATION, _own("code-issued"), _RECIPIENT),
        "token-issued": Line(v.USER_AUTHENTICATION, _TOKEN, _RECIPIENT),
        "token-refreshed": Line(v.USER_AUTHENTICATION, _TOKEN, _RECIPIENT),
        "token-refused": Line(v.USER_AUTHENTICATION, _TOKEN, _RECIPIENT),
        "client-refused": Line(v.SECURITY_ALERT, (v.DCM, "110126")),
        "reuse-detected": Line(v.SECURITY_ALERT, _own("alert-token-reuse")),
        "revoked": Line(v.USER_AUTHENTICATION, _own("token-revoked")),
        "introspected": Line(v.USER_AUTHENTICATION, _own("token-introspected")),
        "launch-created": Line(v.USER_AUTHENTICATION, _own("launch-created")),
        "client-changed": Line(v.SECURITY_ALERT, (v.DCM, "110135"), role="13"),
        "user-changed": Line(v.SECURITY_ALERT, (v.DCM, "110137"), role="11"),
        "role-changed": Line(v.SECURITY_ALERT, (v.DCM, "110136"), role="11"),
        "break-glass-started": Line(v.SECURITY_ALERT, (v.DCM, "110127"), purpose=v.BREAK_GLASS),
        "break-glass-ended": Line(v.SECURITY_ALERT, (v.DCM, "110138"), purpose=v.BREAK_GLASS),
        "key-rotated": Line(v.SECURITY_ALERT, (v.DCM, "110129"), role="13"),
        "security-configured": Line(v.SECURITY_ALERT, (v.DCM, "110129"), role="13"),
    }
)
_ASKED = "POST /auth/token"
_REFUSED_CLIENT = "invalid_client"


@dataclass(frozen=True, slots=True)
class SecurityEvents:
    """Records AuthEvents. `clock`: microseconds since 1970."""

    builder: EventBuilder
    recorder: Recorder
    queries: QueryRecorder
    clock: Callable[[], int]

    async def record(self, happened: AuthEvent) -> None:
        """Come back when the event is durable. Raises Unavailable: whoever asked must not be answered then."""
        await self.recorder.record([self.event(happened)])

    def event(self, happened: AuthEvent) -> Event:
        """The AuditEvent of `happened`. Raises KeyError for a kind that the table does not know."""
        kind = happened.kind
        if kind == "token-refused" and happened.error == _REFUSED_CLIENT:
            kind = "client-refused"
        line = LINES[kind]
        outcome = SUCCESS
        if happened.error is not None:
            outcome = Outcome("8" if kind == "consent-denied" else "4", happened.error)
        entities = self._entities(happened, line)
        asked = line.subtype == _TOKEN and happened.query and happened.client and happened.address
        claims = (v.IUA_71,) if asked and outcome is SUCCESS else ()
        head = Head(line.type, (line.subtype,), "E", outcome, claims, line.purpose)
        key = (
            "auth",
            kind,
            happened.client,
            happened.user,
            happened.name,
            happened.address,
            happened.fhir_user,
        )
        return self.builder.build(head, lambda: self._agents(happened, line), key, entities, self.clock())

    def _agents(self, happened: AuthEvent, line: Line) -> list[JsonObject]:
        site = self.builder.site
        record: JsonObject = {"a": happened.address} if happened.address else {}
        if happened.client is not None:
            record["c"] = happened.client
        if happened.user is not None:
            record["u"] = happened.user
            issuer, foreign, _ = happened.user.partition("|")
            if foreign:
                record["i"] = issuer
        server = site.server((v.BALP_AGENT, "AuthzOauthService"))
        if line.subtype[0] == v.BALP_CONSENT:
            server = {**site.server(v.AUTHORIZATION_SERVER)}
        agents = [site.client(record, v.CLIENT_APPLICATION), server]
        if happened.user is not None or happened.name is not None:
            user: JsonObject = {"type": coded(line.user), "requestor": True}
            if happened.user is not None:
                user["who"] = {"identifier": site.user_identifier(happened.user)}
                if happened.fhir_user is not None:
                    user["who"]["reference"] = happened.fhir_user
            if happened.name is not None:
                user["altId"] = happened.name
            agents.append(user)
        return agents

    def _entities(self, happened: AuthEvent, line: Line) -> list[Entity]:
        if line.subtype == _TOKEN and happened.query:
            query = self.queries.token_request(_ASKED, happened.query)
            return [Entity((v.ENTITY_TYPE, "2"), "24", query=query)]
        entities = []
        if line.subtype == _TOKEN and happened.scope:
            scope = (("scope", happened.scope),)
            entities.append(Entity((v.OWN_ENTITY, "scope"), identifier=happened.kind, detail=scope))
        if happened.patient is not None:
            entities.append(Entity((v.ENTITY_TYPE, "1"), "1", reference=f"Patient/{happened.patient}"))
        if line.purpose is not None:
            grant = Entity(
                v.GRANT,
                identifier=happened.grant or "none",
                detail=happened.detail,
            )
            entities.append(grant)
        elif happened.grant is not None:
            entities.append(Entity((v.OWN_ENTITY, "grant"), identifier=happened.grant))
        if line.role is not None:
            about = happened.detail or (("kind", happened.kind),)
            entities.append(
                Entity((v.ENTITY_TYPE, "2"), line.role, identifier=_changed(happened), detail=about)
            )
        return entities or [Entity((v.OWN_ENTITY, "kind"), identifier=happened.kind)]


def _changed(happened: AuthEvent) -> str:
    return next((detail for name, detail in happened.detail if name == "changed"), None) or (
        happened.name or happened.client or happened.user or happened.kind
    )
