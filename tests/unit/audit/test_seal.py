"""Sealing: chains become a Merkle tree with signed checkpoints; what does not fit is left unsealed or stops it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fhirserver.audit import merkle
from fhirserver.audit.keys import parse_keys, trusted_signers
from fhirserver.audit.notes import Checkpoint, split_note
from fhirserver.audit.seal import Sealer, SealingStopped, State
from fhirserver.audit.tiles import StoredTree
from fhirserver.store.ledger import CHECKPOINTS, EVENTS, TILES, Seal
from tests.kit.ledger import LedgerKit, an_event

pytestmark = pytest.mark.anyio


async def all_seals(kit: LedgerKit) -> list[Seal]:
    return [seal async for seal in kit.ledger.seals()]


def root_in(seal: Seal) -> bytes:
    return Checkpoint.parse(split_note(seal.note)[0]).root


async def test_events_of_two_writers_are_sealed_in_byte_order_of_the_writers(kit: LedgerKit) -> None:
    one, two = sorted([await kit.writer(), await kit.writer()], key=lambda writer: writer.w)
    later = await kit.record(two, 2)
    first = await kit.record(one, 3)
    sealer = kit.sealer()
    assert await sealer.seal() == 5
    more = await kit.record(two, 1)
    assert await sealer.seal() == 1
    assert await sealer.seal() == 0
    seals = await all_seals(kit)
    assert [(seal.prev, seal.size) for seal in seals] == [(0, 5), (5, 6)]
    assert [(run.w, run.s0, run.n, run.i0) for run in seals[0].runs] == [(one.w, 0, 3, 0), (two.w, 0, 2, 3)]
    assert [(run.w, run.s0, run.n, run.i0) for run in seals[1].runs] == [(two.w, 2, 1, 5)]
    hashes = [row["h"] for row in [*first, *later, *more]]
    assert [root_in(seal) for seal in seals] == [merkle.root(hashes[:5]), merkle.root(hashes)]
    assert trusted_signers(seals[1].note, 6, kit.keys.known()) == [kit.keys.signers()[0].verifier]
    assert kit.alarms == []


async def test_nothing_recorded_makes_no_checkpoint(kit: LedgerKit) -> None:
    await kit.writer()
    assert await kit.sealer().seal() == 0
    assert await kit.ledger.newest() is None


async def test_another_sealer_goes_on_where_the_first_one_ended(kit: LedgerKit, tmp_path: Path) -> None:
    writer = await kit.writer()
    events = await kit.record(writer, 700)
    await kit.sealer().seal()
    events += await kit.record(writer, 300)
    assert await kit.sealer(tmp_path / "elsewhere").seal() == 300
    newest = await kit.ledger.newest()
    assert newest is not None
    assert root_in(newest) == merkle.root([row["h"] for row in events])


async def test_full_tiles_are_stored_once_and_prove_every_event(kit: LedgerKit) -> None:
    writer = await kit.writer()
    hashes = [row["h"] for row in await kit.record(writer, 600)]
    sealer = kit.sealer()
    await sealer.seal()
    hashes += [row["h"] for row in await kit.record(writer, 20)]
    await sealer.seal()
    stored = await kit.ledger.tiles(0, range(5))
    assert {n: tile.hashes() for n, tile in stored.items()} == {0: hashes[:256], 1: hashes[256:512]}
    tree, root = StoredTree(kit.ledger, 620), merkle.root(hashes)
    for index in (0, 255, 256, 511, 512, 599, 600, 619):
        assert merkle.is_included(hashes[index], index, 620, await tree.inclusion(index), root)
    for old in (1, 256, 600, 620):
        proof = await tree.consistency(old)
        assert merkle.is_consistent(old, 620, merkle.root(hashes[:old]), root, proof)
    await kit.database[TILES].delete_many({})  # as after a crash between checkpoint and tiles
    await kit.sealer().seal()
    assert await kit.ledger.tiles(0, range(5)) == stored


async def test_the_place_of_an_event_follows_from_the_runs(kit: LedgerKit) -> None:
    writer, sealer = await kit.writer(), kit.sealer()
    events = []
    for count in (3, 1, 4):
        events += await kit.record(writer, count)
        await sealer.seal()
    unsealed = await kit.record(writer)
    assert [await kit.ledger.place(row["w"], row["s"]) for row in events] == list(range(8))
    assert await kit.ledger.place(unsealed[0]["w"], unsealed[0]["s"]) is None


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"raw": b'{"resourceType":"AuditEvent"}'}, "an event was modified"),
        ({"p": bytes(32)}, "an event does not follow the one before it"),
        ({"mac": bytes(16)}, "an event was not recorded by this server"),
        (None, "an event is missing"),
    ],
)
async def test_a_bad_run_is_left_unsealed_alarmed_and_ends_its_writer(
    kit: LedgerKit, change: dict[str, bytes] | None, fault: str
) -> None:
    bad, good = await kit.writer(), await kit.writer()
    events = await kit.record(bad, 5)
    await kit.record(good, 2)
    if change is None:
        await kit.database[EVENTS].delete_one({"_id": events[2]["_id"]})
    else:
        await kit.database[EVENTS].update_one({"_id": events[2]["_id"]}, {"$set": change})
    sealer = kit.sealer()
    assert await sealer.seal() == 4  # two before the fault, two of the other writer
    assert await sealer.seal() == 0
    assert [alarm.rule for alarm in kit.alarms] == ["integrity"]
    assert f"{fault} at sequence 2" in kit.alarms[0].text
    assert await kit.ledger.is_refused(bad.w)
    assert not await kit.ledger.is_refused(good.w)
    await kit.record(good, 1)
    assert await sealer.seal() == 1


async def test_two_sealers_at_once_make_one_series_of_checkpoints(kit: LedgerKit, tmp_path: Path) -> None:
    writer = await kit.writer()
    one, two = kit.sealer(), kit.sealer(tmp_path / "two")
    for _ in range(5):
        await kit.record(writer, 3)
        await asyncio.gather(one.seal(), two.seal())
    assert await one.seal() + await two.seal() == 0
    seals = await all_seals(kit)
    assert [seal.prev for seal in seals] == [0, *[seal.size for seal in seals[:-1]]]
    assert seals[-1].size == 15
    assert kit.alarms == []


async def prepared(kit: LedgerKit) -> Sealer:
    """Two checkpoints of five events, sealed by the sealer that is returned."""
    writer, sealer = await kit.writer(), kit.sealer()
    for _ in range(2):
        await kit.record(writer, 5)
        await sealer.seal()
    await kit.record(writer, 5)
    return sealer


async def test_a_database_that_was_set_back_stops_sealing(kit: LedgerKit, tmp_path: Path) -> None:
    await prepared(kit)
    await kit.database[CHECKPOINTS].delete_one({"_id": 10})
    with pytest.raises(SealingStopped, match="set back"):
        await kit.sealer().seal()
    # positive control: without what this machine remembers it could not be seen
    assert await kit.sealer(tmp_path / "elsewhere").seal() == 10


async def test_events_that_were_exchanged_behind_the_seal_stop_sealing(kit: LedgerKit) -> None:
    await prepared(kit)
    await kit.database[EVENTS].update_one({"s": 3}, {"$set": {"h": bytes(32)}})
    with pytest.raises(SealingStopped, match="not the root"):
        await kit.sealer().seal()


async def test_a_log_that_was_made_again_with_the_stolen_key_stops_sealing(kit: LedgerKit) -> None:
    await prepared(kit)
    for name in (EVENTS, CHECKPOINTS):
        await kit.database[name].delete_many({})
    kit.count = 100
    forger = kit.sealer(kit.folder / "forger")
    await kit.record(await kit.writer(), 20)
    await forger.seal()
    with pytest.raises(SealingStopped, match="not those that were sealed here"):
        await kit.sealer().seal()


async def test_a_checkpoint_of_another_key_stops_sealing(kit: LedgerKit) -> None:
    await prepared(kit)
    kit.keys.signing.unlink()
    kit.keys.public.unlink()
    with pytest.raises(SealingStopped, match="not signed by a key of this server"):
        await kit.sealer().seal()


async def test_a_sealer_that_died_before_publishing_is_taken_up(kit: LedgerKit) -> None:
    writer, sealer = await kit.writer(), kit.sealer()
    await kit.record(writer, 5)
    await sealer.seal()
    await kit.record(writer, 5)
    await sealer.seal()
    newest = await kit.ledger.newest()
    assert newest is not None
    before = await kit.ledger.seal_at(5)
    assert before is not None
    State(kit.folder / "state.json", before.note, newest).write()  # written down, then it died
    await kit.database[CHECKPOINTS].delete_one({"_id": 10})
    await kit.record(writer, 1)
    assert await kit.sealer().seal() == 1
    assert [seal.size for seal in await all_seals(kit)] == [5, 10, 11]
    assert await kit.ledger.seal_at(10) == newest


async def test_events_that_change_before_a_pending_checkpoint_is_taken_up_stop_sealing(
    kit: LedgerKit,
) -> None:
    writer, sealer = await kit.writer(), kit.sealer()
    await kit.record(writer, 5)
    await sealer.seal()
    newest = await kit.ledger.newest()
    State(kit.folder / "state.json", None, newest).write()
    await kit.database[CHECKPOINTS].delete_many({})
    await kit.database[EVENTS].delete_one({"s": 4})
    with pytest.raises(SealingStopped, match="about to be sealed"):
        await kit.sealer().seal()


async def test_a_stop_is_alarmed_once_and_sealing_goes_on_when_it_is_mended(kit: LedgerKit) -> None:
    sealer = await prepared(kit)
    state = kit.folder / "state.json"
    kept = state.read_text()
    state.write_text("{")
    sealer = kit.sealer()
    sealer.interval, seen = 0.005, asyncio.Event()

    async def sealed(seal: Seal) -> None:
        seen.set()

    sealer.on_seal = [sealed]
    task = asyncio.create_task(sealer.run())
    async with asyncio.timeout(20):
        await kit.alarmed.wait()
        await asyncio.sleep(0.02)  # lets it try again, which must not alarm again
        state.write_text(kept)
        await seen.wait()
    task.cancel()
    assert [alarm.rule for alarm in kit.alarms] == ["sealing-stopped"]


async def test_a_rotation_signs_one_checkpoint_with_both_keys(kit: LedgerKit) -> None:
    writer, sealer = await kit.writer(), kit.sealer()
    told: list[tuple[str, int]] = []

    async def tell(vkey: str, size: int) -> None:
        told.append((vkey, size))

    sealer.on_rotation = tell
    old = kit.keys.signers()[0].verifier
    await kit.record(writer, 2)
    await sealer.seal()
    new = kit.keys.rotate()
    for _ in range(2):
        await kit.record(writer, 2)
        await sealer.seal()
    seals, keys = await all_seals(kit), parse_keys(kit.keys.public.read_text())
    assert [set(trusted_signers(seal.note, seal.size, keys)) for seal in seals] == [{old}, {old, new}, {new}]
    assert [(key.key, key.valid_to) for key in keys] == [(old, 4), (new, None)]
    assert (kit.alarms, told) == ([], [(new.vkey(), 4)])
    kit.keys.revoke(new.key_id.hex(), 4)
    keys = parse_keys(kit.keys.public.read_text())
    assert [bool(trusted_signers(seal.note, seal.size, keys)) for seal in seals] == [True, True, False]


async def test_an_event_document_of_the_kit_is_what_the_format_says(kit: LedgerKit) -> None:
    writer = await kit.writer()
    document = writer.document(an_event(1))
    assert (document["s"], document["p"], len(document["h"]), len(document["mac"])) == (0, bytes(32), 32, 16)
