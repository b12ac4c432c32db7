"""CID-10 in the files of DATASUS: CID-10-CAPITULOS, -GRUPOS, -CATEGORIAS, -SUBCATEGORIAS (.CSV).

Codes are written as ICD-10 does, with a dot (A00.0); chapters (I), groups (A00-A09) and categories stand above.
Source: DATASUS, CID-10 em CSV (sistema CID10).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fhirserver.terminology.concepts import Concept, Property
from fhirserver.terminology.importers.reading import Head, Line, Reading, files, lines_of, the_file
from fhirserver.terminology.systems import ancestors_of

URL = "http://hl7.org/fhir/sid/icd-10"
_GROUP = ("CATINIC", "CATFIM", "DESCRICAO")
_ABSTRACT = (Property("notSelectable", "valueBoolean", True),)


def read(path: Path) -> Reading:
    """The folder of the four files; chapters and groups may be missing."""
    folder = path.parent if path.is_file() else path
    return Reading(Head(URL, "", "CID10", "CID-10 (DATASUS)", "pt-BR"), _concepts(folder))


def _concepts(folder: Path) -> Iterator[Concept]:
    parents: dict[str, tuple[str, ...]] = {}
    spans: list[tuple[str, str, str]] = []
    for kind, column in (("CAPITULOS", "NUMCAP"), ("GRUPOS", None)):
        above = list(spans)
        for file in files(folder, f"CID-10-{kind}.csv"):
            for line in lines_of(file, needed=(*_GROUP, *((column,) if column else ())), delimiter=";"):
                first, last = line.code("CATINIC"), line.code("CATFIM")
                code = _chapter(line, column) if column else f"{first}-{last}"
                if code in parents:  # a group that is a chapter's whole
                    continue
                parents[code] = _narrowest(above, first, last)
                spans.append((first, last, code))
                yield Concept(
                    code, line["DESCRICAO"], None, (), _ABSTRACT, parents[code], ancestors_of(code, parents)
                )
    for line in lines_of(
        the_file(folder, "CID-10-CATEGORIAS.csv"), needed=("CAT", "DESCRICAO"), delimiter=";"
    ):
        code = line.code("CAT")
        parents[code] = _narrowest(spans, code, code)
        yield _concept(line, code, parents)
    file = the_file(folder, "CID-10-SUBCATEGORIAS.csv")
    for line in lines_of(file, needed=("SUBCAT", "DESCRICAO"), delimiter=";"):
        plain = line.code("SUBCAT")
        code = f"{plain[:3]}.{plain[3:]}" if len(plain) > 3 else plain
        if code in parents:  # a category without subcategories stands in both files
            continue
        if plain[:3] not in parents:
            raise line.problem(f"there is no category {plain[:3]}")
        parents[code] = (plain[:3],)
        yield _concept(line, code, parents)


def _chapter(line: Line, column: str) -> str:
    number = line.code(column)
    return _roman(int(number)) if number.isdigit() else number


def _roman(number: int) -> str:
    text = ""
    for value, sign in ((10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")):
        while number >= value:
            text, number = text + sign, number - value
    return text


def _narrowest(spans: list[tuple[str, str, str]], first: str, last: str) -> tuple[str, ...]:
    """The code of the smallest span that covers first to last; of equal ones, the later."""
    around = [span for span in spans if span[0] <= first and last <= span[1]]
    if not around:
        return ()
    start = max(span[0] for span in around)
    end = min(span[1] for span in around if span[0] == start)
    return (next(code for lo, hi, code in reversed(around) if (lo, hi) == (start, end)),)


def _concept(line: Line, code: str, parents: dict[str, tuple[str, ...]]) -> Concept:
    properties = [
        Property(name, "valueString", line[column])
        for name, column in (("classification", "CLASSIF"), ("sexRestriction", "RESTRSEXO"))
        if line[column]
    ]
    above = parents[code]
    return Concept(
        code, line["DESCRICAO"] or None, None, (), tuple(properties), above, ancestors_of(code, parents)
    )
