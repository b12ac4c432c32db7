"""LOINC: LoincTable/Loinc.csv, and where they are there its hierarchy and the linguistic variants.

Source: loinc.org/kb, LOINC release files (Loinc.csv, ComponentHierarchyBySystem.csv, *LinguisticVariant.csv).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from fhirserver.terminology.concepts import Concept, Designation, Property
from fhirserver.terminology.importers.reading import Head, ImportProblem, Line, Reading, files, lines_of
from fhirserver.terminology.systems import ancestors_of

URL = "http://loinc.org"
PROPERTIES = (
    "COMPONENT", "PROPERTY", "TIME_ASPCT", "SYSTEM", "SCALE_TYP", "METHOD_TYP", "CLASS", "STATUS", "CLASSTYPE",
    "ORDER_OBS", "EXAMPLE_UCUM_UNITS", "VersionLastChanged",
)  # fmt: skip
_NEEDED = ("LOINC_NUM", "COMPONENT", "PROPERTY", "SYSTEM", "SCALE_TYP", "STATUS", "LONG_COMMON_NAME")
_USE = "http://loinc.org"
_VARIANT = re.compile(r"([a-z]{2})([A-Z]{2})\d*LinguisticVariant", re.ASCII)


def read(path: Path) -> Reading:
    """The release folder, or its Loinc.csv alone."""
    found = [path] if path.is_file() else files(path, "Loinc.csv")
    if not found:
        raise ImportProblem(f"{path}: there is no Loinc.csv in it")
    folder = None if path.is_file() else path
    return Reading(Head(URL, "", "LOINC", "LOINC", "en", f"{URL}/vs"), _concepts(found[0], folder))


def _concepts(file: Path, folder: Path | None) -> Iterator[Concept]:
    parents: dict[str, tuple[str, ...]] = {}
    names: dict[str, str] = {}
    for hierarchy in files(folder, "ComponentHierarchyBySystem.csv") if folder else ():
        _hierarchy(hierarchy, parents, names)
    variants = _variants(folder)
    seen = set()
    for line in lines_of(file, needed=_NEEDED):
        code = line.code("LOINC_NUM")
        seen.add(code)
        yield Concept(
            code,
            line["LONG_COMMON_NAME"] or line["COMPONENT"],
            line["DefinitionDescription"] or None,
            (*_names(line), *variants.get(code, ())),
            tuple(_properties(line)),
            parents.get(code, ()),
            ancestors_of(code, parents),
        )
    for code, name in names.items():  # the parts that group them
        if code not in seen:
            yield Concept(code, name, None, (), (), parents.get(code, ()), ancestors_of(code, parents))


def _names(line: Line) -> Iterator[Designation]:
    for column in ("SHORTNAME", "DisplayName", "CONSUMER_NAME"):
        if line[column]:
            yield Designation(line[column], "en", {"system": _USE, "code": column})


def _properties(line: Line) -> Iterator[Property]:
    for column in PROPERTIES:
        if line[column]:
            yield Property(column, "valueString", line[column])
    if line["STATUS"] == "DEPRECATED":
        yield Property("inactive", "valueBoolean", True)


def _hierarchy(file: Path, parents: dict[str, tuple[str, ...]], names: dict[str, str]) -> None:
    for line in lines_of(file, needed=("IMMEDIATE_PARENT", "CODE", "CODE_TEXT")):
        code, parent = line.code("CODE"), line["IMMEDIATE_PARENT"]
        names.setdefault(code, line["CODE_TEXT"])
        if parent and parent not in parents.get(code, ()):
            parents[code] = (*parents.get(code, ()), parent)


def _variants(folder: Path | None) -> Mapping[str, tuple[Designation, ...]]:
    """The names in other languages, by code."""
    found: dict[str, tuple[Designation, ...]] = {}
    for file in files(folder, "*LinguisticVariant.csv") if folder else ():
        match = _VARIANT.match(file.stem)
        if match is None:
            continue
        language = f"{match[1]}-{match[2]}"
        for line in lines_of(file, needed=("LOINC_NUM", "LONG_COMMON_NAME")):
            if line["LONG_COMMON_NAME"]:
                code = line.code("LOINC_NUM")
                found[code] = (*found.get(code, ()), Designation(line["LONG_COMMON_NAME"], language))
    return found
