"""Sealed events read by a process that does nothing else meanwhile: calls block."""

from __future__ import annotations

from pymongo import ASCENDING

from fhirserver.store.client import connect_blocking, translated
from fhirserver.store.ledger import EVENTS, Recorded, fields, recorded

_BATCH = 2000


class LedgerReader:
    """Reads the events in `database` of the MongoDB at `uri`."""

    def __init__(self, uri: str, database: str) -> None:
        self._events = connect_blocking(uri, pool=1)[database][EVENTS]

    def between(self, w: bytes, s: int, end: int, *, whole: bool = False) -> list[Recorded]:
        """The events of `w` with sequences in [s, end), in order, as Ledger.between. Raises OutcomeError."""
        filter = {"w": w, "s": {"$gte": s, "$lt": end}}
        with translated():
            cursor = self._events.find(filter, fields(whole=whole)).sort("s", ASCENDING).batch_size(_BATCH)
            return [recorded(row, whole=whole) for row in cursor]
