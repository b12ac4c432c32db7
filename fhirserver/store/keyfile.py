"""Files with secret keys: one key a line as 64 hex digits, readable by their owner alone, written all at once."""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path

from fhirserver.store.client import CannotStart

_log = logging.getLogger(__name__)


class BadKeyFile(CannotStart):
    """A key file that cannot be used; the text names it and what to do."""


def key_lines(file: Path, what: str) -> list[bytes]:
    """The keys in `file`, 32 bytes each; one is made where the file is missing, by one of several processes.

    `what`: names the key in texts, such as "audit signing". Raises BadKeyFile.
    """
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        _write(fresh, f"{secrets.token_hex(32)}\n", 0o600)
        try:
            os.link(fresh, file)
            _log.warning("a new key was made: back it up, apart from the database", extra={"key": what})
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    try:
        keys = [bytes.fromhex(line) for line in file.read_text().split()]
    except (OSError, ValueError) as error:
        raise BadKeyFile(f"the {what} key file {file} cannot be read: it holds 64 hex digits") from error
    if not keys or any(len(key) != 32 for key in keys):
        raise BadKeyFile(f"the {what} key file {file} must hold 64 hex digits")
    if file.stat().st_mode & 0o077:
        raise BadKeyFile(f"the {what} key file {file} can be read by others; run: chmod 600 {file}")
    return keys


def write_whole(file: Path, text: str, *, mode: int) -> None:
    """Replace the content of `file`, durably and all at once."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    _write(fresh, text, mode)
    fresh.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write(file: Path, text: str, mode: int) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
