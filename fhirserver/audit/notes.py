"""Signed checkpoints: C2SP signed notes with Ed25519. Pure.

A checkpoint says: the log `origin` has `size` entries with this Merkle root. A note is that text and one line for each
signature. Source: c2sp.org/signed-note, c2sp.org/tlog-checkpoint.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_DASH = "\u2014"
_ED25519 = b"\x01"
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_NAME = re.compile(r"[^\s+]{1,200}")


class BadNote(ValueError):
    """A text that is no note, checkpoint or key of the expected form."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a note signs. `root`: 32 bytes. `sealed`: RFC 3339, UTC, seconds, "2026-03-01T12:00:05Z"."""

    origin: str
    size: int
    root: bytes
    sealed: str

    def text(self) -> str:
        """The signed text, with its final newline."""
        root = base64.b64encode(self.root).decode("ascii")
        return f"{self.origin}\n{self.size}\n{root}\nsealed {self.sealed}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """The checkpoint of a signed text. Raises BadNote."""
        lines = text.split("\n")
        if len(lines) < 5 or lines[-1] or not _SIZE.fullmatch(lines[1]) or not lines[3].startswith("sealed "):
            raise BadNote("the note is no checkpoint: origin, size, root and time are expected")
        return cls(lines[0], int(lines[1]), decoded(lines[2], 32), lines[3].removeprefix("sealed "))


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key under its name. `public`: 32 bytes."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The 4 bytes that a signature line begins with."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    def vkey(self) -> str:
        """The key as one word: name+id+key."""
        key = base64.b64encode(_ED25519 + self.public).decode("ascii")
        return f"{self.name}+{self.key_id.hex()}+{key}"

    @classmethod
    def parse(cls, vkey: str) -> VerifierKey:
        """The key of its one-word form. Raises BadNote."""
        name, _, rest = vkey.partition("+")
        id, _, encoded = rest.partition("+")
        data = decoded(encoded, 33)
        key = cls(name, data[1:])
        if not _NAME.fullmatch(name) or data[:1] != _ED25519 or id != key.key_id.hex():
            raise BadNote("a verifier key has the form name+id+key, with an Ed25519 key")
        return key

    def is_signer(self, text: str, signature: bytes) -> bool:
        """True where `signature` (64 bytes) of `text` is by this key."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


class Signer:
    """A private key under its name. `seed`: 32 bytes."""

    def __init__(self, name: str, seed: bytes) -> None:
        if not _NAME.fullmatch(name):
            raise BadNote("the name of a key has no blanks and no plus sign")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = VerifierKey(name, self._key.public_key().public_bytes_raw())

    def line(self, text: str) -> str:
        """The signature line of `text`, with its newline."""
        signature = self.verifier.key_id + self._key.sign(text.encode())
        return f"{_DASH} {self.verifier.name} {base64.b64encode(signature).decode('ascii')}\n"


def sign(text: str, signers: Sequence[Signer]) -> str:
    """The note of `text`, signed by each of `signers`."""
    return text + "\n" + "".join(signer.line(text) for signer in signers)


def split_note(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """The text of a note, and (name, key id, signature) of each line. Raises BadNote."""
    text, blank, lines = note.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise BadNote("a note has a text, a blank line, and signature lines")
    signatures = []
    for line in lines[:-1].split("\n"):
        dash, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        data = decoded(encoded, None)
        if dash != _DASH or not _NAME.fullmatch(name) or len(data) < 5:
            raise BadNote("a signature line has the form: dash, name, base64")
        signatures.append((name, data[:4], data[4:]))
    return text + "\n", signatures


def signed_by(note: str, keys: Sequence[VerifierKey]) -> tuple[str, list[VerifierKey]]:
    """The text of a note and those of `keys` that have signed it. Raises BadNote.

    A line under one of the keys that does not verify is a forgery: then the answer holds no key at all.
    """
    text, signatures = split_note(note)
    found: list[VerifierKey] = []
    for name, key_id, signature in signatures:
        for key in keys:
            if (key.name, key.key_id) == (name, key_id):
                if not key.is_signer(text, signature):
                    return text, []
                found.append(key)
    return text, found


def decoded(text: str, size: int | None) -> bytes:
    """The bytes of base64 in its one canonical spelling. `size`: how many are expected. Raises BadNote."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadNote("base64 is expected") from error
    if (size is not None and len(data) != size) or base64.b64encode(data).decode("ascii") != text:
        raise BadNote("base64 of another size is expected")
    return data
