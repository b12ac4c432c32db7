"""What a stored checkpoint says and whether it may be trusted, and the tree that grows from one to the next. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fhirserver.audit import merkle
from fhirserver.audit.findings import Class, Finding
from fhirserver.audit.keys import KnownKey, trusted_signers
from fhirserver.audit.notes import BadNote, Checkpoint, split_note
from fhirserver.audit.verify_leaves import finding
from fhirserver.store.ledger import Seal


def read_seal(seal: Seal, keys: Sequence[KnownKey], origin: str) -> tuple[Checkpoint | None, Finding | None]:
    """What the note of `seal` says, None where it must not be trusted; and what is wrong with it."""
    size = seal.size
    try:
        checkpoint = Checkpoint.parse(split_note(seal.note)[0])
        signers = trusted_signers(seal.note, size, keys)
    except BadNote as error:
        return None, finding(Class.BAD_SIGNATURE, f"the checkpoint is damaged: {error}", size=size)
    if checkpoint.origin != origin:
        return None, finding(Class.WRONG_ORIGIN, "the checkpoint is of another log", size=size)
    if not signers:
        return None, finding(Class.BAD_SIGNATURE, "no trusted key has signed the checkpoint", size=size)
    if checkpoint.size != size:
        text = "the checkpoint stands at another size than it was signed for"
        return checkpoint, finding(Class.CHECKPOINT_GAP, text, size=size)
    return checkpoint, None


def grown(
    tree: merkle.Tree, hashes: Sequence[bytes | None], sizes: Iterable[int]
) -> tuple[merkle.Tree | None, dict[int, bytes]]:
    """`tree` with `hashes` added, None where one is unknown; and its roots at those of `sizes` that it passes."""
    roots: dict[int, bytes] = {}
    if None in hashes:
        return None, roots
    tree, known = tree.copy(), [h for h in hashes if h is not None]
    end = tree.size + len(known)
    for size in sorted({size for size in sizes if tree.size < size <= end}):
        part = size - tree.size
        tree.extend(known[:part])
        del known[:part]
        roots[size] = tree.root()
    tree.extend(known)
    return tree, roots
