"""The bytes that the audit ledger is made of, format v1: canonical event, entry, leaf hash, ingest MAC. Pure.

Every worker process is a *writer* with 16 random bytes for a name. Its events form a chain: each entry holds the leaf
hash of the entry before it. The sealer puts the chains into one Merkle tree (audit/merkle.py). Source:
docs/explanation/ledger.md; RFC 8785 (canonical JSON), RFC 6962 section 2.1 (leaf hash).
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import Any

import orjson

WRITER_SIZE = 16
HASH_SIZE = 32
MAC_SIZE = 16
ENTRY_SIZE = 93
START = bytes(HASH_SIZE)  # `p` of a writer's first entry

_ENTRY = struct.Struct(">5s16sQ32s32s")
_HEAD = b"FHAL\x01"
_LARGEST = 2**53  # beyond, a JSON number of another reader may not be the same integer


class NotCanonical(ValueError):
    """An event that has no canonical bytes in the ledger's domain; the text says what is in the way."""


def canonical(event: dict[str, Any]) -> bytes:
    """The bytes of `event` that are hashed, stored and served: RFC 8785, UTF-8.

    The domain is narrower than JSON so that sorting keys is all that is needed: object keys are ASCII, numbers are
    integers of a magnitude below 2**53, strings hold no lone surrogates. Raises NotCanonical outside of it.
    """
    _check_domain(event)
    try:
        return orjson.dumps(event, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:  # lone surrogates, nesting beyond 254
        raise NotCanonical("the event holds a lone surrogate or is nested too deeply") from error


def _check_domain(event: dict[str, Any]) -> None:
    if type(event) is not dict:
        raise NotCanonical("an event is a JSON object")
    rest: list[Any] = [event]
    while rest:
        value = rest.pop()
        kind = type(value)
        if kind is dict:
            for key in value:
                if type(key) is not str or not key.isascii():
                    raise NotCanonical("an object key is not ASCII text")
            rest.extend(value.values())
        elif kind is list:
            rest.extend(value)
        elif kind is int:
            if not -_LARGEST < value < _LARGEST:
                raise NotCanonical("an integer is not below 2**53")
        elif kind is not str and kind is not bool and value is not None:
            raise NotCanonical(
                f"a value is a {kind.__name__}; floats and other types have no canonical form here"
            )


def entry(w: bytes, s: int, p: bytes, body: bytes) -> bytes:
    """The 93 bytes that stand for an event in the ledger.

    `w`: writer, 16 bytes. `s`: 0, 1, 2 ... of this writer. `p`: leaf hash of the writer's entry before, START for the
    first. `body`: canonical bytes. Raises ValueError where a size or `s` is out of range.
    """
    return entry_of_digest(w, s, p, hashlib.sha256(body).digest())


def entry_of_digest(w: bytes, s: int, p: bytes, digest: bytes) -> bytes:
    """The entry of an event of which only the SHA-256 of its body is known (a purged one)."""
    if len(w) != WRITER_SIZE or len(p) != HASH_SIZE or len(digest) != HASH_SIZE or not 0 <= s < 2**64:
        raise ValueError("an entry takes a writer of 16 bytes, 0 <= s < 2**64 and hashes of 32 bytes")
    return _ENTRY.pack(_HEAD, w, s, p, digest)


def leaf(entry: bytes) -> bytes:
    """The leaf hash of an entry, 32 bytes."""
    return hashlib.sha256(b"\x00" + entry).digest()


def mac(key: bytes, h: bytes) -> bytes:
    """The ingest MAC of an event with leaf hash `h`, 16 bytes: proof that a holder of `key` has written it."""
    return hmac.digest(key, h, "sha256")[:MAC_SIZE]


def is_authentic(key: bytes, h: bytes, tag: bytes) -> bool:
    """True where `tag` is the ingest MAC of leaf hash `h`; takes the same time for any wrong one."""
    return hmac.compare_digest(mac(key, h), tag)
