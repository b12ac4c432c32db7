"""Where events wait while the log does not take them, if the operator wants that: a local file, synced to the disk.

Each process writes a file of its own; what a process has left behind, the next one replays. An event that was stored
after all is known by its id and stored once. Source: docs/explanation/audit.md
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import orjson

from fhirserver.audit.event import Event, Indexer, indexed_event
from fhirserver.store.batcher import Batcher

_SUFFIX = ".spool"
_AT_ONCE = 500
Commit = Callable[[Sequence[Event]], Awaitable[None]]


class Spool:
    """The spool of one process in `folder`, which all processes of this machine share."""

    def __init__(self, folder: Path, indexer: Indexer) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._indexer = indexer
        self._file = self._fresh()
        self._full: list[Path] = []
        self._batcher: Batcher[Sequence[Event], bool] = Batcher("spool", self._flush)

    @property
    def is_empty(self) -> bool:
        """True where nothing of this process waits."""
        return not self._full and not self._file.exists()

    def left(self) -> int:
        """Take over what ended processes have left in the folder; how many files. For the start."""
        self._full = sorted(self._folder.glob(f"*{_SUFFIX}"))
        return len(self._full)

    async def keep(self, events: Sequence[Event]) -> None:
        """Come back when `events` are on the disk. Raises OSError."""
        await self._batcher.submit(events)

    async def replay(self, commit: Commit) -> int:
        """Hand what waits to `commit` and forget it; how many events. Raises what commit raises: the rest waits on."""
        await self._batcher.drain()
        if self._file.exists():
            self._full.append(self._file)
            self._file = self._fresh()  # for what comes in meanwhile
        done = 0
        while self._full:
            events = await asyncio.to_thread(self._read, self._full[0])
            for start in range(0, len(events), _AT_ONCE):
                await commit(events[start : start + _AT_ONCE])
            self._full.pop(0).unlink(missing_ok=True)
            done += len(events)
        return done

    def _fresh(self) -> Path:
        return self._folder / f"{secrets.token_hex(8)}{_SUFFIX}"

    def _read(self, file: Path) -> list[Event]:
        """The events of a file; a last line that was cut off had not been promised to anybody."""
        events = []
        for line in file.read_bytes().split(b"\n")[:-1] if file.exists() else ():
            kept = orjson.loads(line)
            raw = kept["raw"].encode()
            events.append(indexed_event(self._indexer, kept["id"], kept["ts"], raw, orjson.loads(raw)))
        return events

    async def _flush(self, batch: list[Sequence[Event]]) -> list[bool]:
        lines = [
            orjson.dumps({"id": event.id, "ts": event.ts, "raw": event.raw.decode()}) + b"\n"
            for events in batch
            for event in events
        ]
        await asyncio.to_thread(_append, self._file, b"".join(lines))
        return [True] * len(batch)


def _append(file: Path, data: bytes) -> None:
    """Append and sync, the folder too where the file is new."""
    is_new = not file.exists()
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)
    if is_new:
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
