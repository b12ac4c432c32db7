"""The keys of the ledger and their files: the signing key, the ingest key, and the list of public keys.

- signing key file: one line, the Ed25519 seed in hex, mode 0600. During a rotation a second line holds the key before:
  the next checkpoint carries both signatures.
- ingest key file: 32 bytes in hex, mode 0600. Workers and sealer hold it, the database never does.
- keys.txt: for verifiers, one line for each key ever used: `vkey [valid-to-size N] [revoked-after-size N]`.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fhirserver.audit.notes import BadNote, Signer, VerifierKey, signed_by
from fhirserver.store.keyfile import BadKeyFile, key_lines, write_whole

if TYPE_CHECKING:
    from fhirserver.settings import Settings

_HEAD = (
    "# Public keys of the audit ledger. Give this file to whoever verifies it, and keep a copy elsewhere.\n"
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A public key and how far it may be trusted.

    `valid_to`: the last size that it signs, after a rotation. `revoked_after`: the last size whose signature counts,
    after a compromise.
    """

    key: VerifierKey
    valid_to: int | None = None
    revoked_after: int | None = None

    def covers(self, size: int) -> bool:
        """True where a signature by this key on a checkpoint of `size` counts."""
        return all(limit is None or size <= limit for limit in (self.valid_to, self.revoked_after))

    def line(self) -> str:
        """The key as a line of keys.txt."""
        words = [self.key.vkey()]
        if self.valid_to is not None:
            words += ["valid-to-size", str(self.valid_to)]
        if self.revoked_after is not None:
            words += ["revoked-after-size", str(self.revoked_after)]
        return " ".join(words)


def parse_keys(text: str) -> list[KnownKey]:
    """The keys of a keys.txt. Raises BadNote."""
    keys = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        vkey, *words = line.split()
        limits = dict(zip(words[0::2], words[1::2], strict=False))
        if len(words) % 2 or not set(limits) <= {"valid-to-size", "revoked-after-size"}:
            raise BadNote("a line of keys.txt is: vkey [valid-to-size N] [revoked-after-size N]")
        if not all(number.isascii() and number.isdigit() for number in limits.values()):
            raise BadNote("a size in keys.txt is a number")
        sizes = {name: int(number) for name, number in limits.items()}
        keys.append(
            KnownKey(VerifierKey.parse(vkey), sizes.get("valid-to-size"), sizes.get("revoked-after-size"))
        )
    return keys


def trusted_signers(note: str, size: int, keys: Iterable[KnownKey]) -> list[VerifierKey]:
    """Those of `keys` whose signature on `note`, a checkpoint of `size`, is good and counts. Raises BadNote."""
    known = {known.key.vkey(): known for known in keys}
    signers = signed_by(note, [known.key for known in known.values()])[1]
    return [key for key in signers if known[key.vkey()].covers(size)]


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """Where the keys are. `origin`: name of the log and of its keys."""

    origin: str
    signing: Path
    ingest: Path
    public: Path

    @classmethod
    def of(cls, settings: Settings) -> KeyFiles:
        """The files that the settings name, else files of the data folder."""
        folder = settings.data_dir / "audit"
        audit = settings.audit
        return cls(
            audit.origin,
            audit.signing_key_file or folder / "signing.key",
            audit.ingest_key_file or folder / "ingest.key",
            folder / "keys.txt",
        )

    def ingest_key(self) -> bytes:
        """The key of the ingest MAC; made where there is none yet. Raises BadKeyFile."""
        return _seeds(self.ingest, "ingest")[0]

    def signers(self) -> list[Signer]:
        """The signing key, and during a rotation the one before; made where there is none. Raises BadKeyFile."""
        return [Signer(self.origin, seed) for seed in _seeds(self.signing, "signing")]

    def known(self) -> list[KnownKey]:
        """The public keys of keys.txt, completed by those of the signing key file. Raises BadKeyFile."""
        keys: list[KnownKey] = []
        if self.public.exists():
            try:
                keys = parse_keys(self.public.read_text())
            except (OSError, ValueError) as error:
                raise BadKeyFile(f"{self.public} cannot be read: {error}") from error
        listed = {known.key.vkey() for known in keys}
        fresh = [
            KnownKey(signer.verifier) for signer in self.signers() if signer.verifier.vkey() not in listed
        ]
        if fresh:
            keys += fresh
            self.write_known(keys)
        return keys

    def write_known(self, keys: Sequence[KnownKey]) -> None:
        """Write keys.txt."""
        write_whole(self.public, _HEAD + "".join(f"{key.line()}\n" for key in keys), mode=0o644)

    def rotate(self) -> VerifierKey:
        """Put a new signing key before the present one; the next checkpoint carries both. Raises BadKeyFile."""
        self.known()
        seeds = _seeds(self.signing, "signing")
        if len(seeds) > 1:
            raise BadKeyFile("the last rotation is not sealed yet; wait for the next checkpoint")
        seed = secrets.token_bytes(32)
        write_whole(self.signing, f"{seed.hex()}\n{seeds[0].hex()}\n", mode=0o600)
        self.known()
        return Signer(self.origin, seed).verifier

    def end_rotation(self, size: int) -> None:
        """Forget the key before: the checkpoint of `size` carries both signatures."""
        new, *old = self.signers()
        write_whole(self.signing, f"{_seeds(self.signing, 'signing')[0].hex()}\n", mode=0o600)
        retired = {signer.verifier.vkey() for signer in old}
        self.write_known(
            [
                replace(key, valid_to=size) if key.key.vkey() in retired and key.valid_to is None else key
                for key in self.known()
            ]
        )
        _log.warning("audit signing key rotated", extra={"key": new.verifier.vkey()})

    def revoke(self, key_id: str, size: int) -> None:
        """Distrust signatures of the key with this id (hex) on checkpoints beyond `size`. Raises BadKeyFile."""
        keys = self.known()
        if not any(key.key.key_id.hex() == key_id for key in keys):
            raise BadKeyFile(f"{self.public} holds no key with the id {key_id}")
        self.write_known(
            [replace(key, revoked_after=size) if key.key.key_id.hex() == key_id else key for key in keys]
        )


def _seeds(file: Path, what: str) -> list[bytes]:
    return key_lines(file, f"audit {what}")
