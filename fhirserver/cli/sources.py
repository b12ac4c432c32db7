"""What `load` reads: files, folders and stdin, plain or gzipped, one JSON document or NDJSON."""

from __future__ import annotations

import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

SUFFIXES = (".json", ".ndjson", ".jsonl")
LINES = (".ndjson", ".jsonl")
STDIN = "-"


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON text.

    `source`: the file's name. `line`: its line in NDJSON. `read`: bytes of the file read for it. `named`: the
    user named the file; what was found in a folder may be no FHIR at all and is then skipped.
    """

    source: str
    line: int | None
    text: bytes
    read: int
    named: bool


class Unreadable(Exception):
    """A file that cannot be read; `source` names it."""

    def __init__(self, source: str, text: str) -> None:
        self.source = source
        super().__init__(text)


def find(paths: list[str]) -> list[tuple[str, bool]]:
    """The files to read, as (name, named by the user). Raises FileNotFoundError."""
    found: list[tuple[str, bool]] = []
    for name in paths:
        path = Path(name)
        if name == STDIN or path.is_file():
            found.append((name, True))
        elif path.is_dir():
            found += [(str(file), False) for file in sorted(path.rglob("*")) if _is_wanted(file, path)]
        else:
            raise FileNotFoundError(name)
    return found


def _is_wanted(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return not hidden and file.name.removesuffix(".gz").endswith(SUFFIXES) and file.is_file()


def size(files: list[tuple[str, bool]]) -> int | None:
    """The bytes of all files as they are stored; None where stdin is among them."""
    if any(name == STDIN for name, _ in files):
        return None
    return sum(Path(name).stat().st_size for name, _ in files)


def read(name: str, *, named: bool) -> Iterator[Document]:
    """The documents of a file: its lines where name or first line say NDJSON. Raises Unreadable."""
    try:
        with Path(name).open("rb") if name != STDIN else sys.stdin.buffer as stored:
            yield from _documents(name, stored, named)
    except (OSError, EOFError, zlib.error) as problem:
        raise Unreadable(name, f"cannot be read: {problem}") from None


def _documents(name: str, stored: BinaryIO, named: bool) -> Iterator[Document]:
    counted = _Counting(stored)
    buffered = io.BufferedReader(cast("io.RawIOBase", counted), 2**16)
    zipped = buffered.peek(2)[:2] == b"\x1f\x8b"
    content = gzip.GzipFile(fileobj=buffered) if zipped else buffered
    first = content.readline()
    by_line = name.removesuffix(".gz").endswith(LINES) or (bool(content.peek(1)) and _is_object(first))
    if not by_line:
        yield Document(name, None, first + content.read(), counted.taken(), named)
        return
    lines = ((n, line.strip()) for n, line in enumerate(chain([first], content), 1) if line.strip())
    number, text = next(lines, (0, b""))
    following = next(lines, None)
    if number:
        yield Document(name, number if following else None, text, counted.taken(), named)
    while following:
        yield Document(name, *following, counted.taken(), named)
        following = next(lines, None)


def _is_object(line: bytes) -> bool:
    """Whether the line is a whole JSON object: where more lines follow, the file is NDJSON."""
    text = line.strip()
    if not (text.startswith(b"{") and text.endswith(b"}")):
        return False
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


class _Counting(io.RawIOBase):
    """Counts what is read of a file, before decompression: that is what progress is measured by."""

    def __init__(self, stored: BinaryIO) -> None:
        self._stored = stored
        self._count = self._told = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        data = self._stored.read(len(buffer))
        buffer[: len(data)] = data
        self._count += len(data)
        return len(data)

    def taken(self) -> int:
        """The bytes read since the last call."""
        told, self._told = self._told, self._count
        return self._count - told
