"""An audit ledger for tests: writers that record events as the server does, sealed by the real sealer."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from fhirserver.audit.alarms import Alarm
from fhirserver.audit.keys import KeyFiles
from fhirserver.audit.ledger import START, canonical, entry, leaf, mac
from fhirserver.audit.parameters import PARAMETERS
from fhirserver.audit.seal import Sealer
from fhirserver.r4.definitions import Definitions
from fhirserver.search.index import Indexer
from fhirserver.store.documents import instant
from fhirserver.store.lanes import Database
from fhirserver.store.ledger import EVENTS, Ledger

NOW = 1_772_366_400_000_000  # 2026-03-01T12:00:00Z


def an_event(number: int, *, patient: str = "1", at: int = NOW, **more: Any) -> dict[str, Any]:
    """A read of a patient's Observation."""
    recorded = instant(at)
    return {
        "resourceType": "AuditEvent",
        "id": f"e{number}",
        "meta": {"versionId": "1", "lastUpdated": recorded},
        "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"},
        "subtype": [{"system": "http://hl7.org/fhir/restful-interaction", "code": "read"}],
        "action": "R",
        "recorded": recorded,
        "outcome": "0",
        "agent": [{"requestor": True, "who": {"reference": "Practitioner/p1"}}],
        "source": {"observer": {"display": "Clínica"}},
        "entity": [
            {
                "what": {"reference": f"Patient/{patient}"},
                "type": {"system": "http://terminology.hl7.org/CodeSystem/audit-entity-type", "code": "1"},
                "role": {"system": "http://terminology.hl7.org/CodeSystem/object-role", "code": "1"},
            }
        ],
    } | more


@cache
def indexer() -> Indexer:
    """The indexer of AuditEvents, as the server has it."""
    return Indexer(Definitions.load().with_parameters(PARAMETERS), "default", "http://127.0.0.1:8000/fhir")


@dataclass
class Writer:
    """One worker's chain. `w`: its 16 bytes."""

    key: bytes
    w: bytes = field(default_factory=lambda: os.urandom(16))
    s: int = 0
    p: bytes = START

    def document(self, event: dict[str, Any], ts: int = NOW) -> dict[str, Any]:
        """The stored form of the next event of this writer."""
        raw = canonical(event)
        h = leaf(entry(self.w, self.s, self.p, raw))
        document = {
            "_id": f"default/AuditEvent/{event['id']}", "t": "default", "v": 1, "ts": ts, "m": "POST", "raw": raw,
            "ix": indexer().index("AuditEvent", event).ix, "w": self.w, "s": self.s, "p": self.p, "h": h, "mac": mac(self.key, h),
        }  # fmt: skip
        self.s, self.p = self.s + 1, h
        return document


@dataclass
class LedgerKit:
    """A ledger in `database` with its key files in `folder`."""

    database: Database
    folder: Path
    origin: str = "clinic.example/audit"
    now: int = NOW
    alarms: list[Alarm] = field(default_factory=list)
    alarmed: asyncio.Event = field(default_factory=asyncio.Event)
    count: int = 0

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.database)
        files = [self.folder / name for name in ("signing.key", "ingest.key", "keys.txt")]
        self.keys = KeyFiles(self.origin, *files)

    def sealer(self, folder: Path | None = None) -> Sealer:
        """A sealer, as another process would have it. `folder`: of its state file."""
        state = (folder or self.folder) / "state.json"
        return Sealer(self.ledger, self.keys, state, self._note, lambda: self.now)

    async def _note(self, alarm: Alarm) -> None:
        self.alarms.append(alarm)
        self.alarmed.set()

    async def writer(self) -> Writer:
        """A registered writer."""
        writer = Writer(self.keys.ingest_key())
        await self.ledger.register(writer.w, self.now)
        return writer

    async def record(self, writer: Writer, count: int = 1, **elements: Any) -> list[dict[str, Any]]:
        """Record `count` events by `writer`; their documents."""
        documents = []
        for _ in range(count):
            self.count += 1
            self.now += 1000
            documents.append(writer.document(an_event(self.count, at=self.now, **elements), self.now))
        await self.database[EVENTS].insert_many(documents)
        return documents
