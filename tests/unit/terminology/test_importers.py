"""The files of LOINC, SNOMED CT, CID-10, TUSS, plain tables and FHIR, and what is wrong with broken ones."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fhirserver.terminology.concepts import Concept
from fhirserver.terminology.importers import ImportProblem, read
from tests.kit import codefiles
from tests.kit.terminology import a_code_system


def concepts(format: str, path: Path, version: str = "1", system: str | None = None) -> dict[str, Concept]:
    return {c.code: c for c in read(format, path, system=system, version=version).concepts}


def properties(concept: Concept) -> dict[str, object]:
    return {p.code: p.value for p in concept.properties}


def test_loinc_has_names_properties_and_a_hierarchy(tmp_path: Path) -> None:
    reading = read("loinc", codefiles.loinc(tmp_path), version="2.78")
    assert (reading.head.url, reading.head.version) == ("http://loinc.org", "2.78")
    found = {c.code: c for c in reading.concepts}
    weight = found["29463-7"]
    assert (weight.display, weight.definition) == ("Body weight", 'Weight, "as measured"')
    assert weight.display_in("pt") == "Peso corporal"
    assert properties(weight)["SCALE_TYP"] == "Qn"
    assert (weight.parents, weight.ancestors) == (("LP2",), {"LP1", "LP2"})
    assert found["1000-9"].inactive
    assert not weight.inactive
    assert found["LP2"].display == "Body measures"
    alone = concepts("loinc", tmp_path / "LoincTable/Loinc.csv")
    assert set(alone) == {"29463-7", "8302-2", "1000-9"}


def test_snomed_has_preferred_terms_and_its_is_a_relations(tmp_path: Path) -> None:
    reading = read("snomed-rf2", codefiles.snomed(tmp_path))
    assert reading.head.version == "http://snomed.info/sct/900000000000207008/version/20250101"
    found = {c.code: c for c in reading.concepts}
    fever = found["386661006"]
    assert fever.display == "Pyrexia"
    assert {d.value for d in fever.designations} == {"Fever (finding)", 'Fever with "chills" \u00e1'}
    assert (fever.parents, fever.ancestors) == (("404684003",), {"404684003", "138875005"})
    assert found["999000"].inactive
    assert found["138875005"].display == "SNOMED CT Concept"


def test_cid10_stands_in_chapters_groups_and_categories(tmp_path: Path) -> None:
    found = concepts("cid10", codefiles.cid10(tmp_path))
    assert found["A00.0"].display == "Cólera devida a Vibrio cholerae 01, biótipo cholerae"
    assert found["A00.0"].ancestors == {"A00", "A00-A09", "I"}
    assert found["J11.0"].ancestors == {"J11", "J09-J18", "X"}
    assert properties(found["J11.0"]) == {"classification": "+"}
    assert found["B24"].parents == ("I",)
    assert found["I"].abstract
    assert not found["A00"].abstract


def test_tuss_terms_end(tmp_path: Path) -> None:
    found = concepts("tuss", codefiles.tuss(tmp_path / "tuss.csv"))
    assert properties(found["10101012"]) == {"validFrom": "2010-01-01"}
    assert properties(found["10101020"])["validTo"] == "2019-12-31"
    assert (found["10101012"].inactive, found["10101020"].inactive) == (False, True)


def test_a_table_says_what_it_says(tmp_path: Path) -> None:
    found = concepts("csv", codefiles.table(tmp_path / "wards.csv"), system="urn:wards")
    icu = found["icu"]
    assert (icu.display, icu.definition) == ("UTI", "Unidade de terapia intensiva, adulto")
    assert (icu.display_in("en"), icu.parents, properties(icu)) == (
        "Intensive care",
        ("all",),
        {"floor": "3"},
    )
    assert found["old"].inactive


def test_a_code_system_resource_plain_and_compressed(tmp_path: Path) -> None:
    resource = json.dumps(a_code_system("urn:animals")).encode()
    (tmp_path / "a.json").write_bytes(resource)
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(resource))
    for name in ("a.json", "a.json.gz"):
        reading = read("fhir", tmp_path / name)
        assert (reading.head.url, reading.head.version) == ("urn:animals", "1")
        assert {c.code: c.parents for c in reading.concepts}["poodle"] == ("dog",)


def _write(name: str, text: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_text(text, encoding="utf-8")
        return folder / name

    return write


def _broken_cid10(folder: Path) -> Path:
    codefiles.cid10(folder)
    file = folder / "CID-10-SUBCATEGORIAS.CSV"
    file.write_text(file.read_text("cp1252") + "Z999;;;;Sem categoria;;;;\n", "cp1252")
    return folder


def _without(make: Callable[[Path], Path], pattern: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = make(folder)
        for file in folder.rglob(pattern):
            file.unlink()
        return path

    return write


_TUSS = "Código do Termo;Termo;Data de início de vigência;Data de fim de vigência\n"


@pytest.mark.parametrize(
    ("format", "make", "words"),
    [
        ("csv", lambda folder: folder / "nothing.csv", "no such file"),
        ("csv", _write("x.csv", ""), "empty"),
        ("csv", _write("x.csv", "kode,display\na,b\n"), "line 1: the header lacks code"),
        ("csv", _write("x.csv", "code,display\na,b\n,c\n"), "line 3: the column code is empty"),
        ("csv", _write("x.csv", "code,display\na,b\na  b,c\n"), "line 3: the code in code has white space"),
        ("csv", _write("x.csv", "code,display\na,b,c,d\n"), "line 2: 4 cells where the header has 2"),
        ("csv", _write("x.csv", "code,display,inactive\na,b,perhaps\n"), "line 2: inactive is true or false"),
        ("csv", _write("x.csv", "code,display,parent\na,b,z\n"), "line 2: the parent is not a code"),
        ("csv", _write("x.csv", 'code,display\na,"b\n'), "line 2: unexpected end of data"),
        ("tuss", _write("x.csv", "Termo;Outro\nx;y\n"), "line 1: the header lacks 'Código do Termo'"),
        ("tuss", _write("x.csv", _TUSS + "1;x;01/01/2010;\n2;y;2010;\n"), "line 3: Data de início de vigência is no date"),
        ("tuss", _write("x.csv", _TUSS + "1;x;31/02/2010;\n"), "line 2: Data de início de vigência is no date"),
        ("tuss", _write("x.csv", _TUSS + "1;;01/01/2010;\n"), "line 2: the term is empty"),
        ("cid10", _broken_cid10, "line 5: there is no category Z99"),
        ("cid10", _without(codefiles.cid10, "*SUBCATEGORIAS*"), "one file CID-10-SUBCATEGORIAS.csv is needed"),
        ("loinc", _without(codefiles.loinc, "Loinc.csv"), "there is no Loinc.csv"),
        ("loinc", _write("Loinc.csv", "LOINC_NUM,COMPONENT\n1,2\n"), "line 1: the header lacks PROPERTY"),
        ("snomed-rf2", _without(codefiles.snomed, "sct2_Concept*"), "there is no sct2_Concept_Snapshot"),
        ("snomed-rf2", _write("x.txt", "x"), "name the folder of the release"),
        ("fhir", _write("x.json", "{"), "x.json"),
        ("fhir", _write("x.json", '{"resourceType":"ValueSet"}'), "not a CodeSystem with concepts"),
        ("fhir", _write("x.json", '{"resourceType":"CodeSystem","concept":[{"display":"x"}]}'), "lacks its code"),
    ],
)  # fmt: skip
def test_a_broken_file_is_named_with_its_line(
    tmp_path: Path, format: str, make: Callable[[Path], Path], words: str
) -> None:
    with pytest.raises(ImportProblem, match=words.replace("(", r"\(")):
        list(read(format, make(tmp_path), system="urn:x", version="1").concepts)


def test_url_and_version_must_be_known(tmp_path: Path) -> None:
    file = codefiles.table(tmp_path / "wards.csv")
    with pytest.raises(ImportProblem, match="--system"):
        read("csv", file, version="1")
    with pytest.raises(ImportProblem, match="--version"):
        read("csv", file, system="urn:wards")
