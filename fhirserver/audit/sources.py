"""Where a verification gets its data from: the database, or an export folder; and the writing of such a folder.

An export folder: `export.json` (origin, sizes, peaks of the tree where it begins), `checkpoints.ndjson`,
`events.ndjson` with a line {i, w, s, p, h, raw} for each event, `tile/0/<n>` (C2SP tlog-tiles), `keys.txt`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from fhirserver.audit import merkle
from fhirserver.audit.examine import Examiner, Here
from fhirserver.audit.findings import Class
from fhirserver.audit.keys import KnownKey
from fhirserver.audit.stretches import Stretches
from fhirserver.audit.tiles import StoredTree
from fhirserver.audit.verify import Verification
from fhirserver.store.ledger import TILE, Ledger, Recorded, Run, Seal, Tile

_BITS = 8  # 256 hashes in a tile
WINDOW = 5000  # events that are looked at together

Progress = Callable[[int], None]
_Events = dict[tuple[bytes, int], list[Recorded]]


class BadExport(Exception):
    """A folder that is no export, or not whole; the text says what is in the way."""


async def verify_stored(
    ledger: Ledger, verification: Verification, *, since: int = 0, progress: Progress = lambda done: None,
    examiner: Examiner | None = None,
) -> None:  # fmt: skip
    """Feed `verification` with the ledger in the database, from the checkpoint of size `since` on.

    `examiner`: looks at the events; None: this process does. Raises BadExport where there is no such checkpoint,
    DamagedLedger, Unavailable.
    """
    if since:
        seal = await ledger.seal_at(since)
        if seal is None:
            raise BadExport(f"there is no checkpoint of size {since}")
        verification.start_at(seal, await StoredTree(ledger, since).peaks())
    examine = examiner or Here(ledger, verification.index_faults)
    waiting: deque[tuple[list[Seal], asyncio.Task[Stretches]]] = deque()
    try:
        async for window in _windows(ledger.seals(since)):
            runs = [run for seal in window for run in seal.runs]
            waiting.append((window, asyncio.ensure_future(examine(runs))))
            if len(waiting) > examine.ahead:
                await _take_window(ledger, verification, *waiting.popleft(), progress)
        while waiting:
            await _take_window(ledger, verification, *waiting.popleft(), progress)
    finally:
        for _, task in waiting:
            task.cancel()
        await asyncio.gather(*(task for _, task in waiting), return_exceptions=True)
    await _check_rest(ledger, verification, since)


async def _check_rest(ledger: Ledger, verification: Verification, since: int) -> None:
    """What is not in checkpoints: the events that wait, those of nobody, the tiles."""
    writers = await ledger.writers()
    chains = verification.chains
    known = sorted({*writers, *chains.writers})
    nexts = {w: chains.next_of(w) for w in known}
    if since:  # a writer without events since then is sealed up to where its last run ended
        nexts |= {w: await ledger.next_of(w) for w in known if w not in chains.writers}
    for w in sorted(await ledger.waiting(nexts)):
        tail = await ledger.run(w, nexts[w], 0, whole=verification.index_faults is not None)
        verification.check_tail(w, tail)
    verification.check_strangers(await ledger.strangers(known))
    verification.check_tiles(await _bad_tiles(ledger, verification.size))


async def _windows(seals: AsyncIterator[Seal]) -> AsyncIterator[list[Seal]]:
    window: list[Seal] = []
    events = 0
    async for seal in seals:
        window.append(seal)
        events += sum(run.n for run in seal.runs)
        if events >= WINDOW:
            yield window
            window, events = [], 0
    if window:
        yield window


async def _take_window(
    ledger: Ledger, verification: Verification, window: list[Seal], examined: asyncio.Task[Stretches], progress: Progress
) -> None:  # fmt: skip
    """Go through the checkpoints of `window`: event by event from the first on in which anything is doubtful."""
    stretches = await examined
    first = min((seal.prev for seal in window), default=0)
    last = max((seal.size for seal in window), default=0)
    numbers = range(min(first, verification.size) // TILE, last // TILE + 1)
    tiles = {n: tile.data for n, tile in (await ledger.tiles(0, numbers)).items()}

    def accept() -> int:
        for at, seal in enumerate(window):
            if not verification.accept(seal, stretches, tiles):
                return at
        return len(window)

    rest = window[await asyncio.to_thread(accept) :]
    if rest:
        await _check_window(ledger, verification, rest, tiles)
    progress(sum(run.n for seal in window for run in seal.runs))


async def _bad_tiles(ledger: Ledger, size: int) -> list[str]:
    """The tiles that are not what the tiles below them say; missing ones of the newest checkpoint may still come."""
    newest = await ledger.newest()
    settled = min(size, newest.prev) if newest is not None else 0
    bad: list[str] = []
    below: dict[int, bytes] = {}
    level, count = 0, size // TILE
    while count:
        roots: dict[int, bytes] = {}
        for first in range(0, count, TILE):
            numbers = range(first, min(first + TILE, count))
            tiles = await ledger.tiles(level, numbers)
            for n in numbers:
                tile = tiles.get(n)
                if tile is None:
                    if (n + 1) << (_BITS * (level + 1)) <= settled:
                        bad.append(f"tile {level}/{n} is missing")
                    continue
                hashes = tile.hashes()
                expected = [below.get(at) for at in range(n * TILE, (n + 1) * TILE)] if level else hashes
                if hashes != expected or tile.root != merkle.root(hashes):
                    bad.append(f"tile {level}/{n} does not fit what it stands on")
                roots[n] = tile.root
        below, level, count = roots, level + 1, count // TILE
    return bad


async def _check_window(
    ledger: Ledger, verification: Verification, window: list[Seal], tiles: dict[int, bytes]
) -> None:
    spans: dict[bytes, tuple[int, int]] = {}
    for seal in window:
        for run in seal.runs:
            low, high = spans.get(run.w, (run.s0, run.s0))
            spans[run.w] = (min(low, run.s0), max(high, run.s0 + run.n))
    events: _Events = {}
    whole = verification.index_faults is not None
    for w, (low, high) in spans.items():
        for event in await ledger.between(w, low, high + 1, whole=whole):
            events.setdefault((w, event.s), []).append(event)
    hashes = {n: Tile(data, b"").hashes() for n, data in tiles.items()}
    for seal in window:
        later: dict[bytes, int] = {}
        if seal.prev > verification.size:
            later = await _behind(ledger, seal.prev)
            await _add_between(ledger, verification, seal.prev, later, events)
        await asyncio.to_thread(verification.check, seal, events, hashes, later)


async def _add_between(
    ledger: Ledger, verification: Verification, end: int, later: dict[bytes, int], events: _Events
) -> None:
    """Add to `events` those that a missing checkpoint of at most size `end` may have sealed."""
    known = set(events)
    for w in sorted({*await ledger.writers(), *later}):
        s = verification.chains.next_of(w)
        until = later.get(w, s + end - verification.size)
        for event in await ledger.between(w, s, until, whole=verification.index_faults is not None):
            if (w, event.s) not in known:
                events.setdefault((w, event.s), []).append(event)


async def _behind(ledger: Ledger, size: int) -> dict[bytes, int]:
    """With which sequence each writer goes on behind `size`, of those that do."""
    found: dict[bytes, int] = {}
    async for seal in ledger.seals(size):
        for run in seal.runs:
            found.setdefault(run.w, run.s0)
    return found


async def export(
    ledger: Ledger, folder: Path, *, origin: str, keys: list[KnownKey], start: int, end: int,
    progress: Progress = lambda done: None,
) -> int:  # fmt: skip
    """Write the events sealed in (start, end], two checkpoint sizes, into `folder`; their number.

    Raises DamagedLedger, Unavailable, OSError. A purged event has no line.
    """
    (folder / "tile" / "0").mkdir(parents=True, exist_ok=True)
    tree = await StoredTree(ledger, end).peaks(start)
    manifest = {"origin": origin, "from": start, "to": end, "peaks": [peak.hex() for peak in tree.peaks]}
    count = 0
    with (folder / "events.ndjson").open("wb") as events, (folder / "checkpoints.ndjson").open("wb") as notes:
        if start and (begin := await ledger.seal_at(start)):
            notes.write(orjson.dumps(_line_of_seal(begin)) + b"\n")
        async for seal in ledger.seals(start, end):
            notes.write(orjson.dumps(_line_of_seal(seal)) + b"\n")
            for run in seal.runs:
                for event in await ledger.between(run.w, run.s0, run.s0 + run.n):
                    events.write(orjson.dumps(_line_of_event(event, run.i0 + event.s - run.s0)) + b"\n")
                    count += 1
            progress(seal.size - seal.prev)
    numbers = range(start // TILE, end // TILE + 1)
    for n in numbers:
        for tile in (await ledger.tiles(0, [n])).values():
            (folder / "tile" / "0" / str(n)).write_bytes(tile.data)
    (folder / "keys.txt").write_text("".join(f"{key.line()}\n" for key in keys))
    (folder / "export.json").write_bytes(orjson.dumps(manifest))
    return count


def verify_export(
    folder: Path, verification: Verification, *, progress: Progress = lambda done: None
) -> None:
    """Feed `verification` with an export folder. Raises BadExport."""
    try:
        _verify_export(folder, verification, progress)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadExport(f"{folder} cannot be read as an export: {type(error).__name__}: {error}") from error


def _verify_export(folder: Path, verification: Verification, progress: Progress) -> None:
    manifest = orjson.loads((folder / "export.json").read_bytes())
    seals = [_seal_of_line(line) for line in _lines(folder / "checkpoints.ndjson")]
    if manifest["from"]:
        peaks = [bytes.fromhex(peak) for peak in manifest["peaks"]]
        verification.start_at(seals.pop(0), merkle.Tree(manifest["from"], peaks))
    events: _Events = {}
    lines = _lines(folder / "events.ndjson")
    read = verification.size
    for at, seal in enumerate(seals):
        if seal.size >= read:  # a window ahead: the event after a checkpoint tells of the last one in it
            target = seals[min(at + 1, len(seals) - 1)].size + WINDOW
            for line in lines:
                event = _event_of_line(line)
                events.setdefault((event.w, event.s), []).append(event)
                read += 1
                if read >= target:
                    break
        later: dict[bytes, int] = {}
        if seal.prev > verification.size:
            for run in (run for each in seals[at:] for run in each.runs):
                later.setdefault(run.w, run.s0)
        tiles = _tiles_of(folder, min(seal.prev, verification.size), seal.size)
        verification.check(seal, events, tiles, later)
        progress(seal.size - seal.prev)
        for run in seal.runs:
            for s in range(run.s0, run.s0 + run.n):
                events.pop((run.w, s), None)
    left = [event.key for copies in events.values() for event in copies]
    left += [_event_of_line(line).key for line in lines]
    if not {Class.RUN_GAP, Class.CHECKPOINT_GAP} & set(verification.findings.totals):
        verification.check_strangers(left)


def _lines(file: Path) -> Iterator[Any]:
    with file.open("rb") as stream:
        for line in stream:
            yield orjson.loads(line)


def _tiles_of(folder: Path, start: int, end: int) -> dict[int, list[bytes]]:
    found = {}
    for n in range(start // TILE, end // TILE + 1):
        file = folder / "tile" / "0" / str(n)
        if file.exists():
            data = file.read_bytes()
            found[n] = [data[at : at + 32] for at in range(0, TILE * 32, 32)]
    return found


def _line_of_seal(seal: Seal) -> dict[str, Any]:
    runs = [{"w": run.w.hex(), "s0": run.s0, "n": run.n, "i0": run.i0} for run in seal.runs]
    return {"size": seal.size, "prev": seal.prev, "runs": runs, "note": seal.note}


def _seal_of_line(line: dict[str, Any]) -> Seal:
    runs = tuple(Run(bytes.fromhex(run["w"]), run["s0"], run["n"], run["i0"]) for run in line["runs"])
    return Seal(line["size"], line["prev"], runs, line["note"])


def _line_of_event(event: Recorded, index: int) -> dict[str, Any]:
    return {
        "i": index, "w": event.w.hex(), "s": event.s, "p": event.p.hex(), "h": event.h.hex(), "raw": event.raw.decode(),
    }  # fmt: skip


def _event_of_line(line: dict[str, Any]) -> Recorded:
    return Recorded(
        f"line {line['i']}", bytes.fromhex(line["w"]), line["s"], bytes.fromhex(line["p"]),
        bytes.fromhex(line["h"]), b"", line["raw"].encode(), 0,
    )  # fmt: skip
