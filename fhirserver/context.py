"""The values that the stations of a request pass on: Interaction, Exchange, Agent, Permission, Version, Result.

Frozen, without behaviour beyond small questions about themselves. Source: hl7.org/fhir/R4/http.html for the terms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fhirserver.access.scopes import Scopes
    from fhirserver.outcome import Issue, OutcomeError
    from fhirserver.search.expression import Expression
    from fhirserver.search.mask import Masks

JsonObject = dict[str, Any]
NOTHING: Mapping[str, str] = MappingProxyType({})


class Kind(StrEnum):
    """What an interaction does. Source: hl7.org/fhir/R4/valueset-system-restful-interaction.html."""

    READ = "read"
    VREAD = "vread"
    UPDATE = "update"
    PATCH = "patch"
    DELETE = "delete"
    CREATE = "create"
    HISTORY_INSTANCE = "history-instance"
    HISTORY_TYPE = "history-type"
    HISTORY_SYSTEM = "history-system"
    SEARCH_TYPE = "search-type"
    SEARCH_SYSTEM = "search-system"
    SEARCH_COMPARTMENT = "search-compartment"
    CAPABILITIES = "capabilities"
    BATCH = "batch"
    TRANSACTION = "transaction"
    OPERATION = "operation"


@dataclass(frozen=True, slots=True)
class Interaction:
    """One thing asked of the server: a request, or an entry of a Bundle.

    `query`: decoded pairs in order (search parameters, conditional criteria or operation parameters). `body`: the
    parsed resource. `operation`: name without `$`. `compartment`: (type, id) of a compartment search. `full_url`:
    Bundle.entry.fullUrl. `changes_state`, `needs`: of an operation; the letters of scopes, in alternatives.
    `refused`: why an entry of a batch is no interaction at all; it is answered with that. `headers`: lower-case
    names; only those that FHIR gives a meaning. `trace`: the audit context, given by the audit station.
    """

    kind: Kind
    type: str | None = None
    id: str | None = None
    vid: str | None = None
    query: tuple[tuple[str, str], ...] = ()
    body: Any = None
    operation: str | None = None
    compartment: tuple[str, str] | None = None
    full_url: str | None = None
    method: str = "GET"
    url: str = ""
    changes_state: bool = False
    needs: tuple[str, ...] = ()
    refused: OutcomeError | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    trace: Trace | None = None

    @property
    def instance(self) -> tuple[str, str]:
        """The (type, id) of an interaction with one resource; empty strings where the route has none."""
        return self.type or "", self.id or ""

    @property
    def lenient(self) -> bool:
        """True where `Prefer: handling=lenient` asks to ignore unknown parameters."""
        return "handling=lenient" in self.headers.get("prefer", "")


@dataclass(frozen=True, slots=True)
class Agent:
    """Who asks, as far as the credentials say.

    `name`: stable name for logs and audit. `client`: client id. `user`: stable id of the user (the token's sub), None
    for a backend service. `fhir_user`: relative reference of the user's own resource, "Practitioner/42". `roles`: codes
    such as "practitioner", "reception"; of a backend service its policy, none where it is bound by its scopes alone.
    `scopes`: what the token grants; None in open mode and for the server's own
    work, where nothing was asked for. `patient`: id of the patient in the launch context. `acts_for`: ids of the
    patients that a patient or related person acts for. `grant`: id of the grant behind the token. `policy`: what an
    AuditEvent says of the token (`urn:ietf:params:oauth:jti:...`, or the last 32 characters of an opaque one).
    `address`: of the peer. `purpose`, `reason`: purpose of use that the request claims (v3-ActReason code), and the
    words given for it. `key`: what caches know these credentials by, a digest; empty where there are none.
    """

    name: str
    client: str | None = None
    user: str | None = None
    fhir_user: str | None = None
    roles: frozenset[str] = frozenset()
    scopes: Scopes | None = None
    patient: str | None = None
    acts_for: frozenset[str] = frozenset()
    grant: str | None = None
    policy: str | None = None
    address: str | None = None
    purpose: str | None = None
    reason: str | None = None
    key: str = ""


@dataclass(frozen=True, slots=True)
class AuthEvent:
    """Something that happened at the authorization server, for the audit trail; never with a secret, code or token.

    `kind`: login, login-failed, logout, consent, consent-denied, code-issued, token-issued, token-refreshed,
    token-refused, reuse-detected, revoked, introspected, launch-created, client-changed, user-changed. `client`, `user`
    (id), `grant`, `patient` (id in the launch context), `scope`, `address` (of the peer): as far as known. `error`: OAuth
    error code or our word for why it was refused, None where it went well. `name`: user name of the account; of one that
    does not exist nothing is kept, since people type passwords there. `query`: the form of a token request, as sent.
    `detail`: further (name, value) pairs, such as the reason and the end of a break-glass grant.
    """

    kind: str
    client: str | None = None
    user: str | None = None
    name: str | None = None
    grant: str | None = None
    patient: str | None = None
    scope: str | None = None
    address: str | None = None
    error: str | None = None
    query: str | None = None
    detail: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """The audit context without which the store gives and takes nothing.

    `record`: who does what in which request, as plain JSON; it is stored with each version that is written, so that the
    AuditEvent of the write can be made again. `new_id`: a fresh id for an AuditEvent. `seen`: filled by the store with
    what it gave out or wrote, in order.
    """

    record: Mapping[str, Any]
    new_id: Callable[[], str]
    seen: list[Version] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Permission:
    """What an agent may see and do, made by access/, required by every read and write of the store.

    `restrictions`: a filter for each resource type that every row must match, before and after a write, ANDed into the
    database query; types without one are unrestricted. `denied`: types out of reach. `reason`: why it was granted
    (system work names its own). `criteria`: under which conditional criteria and references are matched, None: under
    this one. `behind`: types whose resources are reached only through their `securityContext`. `keeps`: elements that a
    write must leave as they are; `keeps_labels`: so must it leave security labels and the server's own tags. `shows`:
    whether the agent may see what a write of it made of the resource. `opened`: ids of patients whose record an
    emergency has opened to the agent -> the reason given. `masks`: what of single resources is hidden, None: nothing.
    `trace`: the audit context; the store refuses to work without one.
    """

    agent: Agent
    reason: str
    restrictions: Mapping[str, Expression] = field(default_factory=dict)
    denied: frozenset[str] = frozenset()
    criteria: Permission | None = None
    behind: frozenset[str] = frozenset()
    keeps: frozenset[str] = frozenset()
    keeps_labels: bool = False
    shows: bool = True
    opened: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    masks: Masks | None = None
    trace: Trace | None = None

    @property
    def matching(self) -> Permission:
        """The permission under which criteria are matched."""
        return self.criteria or self

    def restriction(self, type: str) -> Expression | None:
        """The filter for rows of `type`, None when every row may be seen."""
        return self.restrictions.get(type)


@dataclass(frozen=True, slots=True)
class Version:
    """One stored version of a resource.

    `vid`: 1, 2, 3 ... `ts`: lastUpdated, microseconds since 1970 UTC (whole milliseconds). `raw`: the exact JSON bytes,
    None for a deletion. `method`: the HTTP verb that made it (POST, PUT, PATCH, DELETE). `created`: this write made the
    resource anew (first version, or first after a deletion). `patients`: ids of the patients whose compartment holds
    it; None where it was stored before that was kept. `events`: of a write just made, the AuditEvents that it owes: the
    id of each and its patient, None where no patient is concerned.
    """

    type: str
    id: str
    vid: int
    ts: int
    raw: bytes | None
    method: str = "PUT"
    created: bool = False
    patients: tuple[str, ...] | None = None
    events: tuple[tuple[str, str | None], ...] = ()

    @property
    def deleted(self) -> bool:
        """True for the version that records a deletion."""
        return self.raw is None

    @property
    def etag(self) -> str:
        """The weak entity tag of this version."""
        return f'W/"{self.vid}"'


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of an answered Bundle. `mode`: match, include, outcome; empty in history."""

    version: Version
    mode: str = "match"
    raw: bytes | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """The entries of a searchset or history Bundle.

    `total`: known number of matches, None where it was not asked or is not known. `links`: relation -> URL, in order.
    """

    kind: str
    entries: tuple[Entry, ...]
    total: int | None = None
    links: tuple[tuple[str, str], ...] = ()
    issues: tuple[Issue, ...] = ()


@dataclass(frozen=True, slots=True)
class Content:
    """An answer that is no resource, such as a text or a table. `media`: with its charset. `name`: to save it under."""

    media: str
    body: bytes
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What an interaction came to; exactly one of version, page, resource, content, error (or none: empty body)."""

    status: int
    version: Version | None = None
    page: Page | None = None
    resource: JsonObject | None = None
    content: Content | None = None
    error: OutcomeError | None = None
    issues: tuple[Issue, ...] = ()
    headers: Mapping[str, str] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True)
class Request:
    """What an AuditEvent tells of the request behind an Exchange.

    `target`: the request target as on the wire. `headers`: those that are recorded (Accept, Content-Type, Prefer), in
    that order. `form`: the body of a search by POST. `address`: IP address of the peer. `trace_id`: 32 hexadecimal
    digits out of `traceparent`.
    """

    id: str
    method: str = "GET"
    target: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    form: bytes = b""
    address: str | None = None
    trace_id: str | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request on its way through the stations: one agent, one or more interactions, atomic or not.

    `bundle`: "batch" or "transaction" where the request was a Bundle, else None. `request`: as AuditEvents tell of it.
    """

    agent: Agent
    interactions: tuple[Interaction, ...]
    request_id: str
    bundle: str | None = None
    request: Request | None = None

    @property
    def atomic(self) -> bool:
        """True when all interactions succeed or none has any effect."""
        return self.bundle == "transaction"
