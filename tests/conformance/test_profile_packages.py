"""The packages in profiles/: what they define is usable, their examples pass, what they show as wrong is refused.

Source: docs/reference/profiles-br.md, hl7.org/fhir/R4/profiling.html
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fhirserver.cli.demo import SEED, build
from fhirserver.data import data_root
from fhirserver.outcome import Issue
from fhirserver.r4.definitions import Definitions
from fhirserver.r4.elements import Elements
from fhirserver.r4.packages import Package, load_package
from fhirserver.search.index import Indexer
from fhirserver.terminology.canonical import SHIPPED, Candidate
from fhirserver.terminology.service import Stored, Terminology
from fhirserver.terminology.systems import MemorySystem
from fhirserver.terminology.valuesets import parse_value_set
from fhirserver.validation import Validator
from fhirserver.validation.profiles import Profiles

NAMES = ("br", "clinic")
ROOT = data_root("profiles")


def examples(kind: str) -> list[Path]:
    return [
        file
        for name in NAMES
        for file in sorted((ROOT / name / "examples" / kind).glob("*.json"))
        if not file.name.endswith(".outcome.json")
    ]


def read(file: Path) -> Any:
    return json.loads(file.read_text(), parse_float=Decimal)


@cache
def packages() -> tuple[Package, ...]:
    return tuple(load_package(ROOT / name) for name in NAMES)


@cache
def profiles() -> Profiles:
    """R4's profiles and those of the packages, with the value sets of the packages."""
    resources = [resource for package in packages() for resource in package.resources]

    def of(type_: str, build: Any) -> dict[str, list[Candidate[Any]]]:
        return {
            r["url"]: [Candidate(r["version"], "active", r["date"], SHIPPED, lambda r=r: build(r))]
            for r in resources
            if r["resourceType"] == type_
        }

    terminology = Terminology.of_shipped()
    terminology.stored = Stored("test", of("CodeSystem", MemorySystem), of("ValueSet", parse_value_set))
    return Profiles.of(resources, elements=Elements.load(), terminology=terminology)


@cache
def validator() -> Validator:
    return Validator(profiles=profiles())


def found(issues: list[Issue]) -> set[tuple[str, str, str, tuple[str, ...]]]:
    return {(i.severity, i.issue_code.value, i.code, i.expression) for i in issues}


@pytest.mark.parametrize("file", examples("valid"), ids=lambda file: file.stem)
def test_a_valid_example_passes(file: Path) -> None:
    resource = read(file)
    assert resource["meta"]["profile"][0] in profiles().definitions
    issues = validator().validate(resource)
    assert [issue for issue in issues if issue.severity != "information"] == []


@pytest.mark.parametrize("file", examples("invalid"), ids=lambda file: file.stem)
def test_an_invalid_example_is_refused_as_its_outcome_says(file: Path) -> None:
    expected = read(file.with_suffix(".outcome.json"))["issue"]
    issues = found(validator().validate(read(file)))
    wanted = {
        (i["severity"], i["code"], i["details"]["coding"][0]["code"], tuple(i["expression"]))
        for i in expected
    }
    assert {issue for issue in issues if issue[0] != "information"} == wanted


def test_a_wrong_outcome_would_be_noticed() -> None:
    wrong = read(ROOT / "br" / "examples" / "invalid" / "br-patient-sem-documento.json")
    issues = found(validator().validate(wrong))
    assert ("error", "invariant", "invariant-br-pat-1", ("Patient",)) in issues
    assert ("error", "invariant", "invariant-br-pat-9", ("Patient",)) not in issues
    unclaimed = {name: value for name, value in wrong.items() if name != "meta"}
    assert found(validator().validate(unclaimed)) == set()


BR, CLINIC = (
    "https://fhirserver.example/br/StructureDefinition/",
    "https://fhirserver.example/clinic/StructureDefinition/",
)
DEMO = {
    "paciente": BR + "br-patient",
    "profissional": BR + "br-practitioner",
    "vinculo": BR + "br-practitionerrole",
    "unidade": BR + "br-organization-clinica",
    "operadora": BR + "br-organization-operadora",
    "convenio": BR + "br-coverage",
    "guia": BR + "br-claim-",
    "agenda": CLINIC + "clinic-schedule",
    "horario": CLINIC + "clinic-slot",
    "consulta": CLINIC + "clinic-appointment",
}


def test_the_demo_clinic_conforms() -> None:
    """Every resource of the demo that has a profile; of slots and appointments one in ten."""
    counted: Counter[str] = Counter()
    for bundle in build(SEED, dt.date(2026, 3, 2)):
        for entry in bundle["entry"]:
            resource = entry["resource"]
            stem, _, number = resource["id"].removeprefix("demo-").rpartition("-")
            canonical = DEMO.get(stem)
            if canonical is None or (stem in ("horario", "consulta") and int(number) % 10):
                continue
            if stem == "guia":
                canonical += resource["subType"]["coding"][0]["code"]
            issues = validator().validate(resource, profiles=[canonical])
            assert [issue for issue in issues if issue.severity != "information"] == [], resource["id"]
            counted[canonical] += 1
    assert len(counted) == 11
    assert counted[BR + "br-patient"] == 300


def test_every_profile_has_an_example_of_both_kinds() -> None:
    resource_profiles = {
        url
        for package in packages()
        for r in package.resources
        if r["resourceType"] == "StructureDefinition" and r["type"] not in ("Extension", "Address")
        for url in [r["url"]]
    }
    for kind in ("valid", "invalid"):
        assert {read(file)["meta"]["profile"][0] for file in examples(kind)} == resource_profiles
    assert len(resource_profiles) == 11
    assert len(examples("valid")) >= 18
    assert len(examples("invalid")) >= 70


def test_every_rule_has_an_example_that_breaks_it() -> None:
    broken = {
        issue["details"]["coding"][0]["code"].removeprefix("invariant-")
        for file in examples("invalid")
        for issue in read(file.with_suffix(".outcome.json"))["issue"]
    }
    rules = {
        rule["key"]
        for package in packages()
        for resource in package.resources
        for element in resource.get("differential", {}).get("element", ())
        for rule in element.get("constraint", ())
    }
    assert rules - broken == set()
    assert len(rules) >= 40


def test_every_definition_is_usable_and_nothing_of_it_is_left_out() -> None:
    for url in profiles().definitions:
        if url.startswith("https://fhirserver.example/"):
            profiles().overlay(url, thorough=True)
            assert profiles().notes(url) == ()
            assert profiles().snapshot(url)


def test_the_reference_names_everything_that_is_defined() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "profiles-br.md").read_text()
    for package in packages():
        for resource in package.resources:
            name = resource["code"] if resource["resourceType"] == "SearchParameter" else resource["url"]
            assert f"`{name.rpartition('/')[2]}`" in page, name
            rules = [
                r
                for e in resource.get("differential", {}).get("element", ())
                for r in e.get("constraint", ())
            ]
            for rule in rules:
                assert f"`{rule['key']}`" in page, rule["key"]


def test_search_parameters_of_the_extensions_find_their_values() -> None:
    parameters = [r for p in packages() for r in p.resources if r["resourceType"] == "SearchParameter"]
    assert len(parameters) == 7
    indexer = Indexer(
        Definitions.load().with_parameters(parameters), "default", "https://clinic.example/fhir"
    )

    def indexed(name: str, code: str) -> list[str]:
        resource = read(ROOT / "br" / "examples" / "valid" / f"{name}.json")
        entries: list[str] = indexer.index(resource["resourceType"], resource).ix.get(code, [])
        return entries

    assert "3550308" in indexed("br-patient-cpf", "municipio-ibge")
    assert "3550308" in indexed("br-organization-clinica", "municipio-ibge")
    assert "recem-nascido" in indexed("br-patient-recem-nascido", "sem-documento")
    assert "AC" in indexed("br-practitioner-psicologa", "uf-conselho")
    assert indexed("br-coverage", "plano") == ["essencial"]
    assert "473828151" in indexed("br-coverage", "plano-registro")
    assert "4.03.00" in indexed("br-organization-operadora", "tiss-versao")
    assert "consulta" in indexed("br-claim-consulta", "tipo-guia")
    assert indexed("br-patient-cpf", "sem-documento") == []
