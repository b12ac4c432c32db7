"""What every reader gives, and how tables of text are read with their line numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from fhirserver.terminology.concepts import Concept

_LONGEST_FIELD = 1 << 20


class ImportProblem(Exception):
    """A file cannot be imported; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of the system as a whole. Empty `url`, `version`: to be given by the caller."""

    url: str
    version: str
    name: str
    title: str | None = None
    language: str | None = None
    value_set: str | None = None

    def named(self, url: str | None, version: str | None) -> Head:
        """The same with another url or version, where one is given."""
        return replace(self, url=url or self.url, version=version or self.version)


@dataclass(frozen=True, slots=True)
class Reading:
    """A code system to import. `concepts`: read as they are taken; raises ImportProblem on the way."""

    head: Head
    concepts: Iterator[Concept]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table: its cells by column name, and where it is."""

    file: Path
    number: int
    cells: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "").strip()

    def problem(self, text: str) -> ImportProblem:
        """The error of this line."""
        return ImportProblem(f"{self.file}, line {self.number}: {text}")

    def code(self, column: str) -> str:
        """The cell that holds the code. Raises ImportProblem where it is empty or no FHIR code."""
        code = self[column]
        if not code:
            raise self.problem(f"the column {column} is empty")
        if code != " ".join(code.split()):
            raise self.problem(f"the code in {column} has white space that a code must not have")
        return code


def lines_of(
    file: Path, *, needed: Sequence[str], delimiter: str | None = None, quoted: bool = True
) -> Iterator[Line]:
    """The lines of a table with a header. `delimiter`: None finds out. UTF-8, else Windows-1252.

    Raises ImportProblem: no header with the `needed` columns, too few or too many cells, not text.
    """
    with _open(file) as text:
        first = text.readline()
        if not first:
            raise ImportProblem(f"{file}: the file is empty")
        mark = delimiter or max(";,\t|", key=first.count)
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
        header = [name.strip() for name in next(csv.reader([first], delimiter=mark, quoting=quoting))]
        missing = [name for name in needed if name not in header]
        if missing:
            raise ImportProblem(
                f"{file}, line 1: the header lacks {', '.join(missing)}; it has {', '.join(header)}"
            )
        csv.field_size_limit(_LONGEST_FIELD)
        reader = csv.reader(text, delimiter=mark, quoting=quoting, strict=quoted)
        try:
            for cells in reader:
                number = reader.line_num + 1
                if not any(cell.strip() for cell in cells):
                    continue
                extra = cells[len(header) :]
                if len(cells) < len(header) - 1 or any(cell.strip() for cell in extra):
                    raise ImportProblem(
                        f"{file}, line {number}: {len(cells)} cells where the header has {len(header)}"
                    )
                yield Line(file, number, dict(zip(header, cells, strict=False)))
        except csv.Error as error:
            raise ImportProblem(f"{file}, line {reader.line_num + 1}: {error}") from None


def _open(file: Path) -> io.TextIOWrapper:
    """The file as text: UTF-8 (with or without a mark) where all of it is, else Windows-1252, as DATASUS writes."""
    try:
        encoding = "utf-8-sig"
        with file.open(encoding=encoding) as text:
            while text.read(1 << 20):
                pass
    except UnicodeDecodeError:
        encoding = "cp1252"
    except OSError as error:
        raise ImportProblem(f"{file}: cannot be read ({error.strerror})") from None
    return file.open(encoding=encoding, errors="replace", newline="")


def the_file(path: Path, pattern: str) -> Path:
    """The one file below `path` that matches `pattern`, case ignored; `path` itself where it is a file.

    Raises ImportProblem for none, or for several.
    """
    if path.is_file():
        return path
    found = files(path, pattern)
    if len(found) != 1:
        names = ", ".join(str(each) for each in found) or "none"
        raise ImportProblem(f"{path}: one file {pattern} is needed; there is {names}")
    return found[0]


def files(path: Path, pattern: str) -> list[Path]:
    """The files below `path` that match `pattern`, case ignored, in order."""
    wanted = pattern.lower()
    return sorted(
        each for each in path.rglob("*") if each.is_file() and fnmatchcase(each.name.lower(), wanted)
    )
