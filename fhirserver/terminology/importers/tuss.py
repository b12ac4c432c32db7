"""TUSS tables as ANS publishes them: code, term, valid from, valid to, end of the introduction.

Source: gov.br/ans, Padrão TISS, Terminologia Unificada da Saúde Suplementar (CSV of each table).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

from fhirserver.terminology.concepts import Concept, Property, folded
from fhirserver.terminology.importers.reading import Head, ImportProblem, Line, Reading, lines_of, the_file

PROCEDURES = "https://terminologia.saude.gov.br/fhir/CodeSystem/BRCBHPMTUSS"
_COLUMNS = {
    "code": ("codigo do termo", "codigo"),
    "term": ("termo", "descricao"),
    "start": ("data de inicio de vigencia", "inicio de vigencia", "data inicio vigencia"),
    "end": ("data de fim de vigencia", "fim de vigencia", "data fim vigencia"),
    "introduced": ("data de fim de implantacao", "fim de implantacao", "data fim implantacao"),
}
_DATE = re.compile(r"(\d{2})/(\d{2})/(\d{4})|(\d{4})-(\d{2})-(\d{2})")


def read(path: Path) -> Reading:
    """A table of TUSS; without another url it is that of the procedures (table 22)."""
    file = the_file(path, "*.csv")
    return Reading(
        Head(PROCEDURES, "", "TUSS", "Terminologia Unificada da Saúde Suplementar", "pt-BR"), _concepts(file)
    )


def _concepts(file: Path) -> Iterator[Concept]:
    today = datetime.now(UTC).date()
    columns: dict[str, str] | None = None
    for line in lines_of(file, needed=()):
        if columns is None:
            columns = _named(line)
        end = _date(line, columns.get("end"))
        properties = [
            Property(name, "valueDateTime", moment.isoformat())
            for name, column in (
                ("validFrom", "start"),
                ("validTo", "end"),
                ("introducedUntil", "introduced"),
            )
            if (moment := _date(line, columns.get(column))) is not None
        ]
        if end is not None and end < today:
            properties.append(Property("inactive", "valueBoolean", True))
        term = line[columns["term"]]
        if not term:
            raise line.problem("the term is empty")
        yield Concept(line.code(columns["code"]), term, properties=tuple(properties))


def _named(line: Line) -> dict[str, str]:
    """Which column of the file is which. Raises ImportProblem where code or term is not among them."""
    names = {folded(column): column for column in line.cells}
    found = {
        meaning: names[name]
        for meaning, known in _COLUMNS.items()
        if (name := next((each for each in known if each in names), None)) is not None
    }
    if "code" not in found or "term" not in found:
        raise ImportProblem(
            f"{line.file}, line 1: the header lacks 'Código do Termo' or 'Termo'; it has {', '.join(line.cells)}"
        )
    return found


def _date(line: Line, column: str | None) -> date | None:
    text = line[column] if column is not None else ""
    if not text:
        return None
    match = _DATE.match(text)
    try:
        if match is None:
            raise ValueError
        day, month, year, *iso = match.groups()
        return date(int(year), int(month), int(day)) if day else date(*(int(part) for part in iso))
    except ValueError:
        raise line.problem(f"{column} is no date (dd/mm/yyyy)") from None
