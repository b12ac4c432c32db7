"""SNOMED CT in Release Format 2: the Snapshot folder with concepts, descriptions, is-a relationships, languages.

Source: SNOMED CT Release File Specification (confluence.ihtsdotools.org/display/DOCRELFMT)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fhirserver.terminology.concepts import Concept, Designation, Property
from fhirserver.terminology.importers.reading import Head, ImportProblem, Line, Reading, files, lines_of
from fhirserver.terminology.systems import ancestors_of

URL = "http://snomed.info/sct"
IS_A = "116680003"
FULLY_SPECIFIED = "900000000000003001"
SYNONYM = "900000000000013009"
PREFERRED = "900000000000548007"
_RELEASE = re.compile(r"_(INT|[A-Z]{2}\d*)_(\d{8})\.txt$", re.IGNORECASE)


@dataclass(slots=True)
class _Texts:
    """The active descriptions of a concept. `full`: the fully specified name."""

    full: str | None = None
    preferred: str | None = None
    others: list[tuple[str, str]] = field(default_factory=list)


def read(path: Path) -> Reading:
    """The release folder, or any folder above its Snapshot files."""
    if path.is_file():
        raise ImportProblem(f"{path}: name the folder of the release, unpacked")
    concepts = files(path, "sct2_Concept_Snapshot_*.txt")
    if not concepts:
        raise ImportProblem(f"{path}: there is no sct2_Concept_Snapshot_*.txt in it")
    match = _RELEASE.search(concepts[-1].name)
    version = f"{URL}/900000000000207008/version/{match[2]}" if match and match[1].upper() == "INT" else ""
    return Reading(
        Head(URL, version, "SNOMED_CT", "SNOMED CT", "en", f"{URL}?fhir_vs"), _concepts(path, concepts)
    )


def _concepts(folder: Path, concept_files: list[Path]) -> Iterator[Concept]:
    parents = _parents(folder)
    preferred = _preferred(folder)
    texts = _texts(folder, preferred)
    seen: set[str] = set()
    for file in concept_files:
        for line in _rows(file, ("id", "active", "moduleId", "definitionStatusId")):
            code = line.code("id")
            if code in seen:
                raise line.problem("the concept is there twice")
            seen.add(code)
            own = texts.pop(code, _Texts())
            yield Concept(
                code,
                own.preferred or own.full or None,
                None,
                tuple(_designations(own)),
                tuple(_properties(line)),
                parents.get(code, ()),
                ancestors_of(code, parents),
            )


def _rows(file: Path, needed: tuple[str, ...]) -> Iterator[Line]:
    return lines_of(file, needed=needed, delimiter="\t", quoted=False)


def _parents(folder: Path) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for file in files(folder, "sct2_Relationship_Snapshot_*.txt"):
        for line in _rows(file, ("active", "sourceId", "destinationId", "typeId")):
            if line["active"] == "1" and line["typeId"] == IS_A:
                code = line.code("sourceId")
                found[code] = (*found.get(code, ()), line.code("destinationId"))
    return found


def _preferred(folder: Path) -> frozenset[str]:
    """The ids of the descriptions that a language reference set prefers."""
    return frozenset(
        line["referencedComponentId"]
        for file in files(folder, "der2_cRefset_Language*Snapshot*.txt")
        for line in _rows(file, ("active", "referencedComponentId", "acceptabilityId"))
        if line["active"] == "1" and line["acceptabilityId"] == PREFERRED
    )


def _texts(folder: Path, preferred: frozenset[str]) -> dict[str, _Texts]:
    found: dict[str, _Texts] = {}
    for file in files(folder, "sct2_Description_Snapshot*.txt"):
        for line in _rows(file, ("id", "active", "conceptId", "languageCode", "typeId", "term")):
            if line["active"] != "1":
                continue
            own = found.setdefault(line.code("conceptId"), _Texts())
            if line["typeId"] == FULLY_SPECIFIED:
                own.full = own.full or line["term"]
            elif line["typeId"] == SYNONYM:
                if own.preferred is None and line["id"] in preferred:
                    own.preferred = line["term"]
                else:
                    own.others.append((line["languageCode"], line["term"]))
    return found


def _designations(own: _Texts) -> Iterator[Designation]:
    if own.full is not None and own.preferred is not None:
        use = {"system": URL, "code": FULLY_SPECIFIED, "display": "Fully specified name"}
        yield Designation(own.full, "en", use)
    for language, term in own.others:
        yield Designation(term, language, {"system": URL, "code": SYNONYM, "display": "Synonym"})


def _properties(line: Line) -> Iterator[Property]:
    yield Property("moduleId", "valueCode", line["moduleId"])
    yield Property("definitionStatusId", "valueCode", line["definitionStatusId"])
    if line["active"] != "1":
        yield Property("inactive", "valueBoolean", True)
