"""The only builder of AuditEvents: canonical bytes and search fields, made of constant parts and what varies.

A read costs the server less than its AuditEvent would if that were built and indexed like any resource (0.3 ms), so
everything that repeats - agents, source, codes and what search sees of them - is made once by the ordinary code and
kept; only references, ids and times are put in for each event. Tests hold every kind of event against the ordinary
indexer and against canonical JSON. Source: docs/reference/audit-events.md
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import orjson

from fhirserver.audit import vocabulary as v
from fhirserver.audit.agents import Site, coded, coding
from fhirserver.audit.ledger import canonical
from fhirserver.audit.recorded import Recorded
from fhirserver.context import JsonObject
from fhirserver.outcome import ERROR_SYSTEM, OutcomeError
from fhirserver.search.types import date
from fhirserver.store.documents import PATIENTS, instant

MOST_ENTITIES = 500
_MOST_ISSUES = 20
_MOST_FORMS = 2000
WORDS = ("_text", "_content")
_VARYING = ("recorded", "entity", "id")


class Indexer(Protocol):
    """Makes the search fields of a resource."""

    def index(self, type: str, resource: JsonObject) -> Any:
        """Fields `ix` and `x` of `resource`."""


@dataclass(frozen=True, slots=True)
class Event:
    """An AuditEvent ready to be recorded. `ts`: microseconds since 1970. `raw`: canonical bytes."""

    id: str
    ts: int
    raw: bytes
    ix: Mapping[str, Any]
    x: Mapping[str, Any]


def indexed_event(indexer: Indexer, id: str, ts: int, raw: bytes, resource: JsonObject) -> Event:
    """An event that is there as a whole resource, indexed the ordinary way; words are not indexed."""
    indexed = indexer.index("AuditEvent", resource)
    x = {name: value for name, value in indexed.x.items() if name not in WORDS}
    return Event(id, ts, raw, indexed.ix, x)


@dataclass(frozen=True, slots=True)
class Entity:
    """One thing that an event is about: a reference (without a server) or an identifier, of a type and role."""

    type: v.Code
    role: str | None = None
    reference: str | None = None
    identifier: str | None = None
    query: Recorded | None = None
    kind: str | None = None
    description: str | None = None
    detail: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went. `code`: 0, 4, 8, 12. `text`: outcomeDesc. `denied`: why access was denied, such as "scope"."""

    code: str = "0"
    text: str | None = None
    denied: str | None = None
    issues: tuple[tuple[str, str, str], ...] = ()


SUCCESS = Outcome()


def outcome_of(status: int, error: OutcomeError | None, denied: str | None = None) -> Outcome:
    """The outcome of an answer. Source: docs/reference/audit-events.md (2xx and 304: 0; 4xx: 4; 5xx and consent: 8)."""
    if error is None:
        if status < 400:
            return SUCCESS
        return Outcome("4" if status < 500 else "8", str(status), denied)
    issues = tuple((i.severity, i.issue_code.value, i.code) for i in error.issues[:_MOST_ISSUES])
    text = f"{status} {issues[0][1]} {issues[0][2]}" + (f" (denied: {denied})" if denied else "")
    return Outcome("8" if status >= 500 or denied == "consent" else "4", text, denied, issues)


@dataclass(frozen=True, slots=True)
class Head:
    """All of an event but its agents, entities, id and time. `profiles`: canonical URLs that it claims."""

    type: v.Code
    subtypes: tuple[v.Code, ...]
    action: str
    outcome: Outcome = SUCCESS
    profiles: tuple[str, ...] = ()
    purpose: str | None = None


@dataclass(frozen=True, slots=True)
class _Form:
    """What events of one head and the same agents have in common.

    `parts`: the canonical bytes around entities, id and the two times. `ix`, `x`: search fields, those of entities and
    times left out. `patients`: keys of agents that are patients. `ending`: fields that end in the event's id.
    """

    parts: tuple[bytes, bytes, bytes, bytes, bytes]
    ix: Mapping[str, Any]
    x: Mapping[str, Any]
    patients: tuple[str, ...]
    ending: tuple[str, ...]


class EventBuilder:
    """Builds events of one tenant. `new_id`: a fresh logical id, time-ordered."""

    def __init__(self, site: Site, tenant: str, indexer: Indexer, new_id: Callable[[], str]) -> None:
        self.site = site
        self.new_id = new_id
        self._tenant = tenant
        self._patient = f"{tenant}/Patient/"
        self._indexer = indexer
        self._forms: dict[Any, _Form] = {}
        self._mark = secrets.token_hex(16)  # stands for what varies; nobody can put it into a value

    def build(
        self,
        head: Head,
        agents: Callable[[], list[JsonObject]],
        key: tuple[Any, ...],
        entities: Sequence[Entity],
        ts: int,
        id: str | None = None,
    ) -> Event:
        """The event. `agents`: called once for each `key`, which tells them apart. `ts`: when it happened."""
        form = self._forms.get((head, key))
        if form is None:
            if len(self._forms) >= _MOST_FORMS:
                self._forms.clear()
            form = self._forms[head, key] = self._form(head, agents())
        id = id or self.new_id()
        time = instant(ts).encode()
        start, middle, stamped, recorded, end = form.parts
        inner = b",".join([_bytes_of(entity) for entity in entities])
        raw = b"".join((start, inner, middle, id.encode(), stamped, time, recorded, time, end))
        return Event(id, ts, raw, self._fields(form, entities, ts, id), form.x)

    def _form(self, head: Head, agents: list[JsonObject]) -> _Form:
        mark, outcome = self._mark, head.outcome
        meta: JsonObject = {"versionId": "1", "lastUpdated": mark}
        if head.profiles:
            meta["profile"] = list(head.profiles)
        event: JsonObject = {
            "resourceType": "AuditEvent",
            "id": mark,
            "meta": meta,
            "type": coding(head.type),
            "action": head.action,
            "recorded": mark,
            "outcome": outcome.code,
            "agent": agents,
            "source": self.site.source(),
            "entity": [mark],
        }
        if head.subtypes:
            event["subtype"] = [coding(code) for code in head.subtypes]
        if outcome.text is not None:
            event["outcomeDesc"] = outcome.text
        if head.purpose is not None:
            event["purposeOfEvent"] = [coded((v.ACT_REASON, head.purpose))]
        if outcome.issues:
            event["contained"] = [_outcome_resource(outcome)]
        quoted = f'"{mark}"'.encode()
        start, middle, meta_part, recorded, end = canonical(event).split(quoted)
        parts = (start, middle + b'"', b'"' + meta_part + b'"', b'"' + recorded + b'"', b'"' + end)
        indexed = self._indexer.index("AuditEvent", {k: e for k, e in event.items() if k not in _VARYING})
        ix = dict(indexed.ix)
        ending = tuple(name for name in ix if name.endswith(("~s", "~d")))
        x = {name: value for name, value in indexed.x.items() if name not in WORDS}
        return _Form(parts, ix, x, tuple(ix.get("patient", ())), ending)

    def _fields(self, form: _Form, entities: Sequence[Entity], ts: int, id: str) -> dict[str, Any]:
        """What search sees of the event, as the ordinary indexer would find it in the whole resource."""
        ix = dict(form.ix)
        for name in form.ending:
            ix[name] += id
        ix["date"] = [date.entry(ts, ts + 1000)]
        ix["date~s"] = f"{date.sort_key(ts)}\x00{id}"
        ix["entity-type"], roles = _codes(tuple([(entity.type, entity.role) for entity in entities]))
        if roles:
            ix["entity-role"] = roles
        keys: list[str] = []
        ids: list[str] = []
        for entity in entities:
            reference, identifier = entity.reference, entity.identifier
            if reference is not None and reference[0] != "#":
                keys.append(f"{self._tenant}/{reference.partition('/_history/')[0]}")
            if identifier is not None:
                ids += (identifier, f"|{identifier}")
            if entity.query is None:  # an entity without a reference counts as one of none
                ix["entity"] = keys
        if len(keys) > 1:
            ix["entity"] = keys = list(dict.fromkeys(keys))
        if ids:
            ix["entity~id"] = list(dict.fromkeys(ids))
        patients = [key for key in keys if key.startswith(self._patient)]
        if form.patients:
            patients = list(dict.fromkeys((*form.patients, *patients)))
        if patients:
            ix["patient"] = ix[PATIENTS] = patients
        return ix


def _outcome_resource(outcome: Outcome) -> JsonObject:
    issues = [
        {"severity": severity, "code": issue, "details": {"coding": [coding((ERROR_SYSTEM, code))]}}
        for severity, issue, code in outcome.issues
    ]
    return {"resourceType": "OperationOutcome", "id": "oo", "issue": issues}


@lru_cache(maxsize=1024)
def _codes(pairs: tuple[tuple[v.Code, str | None], ...]) -> tuple[list[str], list[str]]:
    """What search sees of the types and roles of entities; shared, so never to be changed."""
    types: dict[str, None] = {}
    roles: dict[str, None] = {}
    for type, role in dict.fromkeys(pairs):
        types.update(_tokens(*type))
        if role is not None:
            roles.update(_tokens(v.OBJECT_ROLE, role))
    return list(types), list(roles)


def _tokens(system: str, code: str) -> dict[str, None]:
    return {code: None, f"{system}|{code}": None, f"{system}|": None}


@lru_cache(maxsize=1024)
def _coding_bytes(type: v.Code, role: str | None) -> bytes:
    whole: JsonObject = {"type": coding(type)}
    if role is not None:
        whole["role"] = coding((v.OBJECT_ROLE, role))
    return canonical(whole)[1:-1]


def _bytes_of(entity: Entity) -> bytes:
    """The canonical bytes of an entity."""
    if entity.query is None and not entity.detail and entity.description is None and entity.kind is None:
        common = _coding_bytes(entity.type, entity.role)
        if entity.reference is not None:
            return b'{%b,"what":{"reference":%b}}' % (common, orjson.dumps(entity.reference))
        return b'{%b,"what":{"identifier":{"value":%b}}}' % (common, orjson.dumps(entity.identifier))
    whole: JsonObject = {"type": coding(entity.type)}
    if entity.role is not None:
        whole["role"] = coding((v.OBJECT_ROLE, entity.role))
    if entity.query is not None:
        whole |= {"query": entity.query.query, "description": entity.query.description}
    if entity.description is not None:
        whole["description"] = entity.description
    if entity.detail:
        whole["detail"] = [{"type": name, "valueString": value} for name, value in entity.detail]
    what: JsonObject = {}
    if entity.reference is not None:
        what["reference"] = entity.reference
    if entity.identifier is not None:
        what["identifier"] = {"value": entity.identifier}
    if entity.kind is not None:
        what["type"] = entity.kind
    return canonical(whole | ({"what": what} if what else {}))
