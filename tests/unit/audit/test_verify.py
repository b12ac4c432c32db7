"""Verification: a sealed log is altered in every way that the table of findings names; each is found, and only that."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fhirserver.audit import merkle
from fhirserver.audit.examine import Examiner, Side, Source
from fhirserver.audit.findings import Class
from fhirserver.audit.index_check import CORE, IndexCheck
from fhirserver.audit.keys import KeyFiles, parse_keys
from fhirserver.audit.ledger import canonical, entry, leaf, mac
from fhirserver.audit.notes import Checkpoint, Signer, sign, split_note
from fhirserver.audit.purges import DETAIL, PURGE, SUBTYPE_SYSTEM
from fhirserver.audit.sources import BadExport, export, verify_export, verify_stored
from fhirserver.audit.verify import Verification
from fhirserver.audit.verify_report import anchor_of
from fhirserver.store import connect
from fhirserver.store.ledger import CHECKPOINTS, EVENTS, TILES, WRITERS, Ledger
from tests.kit.ledger import LedgerKit, indexer

pytestmark = pytest.mark.anyio
ORIGIN = "clinic.example/audit"


@dataclass
class Log:
    """A sealed log as documents, to be altered. Leaves 0-511 are in full tiles, 512-649 are not, 650-659 are unsealed.

    Two writers, checkpoints at 300, 560, 600, 650.
    """

    events: list[dict[str, Any]]
    checkpoints: list[dict[str, Any]]
    tiles: list[dict[str, Any]]
    writers: list[dict[str, Any]]
    keys: KeyFiles
    now: int

    def order(self) -> list[tuple[bytes, int]]:
        """(w, s) of each leaf."""
        runs = [run for row in self.checkpoints for run in row["runs"]]
        return [
            (run["w"], run["s0"] + k) for run in sorted(runs, key=lambda r: r["i0"]) for k in range(run["n"])
        ]

    def at(self, index: int) -> dict[str, Any]:
        """The event of a leaf; beyond the sealed ones, of the tail."""
        order = self.order()
        if index >= len(order):
            return self.tail()[index - len(order)]
        return self.place(*order[index])

    def place(self, w: bytes, s: int) -> dict[str, Any]:
        return next(row for row in self.events if (row["w"], row["s"]) == (w, s))

    def tail(self) -> list[dict[str, Any]]:
        sealed = set(self.order())
        rows = [row for row in self.events if (row["w"], row["s"]) not in sealed]
        return sorted(rows, key=lambda row: (row["w"], row["s"]))

    def rehash(self, row: dict[str, Any], *, mac_too: bool = False) -> None:
        row["h"] = leaf(entry(row["w"], row["s"], row["p"], row["raw"]))
        if mac_too:
            row["mac"] = mac(self.keys.ingest_key(), row["h"])

    def rechain(self, row: dict[str, Any]) -> None:
        """Fix all hashes from `row` on, tiles included, as an attacker without the signing key would."""
        mine = sorted((one for one in self.events if one["w"] == row["w"]), key=lambda one: one["s"])
        for one in mine[row["s"] :]:
            if one["s"] > row["s"]:
                one["p"] = mine[one["s"] - 1]["h"]
            self.rehash(one, mac_too=True)
        hashes = self.hashes()
        for tile in self.tiles:
            level, n = map(int, tile["_id"].split("/"))
            assert level == 0
            tile["data"] = b"".join(hashes[n * 256 : (n + 1) * 256])
            tile["root"] = merkle.root(hashes[n * 256 : (n + 1) * 256])

    def hashes(self) -> list[bytes]:
        return [self.place(*place)["h"] for place in self.order()]

    def resign(self, signer: Signer) -> None:
        """Make all checkpoints again, as an attacker with the signing key would."""
        hashes = self.hashes()
        for row in self.checkpoints:
            known = Checkpoint.parse(split_note(row["note"])[0])
            new = Checkpoint(ORIGIN, row["_id"], merkle.root(hashes[: row["_id"]]), known.sealed)
            row["note"] = sign(new.text(), [signer])


def body_of(row: dict[str, Any], **elements: Any) -> bytes:
    return canonical(json.loads(row["raw"]) | elements)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ledger")


_BUILT: dict[Path, Log] = {}


@pytest.fixture
async def log(mongodb_uri: str, database_name: str, folder: Path, anyio_backend: str) -> Log:
    """The log, sealed by the real sealer; each test gets a copy of its documents."""
    if folder not in _BUILT:
        client = connect(mongodb_uri)
        kit = LedgerKit(client[database_name], folder)
        await kit.ledger.prepare()
        writers = sorted([await kit.writer(), await kit.writer()], key=lambda writer: writer.w)
        sealer = kit.sealer()
        for counts in ((150, 150), (200, 60), (20, 20), (25, 25)):
            for writer, count in zip(writers, counts, strict=True):
                await kit.record(writer, count)
            await sealer.seal()
        await kit.record(writers[0], 5)
        await kit.record(writers[1], 5)
        rows = [
            await kit.database[name].find().sort("_id").to_list()
            for name in (EVENTS, CHECKPOINTS, TILES, WRITERS)
        ]
        _BUILT[folder] = Log(*rows, keys=kit.keys, now=kit.now)
        await client.drop_database(database_name)
        await client.close()
    built = _BUILT[folder]
    parts = [copy.deepcopy(rows) for rows in (built.events, built.checkpoints, built.tiles, built.writers)]
    return Log(*parts, keys=built.keys, now=built.now)


class Verify:
    """Stores a log in a database without unique indexes, as an attacker with all rights could, and verifies it."""

    def __init__(self, uri: str, name: str) -> None:
        self.uri, self.name = uri, name

    async def __call__(
        self,
        log: Log,
        *,
        anchors: list[str] | None = None,
        later: int = 0,
        since: int = 0,
        ingest: bool = True,
        examiner: Examiner | None = None,
    ) -> Verification:
        client = connect(self.uri)
        try:
            database = client[self.name]
            for name, rows in (
                (EVENTS, log.events),
                (CHECKPOINTS, log.checkpoints),
                (TILES, log.tiles),
                (WRITERS, log.writers),
            ):
                await database[name].delete_many({})
                if rows:
                    await database[name].insert_many(rows)
            keys = parse_keys(log.keys.public.read_text())
            verification = Verification(
                keys, ORIGIN, [anchor_of(note, keys, ORIGIN) for note in anchors or ()],
                ingest_key=log.keys.ingest_key() if ingest else None, now=log.now + later,
                index_faults=IndexCheck(indexer(), "default"),
            )  # fmt: skip
            await verify_stored(Ledger(database), verification, since=since, examiner=examiner)
            verification.finish()
            return verification
        finally:
            await client.close()


@pytest.fixture
def verify(mongodb_uri: str, database_name: str) -> Verify:
    return Verify(mongodb_uri, database_name)


def totals(verification: Verification) -> dict[str, int]:
    return dict(verification.findings.totals)


async def test_an_untouched_log_is_intact(log: Log, verify: Verify) -> None:
    verification = await verify(log, anchors=[row["note"] for row in log.checkpoints])
    assert totals(verification) == {}
    assert verification.findings.exit_code == 0
    assert (verification.size, verification.events, verification.seals) == (650, 660, 4)


async def test_verification_may_begin_at_any_checkpoint(log: Log, verify: Verify) -> None:
    for since, events in ((300, 360), (560, 100), (650, 10)):
        verification = await verify(log, since=since)
        assert (totals(verification), verification.events) == ({}, events)
    log.at(20)["raw"] = b"{}"
    assert totals(await verify(log, since=300)) == {}
    log.at(570)["raw"] = b"{}"
    assert totals(await verify(log, since=300)) == {"MODIFIED": 1}
    with pytest.raises(BadExport):
        await verify(log, since=301)


# --- one alteration each

IN_TILE, BEYOND_TILES, LAST_OF_WRITER, TAIL, TAIL_LAST = 100, 565, 624, 652, 659


def modify_body(log: Log, index: int) -> None:
    row = log.at(index)
    row["raw"] = body_of(row, outcomeDesc="altered")


def modify_hash(log: Log, index: int) -> None:
    log.at(index)["h"] = bytes(32)


def modify_body_and_hash(log: Log, index: int) -> None:
    modify_body(log, index)
    log.rehash(log.at(index), mac_too=True)


def modify_all_that_follows(log: Log, index: int) -> None:
    modify_body(log, index)
    log.rechain(log.at(index))


def modify_link(log: Log, index: int) -> None:
    log.at(index)["p"] = bytes(32)


def modify_link_and_hash(log: Log, index: int) -> None:
    modify_link(log, index)
    log.rehash(log.at(index), mac_too=True)


def delete(log: Log, index: int) -> None:
    log.events.remove(log.at(index))


def swap(log: Log, index: int) -> None:
    """Two neighbours change places, hashes fitted."""
    one, two = log.at(index), log.at(index + 1)
    one["s"], two["s"] = two["s"], one["s"]
    log.rehash(one)
    log.rehash(two)


def insert_second(log: Log, index: int) -> None:
    row = log.at(index) | {"_id": "default/AuditEvent/extra", "raw": body_of(log.at(index), id="extra")}
    log.rehash(row)
    log.events.append(row)


def insert_stranger(log: Log, index: int) -> None:
    row = log.at(index) | {"_id": "default/AuditEvent/extra", "w": bytes(16), "s": 0, "p": bytes(32)}
    log.rehash(row)
    log.events.append(row)


def insert_without_writer(log: Log, index: int) -> None:
    log.events.append({"_id": "default/AuditEvent/extra", "raw": b"{}"})


def insert_at(s: Any) -> Callable[[Log, int], None]:
    def insert(log: Log, index: int) -> None:
        log.events.append(log.at(index) | {"_id": "default/AuditEvent/extra", "s": s})

    return insert


def forge_at_the_end(log: Log, index: int) -> None:
    last = log.at(TAIL_LAST)
    row = last | {"_id": "default/AuditEvent/extra", "s": last["s"] + 1, "p": last["h"], "mac": bytes(16)}
    row["raw"] = body_of(last, id="extra")
    log.rehash(row)
    log.events.append(row)


def forge_unsealed(log: Log, index: int) -> None:
    row = log.at(index)
    row["raw"] = body_of(row, outcomeDesc="altered")
    log.rehash(row)


def change_tile(log: Log, index: int) -> None:
    tile = log.tiles[0]
    tile["data"] = tile["data"][: index * 32] + bytes(32) + tile["data"][(index + 1) * 32 :]


def change_tile_root(log: Log, index: int) -> None:
    log.tiles[index]["root"] = bytes(32)


def drop_tile(log: Log, index: int) -> None:
    del log.tiles[index]


def drop_checkpoint(log: Log, index: int) -> None:
    del log.checkpoints[index]


def move_checkpoint(log: Log, index: int) -> None:
    log.checkpoints[index]["_id"] += 1


def change_run(field: str, by: int) -> Callable[[Log, int], None]:
    def change(log: Log, index: int) -> None:
        log.checkpoints[index]["runs"][0][field] += by

    return change


def drop_run(log: Log, index: int) -> None:
    del log.checkpoints[index]["runs"][-1]


def damage_signature(log: Log, index: int) -> None:
    note = log.checkpoints[index]["note"]
    log.checkpoints[index]["note"] = note.replace("sealed 2026", "sealed 2025")


def damage_note(log: Log, index: int) -> None:
    log.checkpoints[index]["note"] = "gone"


def sign_by_another(log: Log, index: int) -> None:
    text = split_note(log.checkpoints[index]["note"])[0]
    log.checkpoints[index]["note"] = sign(text, [Signer(ORIGIN, bytes(32))])


def change_origin(log: Log, index: int) -> None:
    known = Checkpoint.parse(split_note(log.checkpoints[index]["note"])[0])
    other = Checkpoint("other.example/audit", known.size, known.root, known.sealed)
    log.checkpoints[index]["note"] = sign(other.text(), log.keys.signers())


def change_field(name: str, value: Any) -> Callable[[Log, int], None]:
    def change(log: Log, index: int) -> None:
        log.at(index)["ix"][name] = value

    return change


def change_row(name: str, value: Any) -> Callable[[Log, int], None]:
    def change(log: Log, index: int) -> None:
        log.at(index)[name] = value

    return change


ALTERATIONS: list[tuple[Callable[[Log, int], None], int, Class]] = [
    *[(modify_body, index, Class.MODIFIED) for index in (0, IN_TILE, BEYOND_TILES, LAST_OF_WRITER, 649, TAIL)],
    *[(modify_hash, index, Class.MODIFIED) for index in (IN_TILE, BEYOND_TILES, LAST_OF_WRITER, 649)],
    *[(modify_body_and_hash, index, Class.MODIFIED) for index in (0, IN_TILE, BEYOND_TILES, LAST_OF_WRITER, 649)],
    (modify_body_and_hash, TAIL, Class.CHAIN_BREAK),
    *[(modify_all_that_follows, index, Class.ROOT_MISMATCH) for index in (0, IN_TILE, BEYOND_TILES, 649)],
    *[(modify_link, index, Class.CHAIN_BREAK) for index in (IN_TILE, BEYOND_TILES, TAIL)],
    *[(modify_link_and_hash, index, Class.CHAIN_BREAK) for index in (IN_TILE, TAIL)],
    *[(delete, index, Class.MISSING) for index in (0, IN_TILE, BEYOND_TILES, LAST_OF_WRITER, 649)],
    (delete, TAIL, Class.TAIL_GAP),
    *[(swap, index, Class.CHAIN_BREAK) for index in (IN_TILE, TAIL)],
    *[(insert_second, index, Class.INSERTED) for index in (IN_TILE, BEYOND_TILES)],
    (insert_stranger, IN_TILE, Class.INSERTED),
    (insert_without_writer, 0, Class.INSERTED),
    *[(insert_at(s), IN_TILE, Class.INSERTED) for s in (5.5, -1, "5", None)],
    (forge_at_the_end, 0, Class.FORGED),
    (forge_unsealed, TAIL_LAST, Class.FORGED),
    (change_tile, 7, Class.MODIFIED),
    (change_tile_root, 1, Class.MODIFIED),
    (drop_tile, 0, Class.MISSING),
    *[(drop_checkpoint, index, Class.CHECKPOINT_GAP) for index in (0, 1, 2)],
    *[(move_checkpoint, index, Class.CHECKPOINT_GAP) for index in (0, 3)],
    *[(change_run(field, by), index, Class.RUN_GAP) for field in ("s0", "n", "i0") for by in (-1, 1) for index in (1, 3)],
    *[(drop_run, index, Class.RUN_GAP) for index in (0, 2, 3)],
    *[(damage, index, Class.BAD_SIGNATURE) for damage in (damage_signature, damage_note, sign_by_another) for index in (0, 3)],
    *[(change_origin, index, Class.WRONG_ORIGIN) for index in (0, 3)],
    *[(change_field(name, []), index, Class.INDEX_MISMATCH) for name in CORE for index in (IN_TILE, TAIL)],
    (change_field("patient", ["default/Patient/2"]), IN_TILE, Class.INDEX_MISMATCH),
    (change_field("date", [{"lo": 0, "hi": 1}]), IN_TILE, Class.INDEX_MISMATCH),
    (change_row("_id", "default/AuditEvent/other"), IN_TILE, Class.INDEX_MISMATCH),
    (change_row("_id", "other/AuditEvent/e101"), IN_TILE, Class.INDEX_MISMATCH),
    (change_row("t", "other"), IN_TILE, Class.INDEX_MISMATCH),
    (change_row("ts", 0), IN_TILE, Class.INDEX_MISMATCH),
    (change_row("del", True), IN_TILE, Class.INDEX_MISMATCH),
    (change_row("ix", {}), IN_TILE, Class.INDEX_MISMATCH),
]  # fmt: skip


@pytest.mark.parametrize(
    ("alter", "index", "expected"),
    ALTERATIONS,
    ids=[f"{n}-{a.__name__}-{i}-{c.value}" for n, (a, i, c) in enumerate(ALTERATIONS)],
)
async def test_every_alteration_is_found_and_nothing_else(
    log: Log, verify: Verify, alter: Callable[[Log, int], None], index: int, expected: Class
) -> None:
    alter(log, index)
    verification = await verify(log, later=3_600_000_000)
    assert set(totals(verification)) == {expected}, verification.findings.shown
    assert verification.findings.exit_code == 1


def test_the_table_covers_every_class_that_tampering_can_have() -> None:
    others = {Class.ROLLBACK, Class.FORK, Class.UNSEALED_OVERDUE, Class.PURGED}
    assert {expected for _, _, expected in ALTERATIONS} == set(Class) - others


async def test_several_alterations_are_told_one_by_one(log: Log, verify: Verify) -> None:
    modify_body(log, 30)
    modify_body_and_hash(log, 200)
    delete(log, 400)
    modify_body(log, 610)
    verification = await verify(log)
    assert totals(verification) == {"MODIFIED": 3, "MISSING": 1}
    where = [(finding.kind, finding.where["index"]) for finding in verification.findings.shown]
    assert where == [("MODIFIED", 30), ("MODIFIED", 200), ("MISSING", 400), ("MODIFIED", 610)]


BEHIND_A_GAP: list[tuple[Callable[[Log, int], None], int, set[str]]] = [
    (modify_body, 570, {"MODIFIED"}),
    (modify_body, 610, {"MODIFIED"}),
    (modify_body_and_hash, 570, {"MODIFIED"}),
    (delete, 570, {"MISSING"}),
    (modify_link, 570, {"CHAIN_BREAK"}),
    (insert_second, 570, {"INSERTED"}),
    (modify_all_that_follows, 570, {"ROOT_MISMATCH"}),
    (modify_all_that_follows, 610, {"ROOT_MISMATCH"}),
    (modify_all_that_follows, 649, {"ROOT_MISMATCH"}),
]


@pytest.mark.parametrize(
    ("alter", "index", "expected"), BEHIND_A_GAP, ids=[f"{a.__name__}-{i}" for a, i, _ in BEHIND_A_GAP]
)
async def test_what_was_altered_beside_a_missing_checkpoint_is_found_where_no_tile_is_full(
    log: Log, verify: Verify, alter: Callable[[Log, int], None], index: int, expected: set[str]
) -> None:
    alter(log, index)
    drop_checkpoint(log, 2)  # 600: its leaves, from 560 on, are in no full tile
    assert set(totals(await verify(log))) == {"CHECKPOINT_GAP"} | expected


async def test_full_tiles_tell_what_missing_checkpoints_have_sealed(log: Log, verify: Verify) -> None:
    del log.checkpoints[:2]  # 300 and 560; what is beyond the tile of 256-511 is of one writer
    assert totals(await verify(log)) == {"CHECKPOINT_GAP": 1}
    for index in (0, 149, 150, 299, 300, 499, 511):
        modify_body_and_hash(log, index)
    assert totals(await verify(log)) == {"CHECKPOINT_GAP": 1, "MODIFIED": 7}


async def test_behind_two_missing_checkpoints_nothing_is_called_proven_that_is_not(
    log: Log, verify: Verify
) -> None:
    del log.checkpoints[1:3]  # 560 and 600: in which order their writers took turns is not known
    assert set(totals(await verify(log))) == {"CHECKPOINT_GAP", "ROOT_MISMATCH"}


async def test_many_findings_of_a_class_are_counted_and_twenty_shown(log: Log, verify: Verify) -> None:
    for index in range(50):
        modify_body(log, index)
    verification = await verify(log)
    assert totals(verification) == {"MODIFIED": 50}
    assert len(verification.findings.shown) == 20


async def test_processes_side_by_side_find_the_same(
    log: Log, verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhirserver.audit.sources.WINDOW", 100)  # several windows under way
    source = Source(verify.uri, verify.name, "default", "http://127.0.0.1:8000/fhir", index=True)
    with Side(source, 1) as examiner:
        verification = await verify(log, examiner=examiner)
        assert (totals(verification), verification.events, verification.seals) == ({}, 660, 4)
        change_field("patient", [])(log, 30)
        modify_body(log, 310)
        delete(log, 570)
        verification = await verify(log, examiner=examiner)
        assert totals(verification) == {"INDEX_MISMATCH": 1, "MODIFIED": 1, "MISSING": 1}


async def test_where_nobody_could_examine_the_verification_looks_itself(log: Log, verify: Verify) -> None:
    source = Source("mongodb://127.0.0.1:1/?replicaSet=none", verify.name, "default", "", index=False)
    modify_body(log, 310)
    with Side(source, 1) as examiner:
        assert totals(await verify(log, examiner=examiner)) == {"MODIFIED": 1}


# --- what only an anchor shows


async def test_a_truncated_log_is_found_by_an_anchor_only(log: Log, verify: Verify) -> None:
    anchor = log.checkpoints[-1]["note"]
    sealed = set(log.order())
    del log.checkpoints[2:]
    kept = set(log.order())
    log.events = [row for row in log.events if (row["w"], row["s"]) in kept & sealed]
    assert totals(await verify(log)) == {}
    assert totals(await verify(log, anchors=[anchor])) == {"ROLLBACK": 1}


async def test_a_log_made_again_with_the_stolen_key_is_found_by_an_anchor_only(
    log: Log, verify: Verify
) -> None:
    anchor = log.checkpoints[1]["note"]
    modify_all_that_follows(log, IN_TILE)
    log.resign(log.keys.signers()[0])
    assert totals(await verify(log)) == {}
    assert totals(await verify(log, anchors=[anchor])) == {"FORK": 1}


# --- what is no tampering


async def test_events_that_wait_too_long_are_overdue(log: Log, verify: Verify) -> None:
    assert totals(await verify(log, later=50_000_000)) == {}
    verification = await verify(log, later=70_000_000)
    assert totals(verification) == {"UNSEALED_OVERDUE": 2}
    assert verification.findings.exit_code == 4


def with_purge(log: Log, size: int, **elements: Any) -> None:
    """The last event records a purge up to `size`."""
    row = log.at(TAIL_LAST)
    coding = [{"code": PURGE, "system": SUBTYPE_SYSTEM}]
    row["raw"] = body_of(
        row, subtype=coding, entity=[{"detail": [{"type": DETAIL, "valueString": str(size)}]}], **elements
    )
    row["ix"] = indexer().index("AuditEvent", json.loads(row["raw"])).ix
    log.rehash(row, mac_too=True)


async def test_a_recorded_purge_is_no_tampering_and_what_exceeds_it_is(log: Log, verify: Verify) -> None:
    order = log.order()
    with_purge(log, 256)
    log.events = [row for row in log.events if (row["w"], row["s"]) not in order[:256]]
    verification = await verify(log)
    assert totals(verification) == {"PURGED": 1}
    assert verification.findings.exit_code == 0
    log.events = [row for row in log.events if (row["w"], row["s"]) not in order[:258]]
    verification = await verify(log)
    assert totals(verification) == {"PURGED": 1, "MISSING": 2}


async def test_a_purge_that_nobody_recorded_or_that_came_from_elsewhere_is_missing_events(
    log: Log, verify: Verify
) -> None:
    order = log.order()
    log.events = [row for row in log.events if (row["w"], row["s"]) not in order[:256]]
    assert totals(await verify(log)) == {"MISSING": 256}
    with_purge(log, 256, meta={"source": "https://elsewhere.example"})
    assert totals(await verify(log)) == {"MISSING": 256}


async def test_a_key_that_is_no_longer_trusted_is_a_bad_signature(log: Log, verify: Verify) -> None:
    kept = log.keys.public.read_text()
    try:
        log.keys.revoke(log.keys.signers()[0].verifier.key_id.hex(), 560)
        assert totals(await verify(log)) == {"BAD_SIGNATURE": 2}
    finally:
        log.keys.public.write_text(kept)


async def test_without_the_ingest_key_a_forged_tail_is_not_seen(log: Log, verify: Verify) -> None:
    forge_unsealed(log, TAIL_LAST)
    assert totals(await verify(log, ingest=False)) == {}


# --- an export


async def exported(log: Log, verify: Verify, out: Path, start: int = 0) -> Path:
    await verify(log)
    client = connect(verify.uri)
    try:
        ledger = Ledger(client[verify.name])
        keys = parse_keys(log.keys.public.read_text())
        await export(ledger, out, origin=ORIGIN, keys=keys, start=start, end=650)
    finally:
        await client.close()
    return out


def check_export(log: Log, out: Path) -> Verification:
    verification = Verification(parse_keys(log.keys.public.read_text()), ORIGIN, now=log.now)
    verify_export(out, verification)
    verification.finish()
    return verification


@pytest.mark.parametrize(("start", "events"), [(0, 650), (300, 350), (600, 50)])
async def test_an_export_verifies_without_a_database(
    log: Log, verify: Verify, tmp_path: Path, start: int, events: int
) -> None:
    verification = check_export(log, await exported(log, verify, tmp_path, start))
    assert (totals(verification), verification.events, verification.size) == ({}, events, 650)


def lines_of(out: Path) -> list[bytes]:
    return (out / "events.ndjson").read_bytes().splitlines(keepends=True)


async def test_an_altered_export_is_found(log: Log, verify: Verify, tmp_path: Path) -> None:
    out = await exported(log, verify, tmp_path)
    file, lines = out / "events.ndjson", lines_of(out)
    cases = [
        (
            [
                *lines[:100],
                lines[100].replace(b'\\"outcome\\":\\"0\\"', b'\\"outcome\\":\\"8\\"'),
                *lines[101:],
            ],
            "MODIFIED",
        ),
        (lines[:100] + lines[101:], "MISSING"),
        (lines[:-1], "MISSING"),
        ([*lines[:100], lines[99], *lines[100:]], "INSERTED"),
        ([*lines, lines[5].replace(b'"s":5', b'"s":5000')], "INSERTED"),
    ]
    for altered, expected in cases:
        assert altered != lines
        file.write_bytes(b"".join(altered))
        assert set(totals(check_export(log, out))) == {expected}
    file.write_bytes(
        b"".join(reversed(lines[:200])) + b"".join(lines[200:])
    )  # the order of lines means nothing
    assert totals(check_export(log, out)) == {}


async def test_what_is_no_export_is_refused(log: Log, tmp_path: Path) -> None:
    with pytest.raises(BadExport):
        check_export(log, tmp_path)
    (tmp_path / "export.json").write_text("[]")
    with pytest.raises(BadExport):
        check_export(log, tmp_path)
