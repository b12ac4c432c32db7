"""A report as a table, and how it is written: JSON, NDJSON, CSV, and a page that prints well. Pure."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from jinja2 import Environment, FileSystemLoader

from fhirserver.audit.disclosure import alertwords, words


@dataclass(frozen=True, slots=True)
class Sentence:
    """What an alert says, in whatever language it is read. `otherwise`: where its rule has no sentence for the figures."""

    rule: str
    figures: tuple[tuple[str, str], ...]
    otherwise: str = ""

    def told(self, language: str) -> str:
        """The sentence."""
        return alertwords.told(self.rule, dict(self.figures), language, self.otherwise)


Cell = str | int | bool | datetime | date | Sentence | tuple[str, ...] | None
FORMATS: Mapping[str, str] = {
    "json": "application/json; charset=utf-8",
    "ndjson": "application/x-ndjson; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "html": "text/html; charset=utf-8",
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\0")
_CODED = ("alert", "action", "purpose", "outcome", "data", "emergency", "reason", "review", "exempt", "role")
_FOLDER = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under column names. `kind`: of the report. `title`: of a part of a larger report. `text`: instead of rows.

    Cells: times are aware datetimes, codes stay codes until they are written in a language.
    """

    kind: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Frame:
    """What surrounds the rows. `start`, `end`: of the period, `now`: when it was made; all aware."""

    start: datetime
    end: datetime
    now: datetime
    timezone: str = "America/Sao_Paulo"
    language: str = "pt-BR"
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def zone(self) -> ZoneInfo:
        """The timezone of the clinic."""
        return ZoneInfo(self.timezone)


def write(format: str, tables: Sequence[Table], frame: Frame) -> bytes:
    """The report in one of FORMATS. The first table gives it its name."""
    return _WRITERS[format](tables, frame)


def shown(column: str, cell: Cell, frame: Frame) -> str:
    """A cell as people read it."""
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        zone = UTC if column == "utc" else frame.zone
        pattern = (
            "%d/%m/%Y %H:%M:%S" if frame.language == "pt-BR" and zone is not UTC else "%Y-%m-%d %H:%M:%S"
        )
        return cell.astimezone(zone).strftime(pattern)
    if isinstance(cell, date):
        return cell.strftime("%d/%m/%Y") if frame.language == "pt-BR" else cell.isoformat()
    if isinstance(cell, Sentence):
        return cell.told(frame.language)
    if isinstance(cell, bool):
        return words.code("yes" if cell else "no", frame.language)
    if isinstance(cell, tuple):
        return ", ".join(shown(column, part, frame) for part in cell)
    return words.code(cell, frame.language) if isinstance(cell, str) and column in _CODED else str(cell)


def _plain(cell: Cell, frame: Frame) -> Any:
    if isinstance(cell, datetime):
        return cell.astimezone(frame.zone).isoformat(timespec="milliseconds")
    if isinstance(cell, date):
        return cell.isoformat()
    if isinstance(cell, Sentence):
        return cell.told(frame.language)
    return list(cell) if isinstance(cell, tuple) else cell


def _objects(table: Table, frame: Frame) -> list[dict[str, Any]]:
    objects = []
    for row in table.rows:
        line = {name: _plain(cell, frame) for name, cell in zip(table.columns, row, strict=True)}
        for name, cell in zip(table.columns, row, strict=True):
            if isinstance(cell, datetime) and name == "when":
                line["utc"] = cell.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        objects.append(line)
    return objects


def _json(tables: Sequence[Table], frame: Frame) -> bytes:
    head = {
        "report": tables[0].kind,
        "title": words.title(tables[0].kind, frame.language),
        "start": frame.start.isoformat(),
        "end": frame.end.isoformat(),
        "made": frame.now.isoformat(),
        "timezone": frame.timezone,
        **frame.facts,
    }
    if len(tables) == 1:
        return orjson.dumps(head | {"rows": _objects(tables[0], frame)})
    parts = [
        {"title": table.title, "rows": _objects(table, frame)} | ({"text": table.text} if table.text else {})
        for table in tables
    ]
    return orjson.dumps(head | {"parts": parts})


def _ndjson(tables: Sequence[Table], frame: Frame) -> bytes:
    return b"".join(orjson.dumps(line) + b"\n" for table in tables for line in _objects(table, frame))


def _csv(tables: Sequence[Table], frame: Frame) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    for number, table in enumerate(tables):
        if number:
            writer.writerow([])
        if table.title:
            writer.writerow([guarded(table.title)])
        if table.text:
            writer.writerows([guarded(line)] for line in table.text.splitlines())
        columns = _with_utc(table.columns)
        if table.columns:
            writer.writerow([words.column(name, frame.language) for name in columns])
        for row in table.rows:
            cells = dict(zip(table.columns, row, strict=True))
            writer.writerow(
                [guarded(shown(name, cells.get(_source(name, cells)), frame)) for name in columns]
            )
    return b"\xef\xbb\xbf" + out.getvalue().encode()  # spreadsheets take it for UTF-8 by this mark only


def _with_utc(columns: Sequence[str]) -> list[str]:
    at = columns.index("when") + 1 if "when" in columns else 0
    return [*columns[:at], *(["utc"] if at else []), *columns[at:]]


def _source(name: str, cells: Mapping[str, Cell]) -> str:
    return "when" if name == "utc" and "utc" not in cells else name


def guarded(cell: str) -> str:
    """A CSV cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _html(tables: Sequence[Table], frame: Frame) -> bytes:
    language = frame.language
    sections = []
    for table in tables:
        rows = [
            [
                (name, shown(name, cell, frame), shown("utc", cell, frame) if name == "when" else "")
                for name, cell in zip(table.columns, row, strict=True)
            ]
            for row in table.rows
        ]
        titles = [words.column(name, language) for name in table.columns]
        sections.append({"title": table.title, "text": table.text, "columns": titles, "rows": rows})
    span = " ".join(
        [shown("when", frame.start, frame), words.text("to", language), shown("when", frame.end, frame)]
    )
    facts = [
        (words.text("period", language), span),
        (words.text("made", language), shown("when", frame.now, frame)),
        (words.text("timezone", language), frame.timezone),
        (words.text("rows", language), sum(len(table.rows) for table in tables)),
        *frame.facts.items(),
    ]
    page = _environment().get_template("report.html")
    return page.render(
        language=language,
        title=words.title(tables[0].kind, language),
        style=style(),
        facts=facts,
        sections=sections,
        nothing=words.text("nothing", language),
    ).encode()


def style() -> str:
    """The style sheet of the page."""
    return (_FOLDER / "report.css").read_text(encoding="utf-8")


def policy() -> str:
    """The Content-Security-Policy under which the page may be shown: its own style, nothing else."""
    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode("ascii")
    return f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'"


def _environment() -> Environment:
    return Environment(loader=FileSystemLoader(_FOLDER), autoescape=True)


_WRITERS: Mapping[str, Callable[[Sequence[Table], Frame], bytes]] = {
    "json": _json,
    "ndjson": _ndjson,
    "csv": _csv,
    "html": _html,
}
