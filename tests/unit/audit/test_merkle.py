"""Merkle trees against independent vectors and against a plain recursive definition (RFC 6962 section 2.1)."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from fhirserver.audit import merkle
from tests.unit.audit import vectors


def plain_root(hashes: list[bytes]) -> bytes:
    """RFC 6962's definition, word for word."""
    if len(hashes) < 2:
        return hashes[0] if hashes else hashlib.sha256(b"").digest()
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return hashlib.sha256(b"\x01" + plain_root(hashes[:k]) + plain_root(hashes[k:])).digest()


def some(count: int) -> list[bytes]:
    return [hashlib.sha256(b"%d" % i).digest() for i in range(count)]


def proof_of(hashes: list[bytes], ranges: list[merkle.Range]) -> list[bytes]:
    async def complete(level: int, index: int) -> bytes:
        part = hashes[index << level : (index + 1) << level]
        assert len(part) == 1 << level
        return plain_root(part)

    return asyncio.run(merkle.hashes_of(ranges, complete))


def test_nodes_and_leaves_agree_with_another_implementation() -> None:
    leaf = hashlib.sha256(b"\x00L123456").hexdigest()
    assert leaf == "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    inner = merkle.node(b"N123", b"N456").hex()
    assert inner == "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"


def test_the_published_roots_and_proofs_are_met() -> None:
    assert merkle.root([]) == hashlib.sha256(b"").digest()
    assert merkle.root(vectors.LEAVES[:3]) == vectors.ROOT_3
    assert merkle.root(vectors.LEAVES) == vectors.ROOT_5
    assert proof_of(vectors.LEAVES, merkle.inclusion_ranges(2, 5)) == vectors.INCLUSION_2_OF_5
    assert proof_of(vectors.LEAVES, merkle.consistency_ranges(3, 5)) == vectors.CONSISTENCY_3_5
    assert merkle.is_included(vectors.LEAVES[2], 2, 5, vectors.INCLUSION_2_OF_5, vectors.ROOT_5)
    assert merkle.is_consistent(3, 5, vectors.ROOT_3, vectors.ROOT_5, vectors.CONSISTENCY_3_5)


def test_a_growing_tree_has_the_root_of_each_size() -> None:
    hashes, tree = some(70), merkle.Tree()
    for size in range(71):
        assert tree.root() == merkle.root(hashes[:size]) == plain_root(hashes[:size])
        assert tree.copy().root() == tree.root()
        if size < 70:
            tree.append(hashes[size])


def test_every_inclusion_proof_holds_and_no_altered_one_does() -> None:
    hashes = some(20)
    for size in range(1, 21):
        root = plain_root(hashes[:size])
        for index in range(size):
            proof = proof_of(hashes, merkle.inclusion_ranges(index, size))
            assert merkle.is_included(hashes[index], index, size, proof, root)
            assert not merkle.is_included(hashes[index], index, size, [*proof, root], root)
            assert not merkle.is_included(hashes[index], (index + 1) % size, size, proof, root) or size == 1
            assert not merkle.is_included(root[::-1], index, size, proof, root)
            for at in range(len(proof)):
                wrong = [*proof[:at], proof[at][::-1], *proof[at + 1 :]]
                assert not merkle.is_included(hashes[index], index, size, wrong, root)
                assert not merkle.is_included(hashes[index], index, size, proof[:at], root)


def test_every_consistency_proof_holds_and_no_altered_one_does() -> None:
    hashes = some(20)
    roots = [plain_root(hashes[:size]) for size in range(21)]
    for new in range(1, 21):
        for old in range(1, new + 1):
            proof = proof_of(hashes, merkle.consistency_ranges(old, new))
            assert merkle.is_consistent(old, new, roots[old], roots[new], proof)
            assert not merkle.is_consistent(old, new, roots[old][::-1], roots[new], proof)
            assert not merkle.is_consistent(old, new, roots[old], roots[new][::-1], proof)
            for at in range(len(proof)):
                wrong = [*proof[:at], proof[at][::-1], *proof[at + 1 :]]
                assert not merkle.is_consistent(old, new, roots[old], roots[new], wrong)
                assert not merkle.is_consistent(old, new, roots[old], roots[new], proof[:at])


def test_questions_outside_of_the_tree_are_refused() -> None:
    for index, size in ((-1, 3), (3, 3), (0, 0)):
        with pytest.raises(ValueError, match="index"):
            merkle.inclusion_ranges(index, size)
        assert not merkle.is_included(b"", index, size, [], b"")
    for old, new in ((0, 3), (4, 3)):
        with pytest.raises(ValueError, match="sizes"):
            merkle.consistency_ranges(old, new)
    assert not merkle.is_consistent(4, 3, b"", b"", [b""])
    with pytest.raises(ValueError, match="peak"):
        merkle.Tree(3, [b""])
