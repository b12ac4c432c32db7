"""The shipped Brazilian code systems: valid resources, complete lists, right codes. Source: specs of ANS and IBGE."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fhirserver.data import data_root
from fhirserver.r4.elements import Elements
from fhirserver.terminology import Terminology, Verdict
from fhirserver.validation import Validator

ROOT = data_root("terminology")
FILES = sorted(ROOT.glob("*/*.json"))
FS = "https://fhirserver.example/br"
TUSS = (
    *range(23, 29), *range(34, 40), *range(41, 54), 55, 56, 57, 59, 60, 61, 62, *range(72, 79), 80, 81, 87,
)  # fmt: skip
# the check digit of these municipalities is not what the rule gives; IBGE keeps them
EXCEPTIONS = {
    "2201919",
    "2201988",
    "2202251",
    "2611533",
    "3117836",
    "3152131",
    "4305871",
    "5203939",
    "5203962",
}


def resource(file: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(file.read_bytes())
    return read


@pytest.fixture(scope="module")
def validator() -> Validator:
    return Validator(Elements.load())


def test_every_folder_says_where_its_codes_come_from() -> None:
    assert len(FILES) == len(TUSS) + 2 + 2 + 2
    for folder in {file.parent for file in FILES}:
        assert "Origin" in (folder / "SOURCE.md").read_text("utf-8") or folder.name == "saude"
        assert "Licence" in (folder / "SOURCE.md").read_text("utf-8")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_code_system_is_valid_and_counts_its_codes(validator: Validator, file: Path) -> None:
    read = resource(file)
    assert validator.validate(read, "CodeSystem") == []
    codes = [concept["code"] for concept in read["concept"]]
    assert len(set(codes)) == len(codes) == read["count"]
    assert read["url"].rpartition("/")[2] == file.stem.removeprefix("CodeSystem-")


def test_the_tables_of_tiss_are_there() -> None:
    numbers = {int(n) for file in FILES if (n := file.stem.removeprefix("CodeSystem-tuss-")).isdigit()}
    assert numbers == set(TUSS)


def digit(code: str) -> int:
    """The seventh digit of an IBGE code by the rule of its first six."""
    total = sum(sum(map(int, str(int(d) * w))) for d, w in zip(code[:6], (1, 2, 1, 2, 1, 2), strict=True))
    return (10 - total % 10) % 10


def test_municipalities_have_check_digits_and_states() -> None:
    states = {
        concept["property"][0]["valueString"]: concept["code"]
        for concept in resource(ROOT / "ibge/CodeSystem-uf.json")["concept"]
    }
    assert len(states) == 27
    concepts = resource(ROOT / "ibge/CodeSystem-municipio-ibge.json")["concept"]
    assert len(concepts) == 5571
    for concept in concepts:
        code = concept["code"]
        assert concept["property"] == [{"code": "uf", "valueCode": states[code[:2]]}]
    assert {c["code"] for c in concepts if int(c["code"][6]) != digit(c["code"])} == EXCEPTIONS
    assert all(c["display"] == c["display"].strip() != "" for c in concepts)


@pytest.mark.parametrize(
    ("value_set", "code", "display"),
    [
        (f"{FS}/ValueSet/tuss-23", "2", "Urgência/Emergência"),
        (f"{FS}/ValueSet/tuss-26", "06", "Conselho Regional de Medicina"),
        (f"{FS}/ValueSet/tuss-59", "35", "São Paulo"),
        (f"{FS}/ValueSet/uf", "SP", "São Paulo"),
        (f"{FS}/ValueSet/municipio-ibge", "3550308", "São Paulo"),
        ("https://terminologia.saude.gov.br/fhir/ValueSet/BRRacaCor", "05", "Indígena"),
    ],
)
def test_a_code_has_its_name(value_set: str, code: str, display: str) -> None:
    terminology = Terminology.of_shipped()
    answer = terminology.member(value_set, None, code)
    assert (answer.verdict, answer.display) == (Verdict.YES, display)
    assert terminology.member(value_set, None, "0").verdict is Verdict.NO
