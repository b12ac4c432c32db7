"""The audit of one worker process: its parts, built once, and what runs beside the requests.

Start and stop are events; between them a loop replays the spool, sums up floods, shows that the process is alive and
begins a new writer where the sealer could not seal the old one. Source: docs/explanation/audit.md
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fhirserver.audit.agents import Site
from fhirserver.audit.alarms import Alarm
from fhirserver.audit.alertbook import AlertBook
from fhirserver.audit.chain import Chain
from fhirserver.audit.disclosed import Disclosures
from fhirserver.audit.event import WORDS, EventBuilder
from fhirserver.audit.feed import Feed
from fhirserver.audit.floods import Floods
from fhirserver.audit.record import Bounds, Recorder
from fhirserver.audit.recorded import QueryRecorder
from fhirserver.audit.rest import RestEvents
from fhirserver.audit.security import SecurityEvents
from fhirserver.audit.spool import Spool
from fhirserver.audit.station import Auditor, Withheld
from fhirserver.audit.sweep import ALIVE_SECONDS, Sweeper, about_process, lease_name
from fhirserver.audit.system import SystemEvents, migrated_id
from fhirserver.context import AuthEvent, Version
from fhirserver.outcome import OutcomeError
from fhirserver.r4.definitions import Definitions
from fhirserver.r4.jsontext import parse_json
from fhirserver.search.index import Indexer
from fhirserver.store.audit import AuditLog
from fhirserver.store.batcher import OnBatch, ignore_batch
from fhirserver.store.documents import PATIENTS
from fhirserver.store.home import Home
from fhirserver.store.leases import Leases
from fhirserver.store.ledger import Ledger
from fhirserver.store.migrate import steps_done
from fhirserver.store.owed import OwedVersions

if TYPE_CHECKING:
    from fhirserver.settings import Settings
    from fhirserver.store import Store

CHAINS = 2  # of a worker; more make smaller batches, which cost more than the time they save
_TICK = 1.0
_TICKS_OF_LEASE = 15
_OUTAGES_EVERY = 600_000_000  # microseconds
_TELL_SECONDS = 30.0
_LOG = logging.getLogger("fhirserver.audit")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the audit is built on.

    `definitions`: by which events are indexed, for ever. `key`: K_ingest. `clock`: microseconds since 1970. `new_id`: a
    fresh logical id.
    """

    home: Home
    leases: Leases
    definitions: Definitions
    key: bytes
    clock: Callable[[], int]
    new_id: Callable[[], str]
    on_batch: OnBatch = ignore_batch


class AuditWorker:
    """The audit of this process. `start` before the first request, `run` beside them, `stop` after the last."""

    def __init__(self, settings: Settings, on: Surroundings) -> None:
        chosen = settings.audit
        root = settings.fhir_base.removesuffix("/fhir")
        site = Site(settings.fhir_base, root, urlsplit(root).hostname or root)
        self._on = on
        self.log = AuditLog(on.home.audit, settings.tenant, round(chosen.commit_timeout * 1000))
        self._ledger = Ledger(on.home.audit)
        self._indexer = Indexer(on.definitions, settings.tenant, settings.fhir_base)
        builder = EventBuilder(site, settings.tenant, self._indexer, on.new_id)
        self.system = SystemEvents(builder, on.clock)
        self.spool = (
            Spool(chosen.spool_dir, self._indexer) if chosen.spool_dir and _spools(settings) else None
        )
        about = about_process() | {"at": on.clock()}
        self.recorder = Recorder(
            [Chain(self.log, on.key, about, self._on_taken_id) for _ in range(CHAINS)],
            Bounds(chosen.commit_timeout, chosen.max_queue),
            keep=self.spool.keep if self.spool is not None else None,
            on_stop=self.system.recording_stopped,
            on_batch=on.on_batch,
        )
        queries = QueryRecorder(pseudonym_key(on.key), chosen.query_values == "raw")
        self.pseudonym = queries.token
        self.alerts = AlertBook(builder, self.recorder, self.log, on.clock)
        self.events = RestEvents(builder, queries, self._patients)
        self.security = SecurityEvents(builder, self.recorder, queries, on.clock)
        self.disclosures = Disclosures(builder, self.recorder, on.clock)
        self.feed = Feed(site, self.recorder, self._indexer, on.new_id, on.clock)
        self.floods = Floods()
        self._outage_told = 0
        self._searchable = frozenset(on.definitions.search_parameters("AuditEvent")) - set(WORDS)
        self.sweeper = Sweeper(
            self.log,
            OwedVersions(on.home, settings.tenant),
            self.events,
            self.system,
            self.recorder.commit,
            on.leases,
            on.clock,
        )

    def auditor(self, store: Store, withheld: Withheld) -> Auditor:
        """The audit station of an engine on `store`."""
        return Auditor(
            self.events, self.recorder, store.owners, withheld, self._on.clock, self.floods, self._searchable
        )

    def reasons(self) -> list[str]:
        """Why the server is not ready, as far as the audit is concerned."""
        failing = self.recorder.is_failing and self.spool is None
        return ["audit events cannot be stored"] if failing else []

    async def start(self) -> None:
        """Record the start of the process, and what became of earlier ones. Raises OutcomeError."""
        for chain in self.recorder.chains:
            await chain.open()
        await self.recorder.commit([self.system.started(chain.writer) for chain in self.recorder.chains])
        await self.sweeper.find_lost_once()
        await self._tell_migrations()
        if self.spool is not None and self.spool.left():
            await self._replay(self.spool)

    async def _tell_migrations(self) -> None:
        """Record through which migrations the database went since that was last told. Raises OutcomeError."""
        if not await self._on.leases.take("audit-migrated", _TELL_SECONDS):  # another worker is at it
            return
        steps = await steps_done(self._on.home.database)
        known = await self.log.known([migrated_id(step) for step in steps])
        told = max((at for at, step in enumerate(steps, 1) if migrated_id(step) in known), default=0)
        if told < len(steps):
            before = steps[told - 1].version if told else 0
            await self.recorder.commit([self.system.migrated(before, steps[told:])])
        await self._on.leases.release("audit-migrated")

    async def run(self) -> None:
        """What runs beside the requests; for ever, until cancelled."""
        ticks = 0
        while True:
            with suppress(OutcomeError):
                await self._tick(ticks)
            ticks += 1
            await asyncio.sleep(_TICK)

    async def stop(self) -> None:
        """Record what is left and the end of the process."""
        with suppress(OutcomeError):
            await self.recorder.record([self.system.flood(each) for each in self.floods.rest()])
        await self.recorder.drain()
        with suppress(OutcomeError):
            if self.spool is not None and not self.spool.is_empty:
                await self._replay(self.spool)
            await self.recorder.commit(
                [
                    self.system.stopped(writer)
                    for chain in self.recorder.chains
                    for writer in (*chain.ended, chain.writer)
                ]
            )

    async def note_rotation(self, vkey: str, size: int) -> None:
        """Record that the ledger is signed by the key `vkey` from checkpoint `size` on."""
        detail = (("changed", vkey.split("+")[1]), ("vkey", vkey), ("size", str(size)))
        with suppress(OutcomeError):
            await self.security.record(AuthEvent("key-rotated", detail=detail))

    def checkpoint(self, note: str) -> bytes:
        """A checkpoint as an event, for a receiver of events."""
        return self.system.checkpoint(int(note.split("\n")[1]), note).raw

    async def alarm(self, alarm: Alarm) -> None:
        """Log an alarm and record it as an event, as far as that is possible now."""
        _LOG.error("audit alarm: %s", alarm.text, extra={"rule": alarm.rule})
        with suppress(OutcomeError):
            await self.recorder.record([self.system.alarm(alarm)])

    async def _tick(self, ticks: int) -> None:
        if self.spool is not None and not self.spool.is_empty:
            await self._replay(self.spool)
        await self._tell_outage()
        summaries = [self.system.flood(each) for each in self.floods.due(self._on.clock())]
        await self.recorder.record(summaries)
        if ticks % _TICKS_OF_LEASE == 0:
            for chain in self.recorder.chains:
                await self._on.leases.take(lease_name(chain.writer), ALIVE_SECONDS)
                if await self._ledger.is_refused(chain.writer):
                    chain.renew()

    async def _replay(self, spool: Spool) -> None:
        """Record what waits in the spool, and that recording goes on. Raises OutcomeError: it waits on."""
        count = await spool.replay(self.recorder.commit)
        writer = self.recorder.chains[0].writer
        await self.recorder.commit([self.system.recording_started(writer)])
        _LOG.warning("spooled audit events stored", extra={"count": count})
        self.recorder.failed_for = 0.0
        if count:
            await self.alarm(Alarm.of("recording", "spooled", events=count))

    async def _tell_outage(self) -> None:
        """Raise an alert for the time in which requests were refused; one at most in a while, as a sum."""
        failed, now = self.recorder.failed_for, self._on.clock()
        if failed and not self.recorder.is_failing and now - self._outage_told > _OUTAGES_EVERY:
            self._outage_told, self.recorder.failed_for = now, 0.0
            await self.alarm(Alarm.of("recording", "refused", seconds=max(1, round(failed))))

    def _patients(self, version: Version) -> Sequence[str]:
        """In whose compartments a version is; looked up in it where it was stored before that was kept with it."""
        if version.patients is not None:
            return version.patients
        if version.raw is None:
            return ()
        keys = self._indexer.index(version.type, parse_json(version.raw)).ix.get(PATIENTS, ())
        return tuple(key.rpartition("/")[2] for key in keys)

    def _on_taken_id(self, event: str) -> None:
        self.recorder.submit([self.system.alarm(Alarm.of("integrity", "id-taken", event=event))])


def pseudonym_key(ingest: bytes) -> bytes:
    """K_pseudo, the key of the tokens in recorded queries: derived, so that there is one secret less to keep."""
    return hmac.digest(ingest, b"fhirserver audit pseudonyms", "sha256")


def _spools(settings: Settings) -> bool:
    return settings.audit.on_failure == "spool"
