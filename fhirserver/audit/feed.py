"""AuditEvents of other systems: kept as they were sent, under an id of ours, marked with who sent them.

Source: docs/explanation/audit.md
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from fhirserver.audit.agents import Site
from fhirserver.audit.event import Indexer, indexed_event
from fhirserver.audit.ledger import NotCanonical, canonical
from fhirserver.audit.record import Recorder
from fhirserver.context import JsonObject, Permission, Version
from fhirserver.outcome import Invalid
from fhirserver.store.documents import PATIENTS, stamp


@dataclass(frozen=True, slots=True)
class Feed:
    """Takes AuditEvents in. `new_id`: a fresh logical id. `clock`: microseconds since 1970."""

    site: Site
    recorder: Recorder
    indexer: Indexer
    new_id: Callable[[], str]
    clock: Callable[[], int]

    async def accept(self, resource: JsonObject, permission: Permission) -> Version:
        """Record a valid AuditEvent. Raises Invalid: it claims to be ours, or has no canonical form; Unavailable."""
        if self._is_ours(resource):
            raise Invalid(
                "source.observer names this server; an event of another system names that system.",
                code="audit-observer",
                expression="AuditEvent.source.observer",
            )
        id, ts = self.new_id(), self.clock()
        agent = permission.agent
        stamped = stamp(resource, id, 1, ts)
        stamped["meta"]["source"] = f"{self.site.root}/oauth/clients/{agent.client or agent.name}"
        try:
            raw = canonical(stamped)
        except NotCanonical as error:
            raise Invalid(
                "An AuditEvent holds no fractions, no integers beyond 2^53 and only ASCII names.",
                code="audit-not-canonical",
                expression="AuditEvent",
            ) from error
        event = indexed_event(self.indexer, id, ts, raw, stamped)
        await self.recorder.record([event])
        patients = tuple(key.rpartition("/")[2] for key in event.ix.get(PATIENTS, ()))
        version = Version("AuditEvent", id, 1, ts, raw, "POST", created=True, patients=patients)
        owed = tuple((self.new_id(), patient) for patient in patients or (None,))
        return replace(version, events=owed)

    def _is_ours(self, resource: JsonObject) -> bool:
        observer = resource.get("source", {}).get("observer", {})
        named = (observer.get("reference"), observer.get("identifier", {}).get("value"))
        return any(isinstance(name, str) and name.startswith(self.site.root) for name in named)
