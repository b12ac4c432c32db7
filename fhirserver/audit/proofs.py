"""Proofs for one event, as text that anyone can check offline. Source: c2sp.org/tlog-proof.

Lines: `c2sp.org/tlog-proof@v1`, `extra` base64 of the entry, `index` N, the sibling hashes from leaf to root in
base64, a blank line, the checkpoint note.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from fhirserver.audit import merkle
from fhirserver.audit.keys import KnownKey
from fhirserver.audit.ledger import ENTRY_SIZE, HASH_SIZE, entry, leaf
from fhirserver.audit.notes import BadNote, decoded
from fhirserver.audit.tiles import StoredTree
from fhirserver.audit.verify_report import anchor_of
from fhirserver.outcome import BadRequest, Conflict, NotFound
from fhirserver.store.ledger import Ledger

_HEAD = "c2sp.org/tlog-proof@v1"


class BadProof(ValueError):
    """A proof that does not hold; the text says why."""


async def proof_of(ledger: Ledger, key: str) -> str:
    """The proof that the event with `_id` `key` is in the log. Raises NotFound; Conflict until it is sealed."""
    event = await ledger.event(key)
    if event is None:
        raise NotFound("There is no AuditEvent with the id that was asked for.", code="resource-unknown")
    index, newest = await ledger.place(event.w, event.s), await ledger.newest()
    if index is None or newest is None:
        raise Conflict(
            "The event is not sealed yet; ask again in some seconds.", code="event-unsealed", retry_after=10
        )
    hashes = await StoredTree(ledger, newest.size).inclusion(index)
    lines = [_HEAD, f"extra {_base64(entry(event.w, event.s, event.p, event.raw))}", f"index {index}"]
    return "\n".join([*lines, *map(_base64, hashes), "", newest.note])


async def checkpoint_of(ledger: Ledger) -> str:
    """The newest checkpoint note. Raises NotFound where nothing is sealed yet."""
    newest = await ledger.newest()
    if newest is None:
        raise NotFound("Nothing is sealed yet.", code="ledger-empty")
    return newest.note


async def consistency_of(ledger: Ledger, old: int, new: int) -> str:
    """The hashes that prove that the log of size `new` begins with that of `old`. Raises BadRequest, NotFound."""
    if not 0 < old <= new:
        raise BadRequest("from and to are sizes of checkpoints, from not above to.", code="parameter-value")
    if await ledger.seal_at(old) is None or await ledger.seal_at(new) is None:
        raise NotFound("There is no checkpoint of that size.", code="checkpoint-unknown")
    return "".join(f"{_base64(h)}\n" for h in await StoredTree(ledger, new).consistency(old))


def check_proof(body: bytes, proof: str, keys: Sequence[KnownKey], origin: str) -> int:
    """The index of the event with bytes `body` in the log. Raises BadProof where `proof` does not show that it is."""
    head, blank, note = proof.partition("\n\n")
    lines = head.split("\n")
    if not blank or lines[0] != _HEAD or len(lines) < 3:
        raise BadProof("this is no c2sp.org/tlog-proof@v1")
    try:
        checkpoint = anchor_of(note, keys, origin)
        proven = decoded(lines[1].removeprefix("extra "), ENTRY_SIZE)
        index = int(lines[2].removeprefix("index "))
        hashes = [decoded(line, HASH_SIZE) for line in lines[3:]]
    except BadNote as error:
        raise BadProof(str(error)) from error
    except ValueError as error:
        raise BadProof("the proof is damaged") from error
    if proven[-32:] != hashlib.sha256(body).digest():
        raise BadProof("the proof is of another event, or the event was changed")
    if not merkle.is_included(leaf(proven), index, checkpoint.size, hashes, checkpoint.root):
        raise BadProof("the event is not in the log that the checkpoint signs")
    return index


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
