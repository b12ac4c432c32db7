"""Proofs of single events: made from the stored ledger, checked without it."""

from __future__ import annotations

import base64

import pytest

from fhirserver.audit import merkle
from fhirserver.audit.notes import Checkpoint, split_note
from fhirserver.audit.proofs import BadProof, check_proof, checkpoint_of, consistency_of, proof_of
from fhirserver.outcome import BadRequest, Conflict, NotFound
from tests.kit.ledger import LedgerKit

pytestmark = pytest.mark.anyio


async def test_every_sealed_event_is_proven_and_another_body_is_not(kit: LedgerKit) -> None:
    writer, sealer = await kit.writer(), kit.sealer()
    rows = []
    for count in (3, 300, 10):
        rows += await kit.record(writer, count)
        await sealer.seal()
    keys = kit.keys.known()
    for index in (0, 2, 3, 255, 256, 312):
        proof = await proof_of(kit.ledger, rows[index]["_id"])
        assert check_proof(rows[index]["raw"], proof, keys, kit.origin) == index
        with pytest.raises(BadProof, match="another event"):
            check_proof(rows[index]["raw"] + b" ", proof, keys, kit.origin)
        with pytest.raises(BadProof, match="another event"):
            check_proof(rows[index - 1]["raw"], proof, keys, kit.origin)


async def test_a_proof_that_was_altered_anywhere_does_not_hold(kit: LedgerKit) -> None:
    writer = await kit.writer()
    rows = await kit.record(writer, 5)
    await kit.sealer().seal()
    proof, keys = await proof_of(kit.ledger, rows[2]["_id"]), kit.keys.known()
    for at, letter in enumerate(proof):
        altered = proof[:at] + ("A" if letter != "A" else "B") + proof[at + 1 :]
        with pytest.raises(BadProof):
            check_proof(rows[2]["raw"], altered, keys, kit.origin)
    for what in ("", "c2sp.org/tlog-proof@v1", proof.partition("\n\n")[0], proof.rpartition("\n\n")[0]):
        with pytest.raises(BadProof):
            check_proof(rows[2]["raw"], what, keys, kit.origin)
    with pytest.raises(BadProof):
        check_proof(rows[2]["raw"], proof, keys, "other.example/audit")
    with pytest.raises(BadProof):
        check_proof(rows[2]["raw"], proof, [], kit.origin)
    assert check_proof(rows[2]["raw"], proof, keys, kit.origin) == 2


async def test_an_event_is_proven_only_when_it_is_there_and_sealed(kit: LedgerKit) -> None:
    with pytest.raises(NotFound):
        await checkpoint_of(kit.ledger)
    rows = await kit.record(await kit.writer(), 1)
    with pytest.raises(Conflict):
        await proof_of(kit.ledger, rows[0]["_id"])
    with pytest.raises(NotFound):
        await proof_of(kit.ledger, "default/AuditEvent/absent")


async def test_two_checkpoints_are_shown_to_be_of_one_log(kit: LedgerKit) -> None:
    writer, sealer = await kit.writer(), kit.sealer()
    for count in (7, 260):
        await kit.record(writer, count)
        await sealer.seal()
    old, new = [seal async for seal in kit.ledger.seals()]
    assert await checkpoint_of(kit.ledger) == new.note
    text = await consistency_of(kit.ledger, 7, 267)
    proof = [base64.b64decode(line) for line in text.split()]
    roots = [Checkpoint.parse(split_note(seal.note)[0]).root for seal in (old, new)]
    assert merkle.is_consistent(7, 267, roots[0], roots[1], proof)
    for wrong in ((0, 7), (267, 7), (-1, 7)):
        with pytest.raises(BadRequest):
            await consistency_of(kit.ledger, *wrong)
    with pytest.raises(NotFound):
        await consistency_of(kit.ledger, 6, 267)
