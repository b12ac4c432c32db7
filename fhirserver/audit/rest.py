"""The AuditEvents of RESTful interactions: one for each patient concerned, by the patterns of IHE BALP.

Sources: docs/reference/audit-events.md, profiles.ihe.net/ITI/BALP/content.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fhirserver.audit import vocabulary as v
from fhirserver.audit.agents import Record, who
from fhirserver.audit.event import (
    MOST_ENTITIES,
    SUCCESS,
    Entity,
    Event,
    EventBuilder,
    Head,
    Outcome,
    outcome_of,
)
from fhirserver.audit.recorded import QueryRecorder
from fhirserver.context import Interaction, JsonObject, Kind, Opened, Request, Result, Version
from fhirserver.r4.references import ID

_DATA = (v.ENTITY_TYPE, "2")
_PERSON = (v.ENTITY_TYPE, "1")
_REQUEST_ID = (v.BALP_ENTITY, "XrequestId")
_TRACE_ID = (v.OWN_ENTITY, "trace-id")
_OUTCOME = (v.RESOURCE_TYPES, "OperationOutcome")
_WRITES = frozenset(("create", "update", "patch", "delete"))
_PATIENT_PARAMETERS = ("patient", "subject", "beneficiary", "individual")
AUDIT_TYPE = "AuditEvent"
Patients = Callable[[Version], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Access:
    """What came of one interaction, as far as its events tell it.

    `versions`: what left or entered the store. `targets`: ids of the patients that were meant where nothing was given
    out. `reference`: what was asked for, "Observation/5", as far as the request names one. `denied`: why, of a denial.
    """

    record: Record
    request: Request | None
    outcome: Outcome = SUCCESS
    versions: Sequence[Version] = ()
    targets: Sequence[str] = ()
    reference: str | None = None
    type: str | None = None


@dataclass(frozen=True, slots=True)
class RestEvents:
    """Tells accesses as events. `patients`: in whose compartments a version is."""

    builder: EventBuilder
    queries: QueryRecorder
    patients: Patients

    def of(self, access: Access, ts: int) -> list[Event]:
        """The events of an interaction that ended at `ts`."""
        record, kind = access.record, access.record.get("k")
        events: list[Event] = []
        given: list[Version] = []
        for version in access.versions:
            if version.events:
                events += self.of_write(record, version)
            elif version.type != AUDIT_TYPE:
                given.append(version)
        if _is_audit_use(access):
            events.append(self._audit_use(access, ts))
        if events and not given:
            return events
        shape = v.SHAPES.get(kind or "", v.OTHER)
        if kind in _WRITES and given:  # nothing had to be written; what is there was told
            shape = v.READ
        if not given:
            return [self._one(access, shape, patient, [], ts) for patient in access.targets or (None,)]
        if not shape.query:
            version, reference = given[0], versioned(given[0])
            return [
                self._one(access, shape, patient, [], ts, reference=reference)
                for patient in self.patients(version) or (None,)
            ]
        for patient, versions in self._by_patient(given).items():
            for start in range(0, len(versions), MOST_ENTITIES):
                part = [_resource(version) for version in versions[start : start + MOST_ENTITIES]]
                events.append(self._one(access, shape, patient, part, ts))
        return events

    def of_write(self, record: Record, version: Version, *, recovered: bool = False) -> list[Event]:
        """The events that a stored version owes, by the ids that stand in it; the same whenever they are made."""
        asked = str(record.get("k"))
        kind = asked if asked in _WRITES else _kind_of_write(version)
        shape = v.SHAPES[kind]
        subtypes: tuple[v.Code, ...] = ((v.INTERACTION, asked),)
        if recovered:
            subtypes += (v.RECOVERED,)
        events = []
        for id, patient in version.events:
            entities = self._entities(record, [Entity(_DATA, "4", reference=versioned(version))], patient)
            profiles = _profiles(record, shape, patient) if asked == kind else ()
            head = Head(v.REST, subtypes, shape.action, profiles=profiles, purpose=_purpose(record, patient))
            events.append(self._build(head, record, shape, entities, version.ts, id))
        return events

    def of_bundle(self, record: Record, request: Request | None, outcome: Outcome, ts: int) -> Event:
        """The event of a batch or transaction as a whole."""
        return self._one(Access(record, request, outcome), v.OTHER, None, [], ts)

    def _one(
        self,
        access: Access,
        shape: v.Shape,
        patient: str | None,
        resources: list[Entity],
        ts: int,
        *,
        reference: str | None = None,
        type: v.Code = v.REST,
    ) -> Event:
        record, outcome = access.record, access.outcome
        reference = reference or access.reference
        if shape.query and access.request is not None:
            first = Entity(_DATA, "24", query=self.queries.record(access.request))
        elif reference is not None:
            first = Entity(_DATA, "4", reference=reference)
        else:
            first = Entity(_DATA, "4", kind=access.type or "Resource")
        entities = self._entities(record, [first], patient, resources)
        if outcome.issues:
            entities.append(Entity(_OUTCOME, reference="#oo"))
        claimed = outcome.code == "0" and type == v.REST
        head = Head(
            type,
            _subtypes(record, outcome),
            shape.action,
            outcome,
            _profiles(record, shape, patient) if claimed else (),
            _purpose(record, patient),
        )
        return self._build(head, record, shape, entities, ts)

    def _build(
        self,
        head: Head,
        record: Record,
        shape: v.Shape,
        entities: list[Entity],
        ts: int,
        id: str | None = None,
    ) -> Event:
        key = (shape, who(record))
        return self.builder.build(
            head, lambda: self.builder.site.agents(record, shape), key, entities, ts, id
        )

    @staticmethod
    def _entities(
        record: Record, first: list[Entity], patient: str | None, resources: Iterable[Entity] = ()
    ) -> list[Entity]:
        entities = first
        if patient is not None:
            entities.append(Entity(_PERSON, "1", reference=f"Patient/{patient}"))
        entities.extend(resources)
        if "q" in record:
            entities.append(Entity(_REQUEST_ID, identifier=record["q"]))
        if "x" in record:
            entities.append(Entity(_TRACE_ID, identifier=record["x"]))
        if (opened := _opened(record, patient)) is not None:
            entities.append(Entity(v.GRANT, identifier=opened.grant, description=opened.reason))
        return entities

    def _audit_use(self, access: Access, ts: int) -> Event:
        shape = v.READ if access.record.get("k") in ("read", "vread") else v.OTHER
        return self._one(access, shape, None, [], ts, type=v.AUDIT_LOG_USED)

    def _by_patient(self, versions: Sequence[Version]) -> dict[str | None, list[Version]]:
        """The versions of each patient; what concerns none goes with the first one."""
        found: dict[str | None, list[Version]] = {}
        rest: list[Version] = []
        for version in versions:
            patients = self.patients(version)
            for patient in patients:
                found.setdefault(patient, []).append(version)
            if not patients:
                rest.append(version)
        if rest:
            found.setdefault(next(iter(found), None), []).extend(rest)
        return found


def versioned(version: Version) -> str:
    """The reference to a version; of a contained resource, to what holds it."""
    return f"{version.type}/{version.id.partition('#')[0]}/_history/{version.vid}"


def access_of(
    record: Record, request: Request | None, interaction: Interaction | None, result: Result,
    seen: Sequence[Version], targets: Sequence[str], denied: str | None,
) -> Access:  # fmt: skip
    """What `result` came to. `seen`: what the store gave out on the way, which is what an operation tells."""
    outcome = outcome_of(result.status, result.error, denied)
    versions: Sequence[Version] = ()
    if result.error is None:
        if result.page is not None:
            versions = [entry.version for entry in result.page.entries]
        elif result.version is not None:
            versions = (result.version,)
        elif interaction is not None and interaction.kind is Kind.OPERATION:
            versions = list({(each.type, each.id, each.vid): each for each in seen}.values())
    reference = None
    if interaction is not None and interaction.type and interaction.id:
        reference = f"{interaction.type}/{interaction.id}"
        if interaction.vid:
            reference += f"/_history/{interaction.vid}"
    return Access(
        record, request, outcome, versions, targets, reference, interaction.type if interaction else None
    )


def named_patients(interaction: Interaction) -> tuple[str, ...]:
    """Ids of the patients that a request names: its compartment, `patient=`, `subject=`, `_id=` of Patient."""
    found: dict[str, None] = {}
    if interaction.type == "Patient" and interaction.id:
        found[interaction.id] = None
    if interaction.compartment is not None and interaction.compartment[0] == "Patient":
        found[interaction.compartment[1]] = None
    for name, value in interaction.query:
        code, _, modifier = name.partition(":")
        bare = modifier == "Patient" or code == "patient" or (code == "_id" and interaction.type == "Patient")
        if code not in _PATIENT_PARAMETERS and not (code == "_id" and bare):
            continue
        for text in value.split(","):
            type, slash, id = text.rpartition("/")
            if ID.fullmatch(id) and (type.rpartition("/")[2] == "Patient" if slash else bare):
                found[id] = None
    return tuple(found)[:MOST_ENTITIES]


def _is_audit_use(access: Access) -> bool:
    if access.outcome.code != "0" or access.record.get("k") in _WRITES:
        return False
    return access.type == AUDIT_TYPE or any(version.type == AUDIT_TYPE for version in access.versions)


def note_opened(record: JsonObject, opened: Mapping[str, Opened]) -> None:
    """Note in the record of an interaction which patients an emergency has opened to its agent."""
    if opened:
        record["e"] = [[patient, *one] for patient, one in opened.items()]


def _opened(record: Record, patient: str | None) -> Opened | None:
    """The emergency access under which the data of `patient` were reached."""
    return next((Opened(grant, reason) for who, grant, reason in record.get("e", ()) if who == patient), None)


def _purpose(record: Record, patient: str | None) -> str | None:
    return v.BREAK_GLASS if _opened(record, patient) is not None else record.get("g")


def _resource(version: Version) -> Entity:
    return Entity((v.RESOURCE_TYPES, version.type), "4", reference=versioned(version))


def _subtypes(record: Record, outcome: Outcome) -> tuple[v.Code, ...]:
    kind = record.get("k")
    subtypes: tuple[v.Code, ...] = ((v.INTERACTION, v.INTERACTION_CODES.get(kind, kind)),) if kind else ()
    if outcome.denied is not None:
        subtypes += (v.DENIED, (v.SUBTYPE, f"denied-{outcome.denied}"))
    return subtypes


def _kind_of_write(version: Version) -> str:
    if version.deleted:
        return "delete"
    return "create" if version.created else "update"


def _profiles(record: Record, shape: v.Shape, patient: str | None) -> tuple[str, ...]:
    """The BALP profiles that a successful event claims."""
    profiles: tuple[str, ...] = ()
    if "a" not in record:  # system work: there is no peer, which BALP's client agent must have
        return profiles
    if shape.profile:
        profiles = (f"{v.BALP_PROFILE}{'Patient' if patient is not None else ''}{shape.profile}",)
    if "u" in record and "p" in record:
        kind = "Minimal" if str(record["p"]).startswith(v.JTI) else "Opaque"
        profiles += (f"{v.BALP_PROFILE}OAUTHaccessTokenUse.{kind}",)
    return profiles
