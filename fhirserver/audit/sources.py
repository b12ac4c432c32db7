"""Where a verification gets its data from: the database, or an export folder; and the writing of such a folder.

An export folder: `export.json` (origin, sizes, peaks of the tree where it begins), `checkpoints.ndjson`,
`events.ndjson` with a line {i, w, s, p, h, raw} for each event, `tile/0/<n>` (C2SP tlog-tiles), `keys.txt`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from fhirserver.audit import merkle
from fhirserver.audit.findings import Class
from fhirserver.audit.keys import KnownKey
from fhirserver.audit.tiles import StoredTree
from fhirserver.audit.verify import Verification
from fhirserver.store.ledger import TILE, Ledger, Recorded, Run, Seal

_BITS = 8  # 256 hashes in a tile
WINDOW = 5000  # events that are looked at together

Progress = Callable[[int], None]
_Events = dict[tuple[bytes, int], list[Recorded]]


class BadExport(Exception):
    """A folder that is no export, or not whole; the text says what is in the way."""


async def verify_stored(
    ledger: Ledger, verification: Verification, *, since: int = 0, progress: Progress = lambda done: None
) -> None:
    """Feed `verification` with the ledger in the database, from the checkpoint of size `since` on.

    Raises BadExport where there is no such checkpoint, DamagedLedger, Unavailable.
    """
    if since:
        seal = await ledger.seal_at(since)
        if seal is None:
            raise BadExport(f"there is no checkpoint of size {since}")
        verification.start_at(seal, await StoredTree(ledger, since).peaks())
    window: list[Seal] = []
    async for seal in ledger.seals(since):
        window.append(seal)
        if sum(run.n for one in window for run in one.runs) >= WINDOW:
            await _check_window(ledger, verification, window, progress)
            window = []
    await _check_window(ledger, verification, window, progress)
    writers = await ledger.writers()
    known = sorted({*writers, *verification.writers})
    nexts = {w: verification.next_of(w) for w in known}
    if since:  # a writer without events since then is sealed up to where its last run ended
        nexts |= {w: await ledger.next_of(w) for w in known if w not in verification.writers}
    for w in sorted(await ledger.waiting(nexts)):
        tail = await ledger.run(w, nexts[w], 0, whole=verification.index_faults is not None)
        verification.check_tail(w, tail)
    verification.check_strangers(await ledger.strangers(known))
    verification.check_tiles(await _bad_tiles(ledger, verification.size))


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
    ledger: Ledger, verification: Verification, window: list[Seal], progress: Progress
) -> None:
    spans: dict[bytes, tuple[int, int]] = {}
    for seal in window:
        for run in seal.runs:
            low, high = spans.get(run.w, (run.s0, run.s0))
            spans[run.w] = (min(low, run.s0), max(high, run.s0 + run.n))
    events: _Events = {}
    for w, (low, high) in spans.items():
        for event in await ledger.between(w, low, high + 1, whole=verification.index_faults is not None):
            events.setdefault((w, event.s), []).append(event)
    first = min((seal.prev for seal in window), default=0)
    last = max((seal.size for seal in window), default=0)
    numbers = range(min(first, verification.size) // TILE, last // TILE + 1)
    tiles = {n: tile.hashes() for n, tile in (await ledger.tiles(0, numbers)).items()}
    for seal in window:  # in a thread: a server verifies beside its requests
        await asyncio.to_thread(verification.check, seal, events, tiles)
    progress(sum(run.n for seal in window for run in seal.runs))


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
        verification.check(seal, events, _tiles_of(folder, min(seal.prev, verification.size), seal.size))
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
