"""Sealed events read by a process that does nothing else meanwhile: calls block."""

from __future__ import annotations

from pymongo import ASCENDING

from fhirserver.store.client import connect_blocking, translated
from fhirserver.store.ledger import EVENTS
from fhirserver.store.ledger_events import EVENT_FIELDS, SHAPE_FIELDS, SHAPES, Recorded, recorded, with_shapes

_BATCH = 2000


class LedgerReader:
    """Reads the events in `database` of the MongoDB at `uri`."""

    def __init__(self, uri: str, database: str) -> None:
        self._events = connect_blocking(uri, pool=1)[database][EVENTS]
        self._shapes = self._events.with_options(codec_options=SHAPES)

    def between(self, w: bytes, s: int, end: int, *, whole: bool = False) -> list[Recorded]:
        """The events of `w` with sequences in [s, end), in order, as Ledger.between. Raises OutcomeError."""
        filter = {"w": w, "s": {"$gte": s, "$lt": end}}
        with translated():
            rows = self._events.find(filter, EVENT_FIELDS).sort("s", ASCENDING).batch_size(_BATCH).to_list()
            if not whole:
                return [recorded(row) for row in rows]
            shapes = self._shapes.find(filter, SHAPE_FIELDS).sort("s", ASCENDING).batch_size(_BATCH).to_list()
        return with_shapes(rows, shapes)
