"""A writer's chain: the place of each event in it, and how a batch is brought into the database whatever happens.

An insert whose acknowledgement is lost is sent again, the same documents: what turns out to be there already was stored
by the first sending. An event that another writer has stored meanwhile (a replay, the sweeper) is dropped here and the
rest chained anew. After a few failures the writer ends and a new one begins, so that an unknown tail blocks nobody.
Source: docs/explanation/audit.md
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fhirserver.audit import ledger
from fhirserver.audit.agents import coding
from fhirserver.audit.event import Event
from fhirserver.audit.vocabulary import RECOVERED
from fhirserver.outcome import Internal, OutcomeError
from fhirserver.store.audit import AuditLog

ATTEMPTS = 3
_PAUSE = 0.05  # seconds before the second attempt, doubled before the third
_LOG = logging.getLogger("fhirserver.audit")
Document = dict[str, Any]
# how the one subtype that tells a recovered event from the first stands in canonical bytes: after the others
RECOVERED_MARK = b"," + ledger.canonical(coding(RECOVERED))


class Chain:
    """Appends events to the log, one batch at a time. `key`: K_ingest. `about`: of this process, for its writers.

    `on_alarm`: told of an event whose id is taken by another event, which only an attack or a fault explains.
    """

    def __init__(
        self,
        log: AuditLog,
        key: bytes,
        about: Mapping[str, Any],
        on_alarm: Callable[[str], None] = lambda event: None,
    ) -> None:
        self._log = log
        self._key = key
        self._about = about
        self._on_alarm = on_alarm
        self.writer = b""
        self.ended: list[bytes] = []
        self._registered = False
        self._renew = False
        self._begin()

    def _begin(self) -> None:
        """A new writer; it is registered before its first event."""
        if self._registered:
            self.ended.append(self.writer)
        self.writer = secrets.token_bytes(ledger.WRITER_SIZE)
        self._registered = False
        self._next, self._last = 0, ledger.START

    def renew(self) -> None:
        """Begin a new writer with the next batch."""
        self._renew = True

    async def open(self) -> None:
        """Register the writer where that has not been done. Raises OutcomeError."""
        if not self._registered:
            await self._log.register(self.writer, self._about)
            self._registered = True

    async def append(self, events: Sequence[Event]) -> None:
        """Make all `events` durable, in order. Raises OutcomeError: some may be stored, all can be sent again."""
        if self._renew:
            self._renew = False
            self._begin()
        failures = 0
        rest = list(events)
        documents: list[Document] = []
        while rest:
            try:
                await self.open()
                documents = documents or self._chained(rest)
                if await self._log.append(documents):
                    self._advance(documents)
                    return
                rest, documents = await self._left(rest, documents), []
            except OutcomeError:
                failures += 1
                if failures >= ATTEMPTS:
                    self._begin()
                    raise
                await asyncio.sleep(_PAUSE * 2 ** (failures - 1))

    def _chained(self, events: Sequence[Event]) -> list[Document]:
        documents = []
        writer, place, last = self.writer, self._next, self._last
        for event in events:
            leaf = ledger.leaf(ledger.entry(writer, place, last, event.raw))
            link = {"w": writer, "s": place, "p": last, "h": leaf, "mac": ledger.mac(self._key, leaf)}
            documents.append(self._log.document(event.id, event.ts, event.raw, event.ix, event.x, link))
            place, last = place + 1, leaf
        return documents

    def _advance(self, documents: Sequence[Document]) -> None:
        if documents:
            self._next, self._last = documents[-1]["s"] + 1, documents[-1]["h"]

    async def _left(self, events: Sequence[Event], documents: Sequence[Document]) -> list[Event]:
        """After a duplicate: what still has to be stored. The chain moves on over what this writer has stored."""
        found = await self._log.stored([document["_id"] for document in documents])
        if not any(found):
            raise Internal("The audit log refused an event that it does not hold.", code="audit-chain")
        left = []
        for event, ours, theirs in zip(events, documents, found, strict=True):
            if theirs is None:
                left.append(event)
            elif theirs["w"] == ours["w"] and theirs["s"] == ours["s"] and theirs["raw"] == ours["raw"]:
                self._advance([ours])
            elif not is_same(event.raw, theirs["raw"]):
                _LOG.critical("an audit event's id is taken by another event", extra={"event": event.id})
                self._on_alarm(event.id)
        return left


def is_same(ours: bytes, theirs: bytes) -> bool:
    """True for the same event, also where one of them was made again after a crash (subtype `recovered`)."""
    return ours == theirs or ours.replace(RECOVERED_MARK, b"") == theirs.replace(RECOVERED_MARK, b"")
