"""Any code system as a table: CSV with the columns code and display.

Optional columns: definition, parent (several separated by blanks), inactive (true or false), `display:<language>`;
every other column is a property.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from fhirserver.terminology.concepts import Concept, Designation, Property
from fhirserver.terminology.importers.reading import Head, Line, Reading, lines_of, the_file
from fhirserver.terminology.systems import ancestors_of

_KNOWN = ("code", "display", "definition", "parent", "inactive")
_BOOLEANS = {"true": True, "false": False, "": False}


def read(path: Path) -> Reading:
    """The table in `path`; url and version are the caller's to give."""
    file = the_file(path, "*.csv")
    return Reading(Head("", "", file.stem), _concepts(file))


def _concepts(file: Path) -> Iterator[Concept]:
    parents = _parents(file)
    for line in lines_of(file, needed=("code", "display")):
        code = line.code("code")
        inactive = _BOOLEANS.get(line["inactive"].lower())
        if inactive is None:
            raise line.problem("inactive is true or false")
        for parent in parents.get(code, ()):
            if parent not in parents:
                raise line.problem("the parent is not a code of this table")
        yield Concept(
            code,
            line["display"] or None,
            line["definition"] or None,
            tuple(_designations(line)),
            (*_properties(line), *((Property("inactive", "valueBoolean", True),) if inactive else ())),
            parents.get(code, ()),
            ancestors_of(code, parents),
        )


def _parents(file: Path) -> Mapping[str, tuple[str, ...]]:
    return {
        line["code"]: tuple(line["parent"].split()) for line in lines_of(file, needed=("code", "display"))
    }


def _designations(line: Line) -> Iterator[Designation]:
    for column, text in line.cells.items():
        name, _, language = column.partition(":")
        if name == "display" and language and text.strip():
            yield Designation(text.strip(), language)


def _properties(line: Line) -> Iterator[Property]:
    for column, text in line.cells.items():
        if column and column not in _KNOWN and not column.startswith("display:") and text.strip():
            yield Property(column, "valueString", text.strip())
