"""Secrets that must be read back (seeds of second factors, private signing keys), encrypted before they are stored.

AES-256-GCM under a key that the database never holds. A sealed text is "v1.<key id>.<base64url of nonce and ciphertext>"
and bound to its place: moved to another row it does not open. The first line of the key file is the key that seals; a
second one, the key before it, still opens. The file is read anew when it changes, so that keys rotate while the server
runs. Sources: NIST SP 800-38D; docs/decisions/0036.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fhirserver.outcome import Unavailable
from fhirserver.store.keyfile import BadKeyFile, key_lines, write_whole

if TYPE_CHECKING:
    from fhirserver.settings import Settings

_NONCE = 12
_VERSION = "v1."
_WHAT = "secrets"


def key_id(key: bytes) -> str:
    """Tells keys apart and says nothing of them: 8 hex digits."""
    return hashlib.sha256(b"fhirserver secrets key" + key).hexdigest()[:8]


def is_sealed(text: str) -> bool:
    """True for what `seal` makes."""
    return text.startswith(_VERSION)


def place(collection: str, row: str, field: str) -> str:
    """The name of a place in the database, which a sealed text is bound to."""
    return f"{collection}/{row}/{field}"


class Vault:
    """Seals and opens. `file`: the key file; made at the first sealing."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._seen: tuple[tuple[int, int], dict[str, bytes]] | None = None

    @classmethod
    def of(cls, settings: Settings) -> Vault:
        """The vault with the key file of the settings, else one in the data folder."""
        return cls(settings.oauth.secrets_key_file or settings.data_dir / "oauth" / "secrets.key")

    @property
    def present(self) -> str:
        """The id of the key that seals. Raises BadKeyFile."""
        return next(iter(self._keys()))

    def seal(self, text: str, place: str) -> str:
        """`text` as it is stored at `place`. Raises BadKeyFile."""
        id, key = next(iter(self._keys().items()))
        nonce = secrets.token_bytes(_NONCE)
        sealed = AESGCM(key).encrypt(nonce, text.encode(), f"{id} {place}".encode())
        return f"{_VERSION}{id}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, place: str) -> str:
        """What was sealed for `place`. Raises Unavailable: sealed by a key that is not in the file, or tampered with."""
        id, _, content = sealed.removeprefix(_VERSION).partition(".")
        try:
            key = self._keys(id).get(id) if is_sealed(sealed) else None
            if key is not None:
                raw = base64.urlsafe_b64decode(content)
                return AESGCM(key).decrypt(raw[:_NONCE], raw[_NONCE:], f"{id} {place}".encode()).decode()
        except (InvalidTag, ValueError, BadKeyFile):
            pass
        raise Unavailable(
            "A secret in the database cannot be opened with the server's secrets key; the operator must put the "
            "right key file in its place (fhirserver doctor).",
            code="secrets-key-wrong",
        )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other process of this machine rotates the key, and keep others waiting."""
        folder = os.open(self.file.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def rotate(self) -> str:
        """Make a new key, which seals from now on; the one before it still opens. Its id. Raises BadKeyFile."""
        key, present = secrets.token_bytes(32), next(iter(self._keys().values()))
        write_whole(self.file, f"{key.hex()}\n{present.hex()}\n", mode=0o600)
        return key_id(key)

    def _keys(self, wanted: str = "") -> dict[str, bytes]:
        """The keys by their ids, the one that seals first. `wanted`: the file must be there to have it."""
        if wanted and not self.file.exists():
            raise BadKeyFile(f"the {_WHAT} key file {self.file} is missing")
        stamp = self._stamp()
        if self._seen is None or self._seen[0] != stamp:
            keys = key_lines(self.file, _WHAT)
            self._seen = (self._stamp(), {key_id(key): key for key in keys})
        return self._seen[1]

    def _stamp(self) -> tuple[int, int]:
        try:
            found = self.file.stat()
        except OSError:
            return (0, 0)
        return (found.st_ino, found.st_mtime_ns)
