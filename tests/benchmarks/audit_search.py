"""How fast a large audit log is searched: a year of events, and what a compliance officer asks (audit.md 9)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import orjson

from fhirserver.audit import vocabulary as v
from fhirserver.audit.agents import Site
from fhirserver.audit.chain import Chain
from fhirserver.audit.event import Entity, Event, EventBuilder, Head, Outcome
from fhirserver.audit.parameters import PARAMETERS
from fhirserver.audit.record import Bounds, Recorder
from fhirserver.audit.recorded import QueryRecorder
from fhirserver.audit.rest import Access, RestEvents
from fhirserver.audit.security import SecurityEvents
from fhirserver.context import AuthEvent, Request, Version
from fhirserver.r4.definitions import Definitions
from fhirserver.search.index import Indexer
from fhirserver.store.audit import AuditLog
from fhirserver.store.client import connect, socket_uri
from fhirserver.store.mongod_home import running_socket
from tests.benchmarks.client import Call, load, request
from tests.benchmarks.scenarios import Bench, cycle

CALLS = 50
PAGE = 100
_START = 1_767_225_600_000_000  # 2026-01-01
_DAY = 86_400_000_000
_USERS, _PATIENTS, _DOCUMENTS, _TOKENS = 200, 20_000, 100_000, 5000
_BATCH = 2000
# Of how many events one is of this kind; all others are reads.
_DENIED, _EMERGENCY, _BEGUN, _FAILED, _DISCLOSED = 100, 2500, 10_000, 1000, 2000
_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_OWN = "https://fhirserver.example/CodeSystem/audit-subtype"


def searches(bench: Bench, data_dir: Path, events: int) -> None:
    """First pages of 100 over `events` stored events of a year, for one caller; a search that finds nothing is an error."""
    started = time.perf_counter()
    asyncio.run(_fill(bench, data_dir, events))
    bench.say(f"  {events} events stored in {time.perf_counter() - started:.0f} s")
    rng = Random(bench.world.seed)
    for name, make in QUERIES.items():
        calls = [
            Call(name, request("GET", f"{bench.base}/AuditEvent?{make(rng, events)}&_count={PAGE}"))
            for _ in range(CALLS)
        ]
        sizes = _found(bench, calls[:5])
        bench.measure(f"audit search: {name}", cycle(calls), clients=1, seconds=bench.seconds, found=sizes)
        if not any(sizes):
            bench.rows[-1]["errors"] += 1
            bench.rows[-1]["error_kinds"]["nothing found"] = 1


def _found(bench: Bench, calls: list[Call]) -> list[int]:
    """How many events each call finds."""
    sizes: list[int] = []
    looked = [call._replace(then=lambda _s, _h, body: sizes.append(_entries(body))) for call in calls]
    load(bench.port, cycle(looked), clients=1, seconds=60, limit=len(looked))
    return sizes


def _entries(body: bytes) -> int:
    return len(orjson.loads(body).get("entry", ()))


def _a_day(rng: Random) -> str:
    return f"2026-{rng.randrange(1, 12):02d}-{rng.randrange(1, 28):02d}"


def _patient(rng: Random) -> str:
    return f"Patient/p{rng.randrange(_PATIENTS)}"


QUERIES: dict[str, Callable[[Random, int], str]] = {
    "patient": lambda rng, _: f"patient={_patient(rng)}&_sort=-date",
    "patient and months": lambda rng, _: (
        f"patient={_patient(rng)}&date=ge2026-03-01&date=lt2026-09-01&_sort=-date"
    ),
    "user": lambda rng, _: f"agent=Practitioner/u{rng.randrange(_USERS)}&_sort=-date",
    "user by login": lambda rng, _: f"agent:identifier=u{rng.randrange(_USERS)}&_sort=-date",
    "app": lambda rng, _: "agent:identifier=agenda-web&_sort=-date",
    "denied": lambda rng, _: "denied=true&_sort=-date",
    "denied by subtype": lambda rng, _: f"subtype={_OWN}|denied&date=ge{_a_day(rng)}&_sort=-date",
    "denied for its scope": lambda rng, _: f"subtype={_OWN}|denied-scope&date=ge{_a_day(rng)}",
    "document": lambda rng, _: f"entity=Observation/o{rng.randrange(_DOCUMENTS)}&_sort=-date",
    "one request": lambda rng, events: f"entity:identifier=r{rng.randrange(events)}",
    "break-glass": lambda rng, _: f"subtype={_DCM}|110127&_sort=-date",
    "accesses in break-glass": lambda rng, _: "purpose=BTG&_sort=-date",
    "failed logins": lambda rng, _: f"type={_DCM}|110114&outcome=4&_sort=-date",
    "disclosures": lambda rng, _: f"type={_DCM}|110106&_sort=-date",
    "one token": lambda rng, _: f"policy=urn:ietf:params:oauth:jti:t{rng.randrange(_TOKENS)}&_sort=-date",
    "one address": lambda rng, _: f"address=203.0.113.{rng.randrange(_USERS)}&_sort=-date",
    "one address in a month": lambda rng, _: (
        f"address=203.0.113.{rng.randrange(_USERS)}&date=ge2026-05-01&date=lt2026-06-01&_sort=-date"
    ),
    "a day": lambda rng, _: f"date={_a_day(rng)}&_sort=-date",
    "failures of a month": lambda rng, _: "outcome=4&date=ge2026-05-01&date=lt2026-06-01&_sort=-date",
}


async def _fill(bench: Bench, data_dir: Path, events: int) -> None:
    """Store events by the server's own builder and chain, spread over 2026."""
    root = f"http://127.0.0.1:{bench.port}"
    indexer = Indexer(Definitions.load().with_parameters(PARAMETERS), "default", f"{root}/fhir")
    serial = iter(range(10**9))
    builder = EventBuilder(
        Site(f"{root}/fhir", root, "127.0.0.1"), "default", indexer, lambda: f"bench-{next(serial)}"
    )
    key = bytes.fromhex((data_dir / "audit" / "ingest.key").read_text().strip())
    async with connect(socket_uri(str(running_socket(data_dir)))) as client:
        chain = Chain(AuditLog(client["fhir"], "default", 10_000), key, {"at": 0})
        year = Year(builder, chain, Random(bench.world.seed), events)
        for at in range(0, events, _BATCH):
            batch: list[Event] = []
            for number in range(at, min(at + _BATCH, events)):
                batch += year.of(number)
            await chain.append(batch)


class Year:
    """The events of 2026. `events`: how many there are."""

    def __init__(self, builder: EventBuilder, chain: Chain, rng: Random, events: int) -> None:
        queries = QueryRecorder(b"bench")
        self._builder, self._rng, self._events = builder, rng, events
        self._told = RestEvents(builder, queries, lambda version: version.patients or ())
        self._now = 0
        self._security = SecurityEvents(builder, Recorder([chain], Bounds(30.0)), queries, lambda: self._now)

    def of(self, number: int) -> list[Event]:
        """Event `number` of the year."""
        self._now = _START + number * 365 * _DAY // self._events
        user = self._rng.randrange(_USERS)
        patient = f"p{self._rng.randrange(_PATIENTS)}"
        if number % _FAILED == 1:
            login = AuthEvent(
                "login-failed", user=f"u{user}", address=f"203.0.113.{user}", error="bad-password"
            )
            return [self._security.event(login)]
        if number % _BEGUN == 2:
            grant = f"btg-{number}"
            return [
                self._security.event(
                    AuthEvent("break-glass-started", user=f"u{user}", patient=patient, grant=grant)
                )
            ]
        if number % _DISCLOSED == 3:
            head = Head((_DCM, "110106"), ((v.SUBTYPE, "disclose"),), "R", purpose="HPAYMT")
            about = [Entity((v.ENTITY_TYPE, "1"), "1", reference=f"Patient/{patient}")]
            return [self._builder.build(head, list, ("disclosed",), about, self._now)]
        return self._told.of(self._access(number, user, patient), self._now)

    def _access(self, number: int, user: int, patient: str) -> Access:
        record = {
            "k": "read", "n": f"user {user}", "c": "agenda-web", "u": f"u{user}", "f": f"Practitioner/u{user}",
            "p": f"urn:ietf:params:oauth:jti:t{self._rng.randrange(_TOKENS)}", "a": f"203.0.113.{user}",
            "g": "BTG" if number % _EMERGENCY == 0 else "TREAT", "q": f"r{number}",
        }  # fmt: skip
        document = f"o{self._rng.randrange(_DOCUMENTS)}"
        if number % _DENIED == 4:
            outcome = Outcome("4", "403 forbidden (denied: scope)", "scope")
            return Access(record, Request(f"r{number}"), outcome, (), (patient,), f"Observation/{document}")
        version = Version("Observation", document, 1, 0, b"", patients=(patient,))
        return Access(record, Request(f"r{number}"), versions=(version,))
