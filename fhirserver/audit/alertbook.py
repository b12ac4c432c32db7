"""Alerts in the audit log: raised once for each cause and day, and acknowledged by a person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fhirserver.audit import vocabulary as v
from fhirserver.audit.agents import coded, record_of
from fhirserver.audit.disclosure.alerts import Alert
from fhirserver.audit.disclosure.alertwords import PREFIX, told
from fhirserver.audit.disclosure.reports import ACKNOWLEDGED, REVIEWED
from fhirserver.audit.event import SUCCESS, Entity, Event, EventBuilder, Head, Outcome
from fhirserver.audit.purge import Purge
from fhirserver.audit.purges import DETAIL, PURGE
from fhirserver.audit.record import Recorder
from fhirserver.context import Agent, JsonObject, Request
from fhirserver.store.audit import AuditLog

_ALERT: v.Code = (v.RESOURCE_TYPES, "AuditEvent")


@dataclass(frozen=True, slots=True)
class AlertBook:
    """Writes alerts and acknowledgements. `clock`: microseconds since 1970."""

    builder: EventBuilder
    recorder: Recorder
    log: AuditLog
    clock: Callable[[], int]

    async def put(self, alerts: Sequence[Alert]) -> list[Alert]:
        """Record those of `alerts` that were not recorded before, and return them. Raises Unavailable."""
        known = await self.log.known([alert.id() for alert in alerts])
        fresh = [alert for alert in alerts if alert.id() not in known]
        if fresh:
            await self.recorder.record([self._event(alert) for alert in fresh])
        return fresh

    async def acknowledge(self, alert: str, agent: Agent, request: Request | None, words: str) -> str:
        """Record that `agent` has taken note of the AuditEvent `alert` (its id); the id of that record.

        `words`: what was found or done; no personal values. Raises Unavailable.
        """
        entity = Entity(_ALERT, "4", reference=f"AuditEvent/{alert}", description=words or None)
        return await self._note(ACKNOWLEDGED, agent, request, [entity])

    async def review(self, start: str, grant: str, agent: Agent, request: Request | None, words: str) -> str:
        """Record that `agent` has looked into an emergency access; the id of that record.

        `start`: id of the AuditEvent of its begin. `grant`: of the access. `words`: what was found; no personal values.
        Raises Unavailable.
        """
        began = Entity(_ALERT, "4", reference=f"AuditEvent/{start}", description=words)
        return await self._note(REVIEWED, agent, request, [began, Entity(v.GRANT, identifier=grant)])

    async def _note(
        self, what: str, agent: Agent, request: Request | None, entities: Sequence[Entity]
    ) -> str:
        record = record_of(agent, request, "operation", what)
        site = self.builder.site
        head = Head(v.AUDIT_LOG_USED, ((v.SUBTYPE, what),), "E", SUCCESS)

        def agents() -> list[JsonObject]:
            user = [site.user(record, (v.PARTICIPATION, "IRCP"))] if "u" in record else []
            return [site.client(record, v.CLIENT_APPLICATION), *user]

        id = self.builder.new_id()
        key = (what, *(str(record.get(name)) for name in ("c", "n", "u", "f", "a", "p", "l")))
        await self.recorder.record([self.builder.build(head, agents, key, list(entities), self.clock(), id)])
        return id

    async def note_use(self, what: str, detail: Sequence[tuple[str, str]]) -> None:
        """Record that the command line has used the audit log. Raises Unavailable."""
        head = Head(v.AUDIT_LOG_USED, ((v.SUBTYPE, what),), "E", SUCCESS)
        entity = Entity((v.OWN_ENTITY, "command"), identifier=what, detail=tuple(detail))
        await self.recorder.record([self.builder.build(head, self._server, (what,), [entity], self.clock())])

    async def note_purge(self, purge: Purge) -> None:
        """Record a purge before it is done. Raises Unavailable."""
        head = Head(v.SECURITY_ALERT, ((v.SUBTYPE, PURGE),), "D", SUCCESS)
        detail = [(DETAIL, str(purge.size)), ("before", purge.before.isoformat())]
        detail += [("policy", f"{purge.years} years"), *(("approver", name) for name in purge.approvers)]
        entity = Entity((v.OWN_ENTITY, PURGE), identifier=f"0-{purge.size}", detail=tuple(detail))
        await self.recorder.record([self.builder.build(head, self._server, (PURGE,), [entity], self.clock())])

    def _event(self, alert: Alert) -> Event:
        text = told(alert.rule, dict(alert.figures), "en")
        head = Head(v.SECURITY_ALERT, ((v.SUBTYPE, f"{PREFIX}{alert.rule}"),), "E", Outcome("4", text))
        is_reference = "/" in alert.subject
        entities = [
            Entity(v.ALERT_RULE, identifier=alert.rule, detail=alert.figures),
            Entity(
                v.ALERT_SUBJECT,
                reference=alert.subject if is_reference else None,
                identifier=None if is_reference else alert.subject,
            ),
        ]
        if alert.patient:
            entities.append(Entity(v.PATIENT, "1", reference=alert.patient))
        if alert.grant:
            entities.append(Entity(v.GRANT, identifier=alert.grant))
        return self.builder.build(head, self._server, ("alert",), entities, self.clock(), alert.id())

    def _server(self) -> list[JsonObject]:
        agent = self.builder.site.server(v.CLIENT_APPLICATION)
        return [{**agent, "type": coded(v.CLIENT_APPLICATION), "requestor": True}]
