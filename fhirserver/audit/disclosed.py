"""Disclosures: what leaves for somebody else, told as one event for each patient concerned and one for the whole.

One builder for every way out - the export of the command line, bulk jobs, notifications, what adapters push - so that
"shared with whom" is answered from one kind of event. A way out begins a disclosure, reads under its id, and tells what
it gives whom before it gives it. Source: docs/reference/audit-events.md; IHE BALP, PrivacyDisclosure.Source
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fhirserver.audit import vocabulary as v
from fhirserver.audit.agents import Record, coded, network, who
from fhirserver.audit.event import SUCCESS, Entity, Event, EventBuilder, Head
from fhirserver.audit.record import Recorder
from fhirserver.context import JsonObject
from fhirserver.r4.references import ID

AT_ONCE = 500  # events that are recorded in one go
_DISCLOSURE: v.Code = (v.OWN_ENTITY, "disclosure")
_PERSON: v.Code = (v.ENTITY_TYPE, "1")


@dataclass(frozen=True, slots=True)
class Disclosure:
    """Data of patients on its way to somebody. `id`: names it in all of its events.

    `recipient`: a reference ("Organization/12") or what people call them. `address`: where the data goes, a URI, an IP
    address or the name of a machine. `purpose`: v3-ActReason code. `record`: who gives it out.
    """

    id: str
    recipient: str
    address: str
    purpose: str
    record: Record


@dataclass(frozen=True, slots=True)
class File:
    """A file that is handed over. `type`: of the resources in it. `count`: of them. `digest`: SHA-256 of the file, hex."""

    name: str
    type: str
    count: int
    digest: str


@dataclass(frozen=True, slots=True)
class Disclosures:
    """Records disclosures. `clock`: microseconds since 1970."""

    builder: EventBuilder
    recorder: Recorder
    clock: Callable[[], int]

    async def begin(self, disclosure: Disclosure) -> None:
        """Record that somebody has set out to give data away. Raises Unavailable."""
        head = Head(v.EXPORT, (v.DISCLOSURE_BEGUN,), "E", SUCCESS, purpose=disclosure.purpose)
        await self.recorder.record([self._event(head, disclosure, [])])

    async def of_patients(self, disclosure: Disclosure, given: Mapping[str, Sequence[Entity]]) -> int:
        """Record what is given of each patient: id -> what of them. Comes back when all is durable; how many events.

        Raises Unavailable: part of it may be recorded then, and nothing may be given.
        """
        events = [
            self._event(_head(disclosure, v.DISCLOSURE_PROFILE), disclosure, [_patient(patient), *entities])
            for patient, entities in given.items()
        ]
        for start in range(0, len(events), AT_ONCE):
            await self.recorder.record(events[start : start + AT_ONCE])
        return len(events)

    async def of_files(self, disclosure: Disclosure, files: Iterable[File]) -> str:
        """Record the files that are handed over; the id of that event. Raises Unavailable."""
        entities = [
            Entity(
                (v.RESOURCE_TYPES, file.type),
                "4",
                identifier=file.name,
                detail=(("count", str(file.count)), ("sha-256", file.digest)),
            )
            for file in files
        ]
        event = self._event(_head(disclosure), disclosure, entities)
        await self.recorder.record([event])
        return event.id

    def _event(self, head: Head, disclosure: Disclosure, entities: Sequence[Entity]) -> Event:
        key = ("disclosure", disclosure.recipient, disclosure.address, who(disclosure.record))
        whole = [*entities, Entity(_DISCLOSURE, identifier=disclosure.id)]
        return self.builder.build(head, lambda: self._agents(disclosure), key, whole, self.clock())

    def _agents(self, disclosure: Disclosure) -> list[JsonObject]:
        site, record = self.builder.site, disclosure.record
        type, _, id = disclosure.recipient.partition("/")
        is_reference = type.isalpha() and ID.fullmatch(id) is not None
        recipient: JsonObject = {
            "type": coded(v.DESTINATION),
            "who": {"reference": disclosure.recipient}
            if is_reference
            else {"identifier": {"value": disclosure.recipient}},
            "requestor": False,
            "network": network(disclosure.address),
        }
        user = [site.user(record, (v.PARTICIPATION, "IRCP"))] if "u" in record else []
        return [site.server(v.SOURCE), recipient, site.client(record, v.CLIENT_APPLICATION), *user]


def counted(counts: Mapping[str, int]) -> list[Entity]:
    """How many resources of each type are given, where one entity for each would be too many."""
    return [
        Entity((v.RESOURCE_TYPES, type), "4", detail=(("count", str(count)),))
        for type, count in sorted(counts.items())
    ]


def _head(disclosure: Disclosure, *profiles: str) -> Head:
    return Head(v.EXPORT, (v.DISCLOSE,), "R", SUCCESS, profiles, disclosure.purpose)


def _patient(id: str) -> Entity:
    return Entity(_PERSON, "1", reference=f"Patient/{id}")
