"""Events of the server itself: start, stop, a lost session, recording interrupted, an alarm, work on all data.

Source: docs/reference/audit-events.md; DICOM PS3.15 A.5.3 (application activity, security alert).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fhirserver import __version__
from fhirserver.audit import vocabulary as v
from fhirserver.audit.agents import coded
from fhirserver.audit.alarms import Alarm
from fhirserver.audit.disclosure.alertwords import PREFIX
from fhirserver.audit.event import SUCCESS, Entity, Event, EventBuilder, Head, Outcome
from fhirserver.audit.floods import Summary
from fhirserver.context import JsonObject
from fhirserver.store.documents import instant
from fhirserver.store.migrate import Step

_WRITER = (v.OWN_ENTITY, "writer")
_CHECKPOINT = (v.OWN_ENTITY, "checkpoint")
_SCHEMA = (v.OWN_ENTITY, "schema")
_WORK = (v.OWN_ENTITY, "system-work")


@dataclass(frozen=True, slots=True)
class SystemEvents:
    """Builds the events of one worker process. `clock`: microseconds since 1970."""

    builder: EventBuilder
    clock: Callable[[], int]

    def started(self, writer: bytes) -> Event:
        """The process records from now on as `writer`."""
        return self._of_writer(v.APPLICATION_START, SUCCESS, writer, f"start-{writer.hex()}")

    def stopped(self, writer: bytes) -> Event:
        """The process ends as it should; the last event of `writer`, or of the one after it."""
        return self._of_writer(v.APPLICATION_STOP, SUCCESS, writer, stop_id(writer))

    def lost(self, writer: bytes) -> Event:
        """The process of `writer` ended without a word."""
        return self._of_writer(
            v.APPLICATION_STOP, Outcome("12", "unclean shutdown, found later"), writer, lost_id(writer)
        )

    def recording_stopped(self, writer: bytes) -> Event:
        """The log does not take events; they go to the spool."""
        return self._alert(
            (v.RECORDING_STOPPED,), Outcome("12", "audit log unavailable"), writer.hex(), _WRITER
        )

    def recording_started(self, writer: bytes) -> Event:
        """The log takes events again, those of the spool included."""
        return self._alert((v.RECORDING_STARTED,), SUCCESS, writer.hex(), _WRITER)

    def alarm(self, alarm: Alarm) -> Event:
        """Something that a person must look at."""
        head = Head(
            v.SECURITY_ALERT,
            ((v.SUBTYPE, f"{PREFIX}{alarm.rule}"),),
            "E",
            Outcome("8", alarm.text or alarm.rule),
        )
        return self._build(head, [Entity(v.ALERT_RULE, identifier=alarm.rule, detail=alarm.figures)])

    def flood(self, summary: Summary) -> Event:
        """Further refusals of one address within one minute."""
        head = Head(
            v.SECURITY_ALERT, (v.DENIED, v.THROTTLED), "E", Outcome("4", f"{summary.count} further refusals")
        )
        record: JsonObject = {"a": summary.address}
        site = self.builder.site
        return self.builder.build(
            head,
            lambda: [site.client(record, v.CLIENT_APPLICATION), site.server(v.DESTINATION)],
            ("flood", summary.address),
            [Entity((v.OWN_ENTITY, "address"), identifier=summary.address)],
            summary.start,
        )

    def checkpoint(self, size: int, note: str) -> Event:
        """A signed checkpoint of the log, on its way to a receiver that takes events only; it stands in no log of ours."""
        head = Head(v.APPLICATION, ((v.SUBTYPE, "checkpoint"),), "E")
        return self._build(head, [Entity(_CHECKPOINT, identifier=str(size), description=note)])

    def work(self, name: str, count: int) -> Event:
        """The server has worked on stored resources by itself. `name`: migrate, reindex. `count`: resources."""
        head = Head(v.APPLICATION, ((v.SUBTYPE, name),), "E", Outcome("0", f"{count} resources"))
        return self._build(head, [Entity(_WORK, identifier=name)])

    def migrated(self, before: int, steps: Sequence[Step]) -> Event:
        """The stored form was brought from version `before` through `steps`, and by which software."""
        head = Head(v.SECURITY_ALERT, (v.SOFTWARE_CONFIGURATION,), "E")
        detail = [("from", str(before)), ("to", str(steps[-1].version)), ("software", __version__)]
        detail += [("step", f"{step.version} {step.name}, {instant(step.at)}") for step in steps]
        entity = Entity(_SCHEMA, identifier=f"{before}-{steps[-1].version}", detail=tuple(detail))
        return self._build(head, [entity], migrated_id(steps[-1]))

    def _of_writer(self, subtype: v.Code, outcome: Outcome, writer: bytes, id: str) -> Event:
        head = Head(v.APPLICATION, (subtype,), "E", outcome)
        return self._build(head, [Entity(_WRITER, identifier=writer.hex())], id)

    def _alert(self, subtypes: tuple[v.Code, ...], outcome: Outcome, about: str, type: v.Code) -> Event:
        head = Head(v.SECURITY_ALERT, subtypes, "E", outcome)
        return self._build(head, [Entity(type, identifier=about)])

    def _build(self, head: Head, entities: list[Entity], id: str | None = None) -> Event:
        return self.builder.build(head, self._agents, ("system",), entities, self.clock(), id)

    def _agents(self) -> list[JsonObject]:
        agent = self.builder.site.server(v.CLIENT_APPLICATION)
        return [{**agent, "type": coded(v.CLIENT_APPLICATION), "requestor": True}]


def migrated_id(step: Step) -> str:
    """The id of the event that tells of migrations up to `step`."""
    return f"migrated-{step.version}-{step.at // 1000}"


def stop_id(writer: bytes) -> str:
    """The id of the event with which a writer's process ends."""
    return f"stop-{writer.hex()}"


def lost_id(writer: bytes) -> str:
    """The id of the event that tells of a process that ended without one."""
    return f"lost-{writer.hex()}"
