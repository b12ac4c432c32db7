"""Search parameters and compartments of R4, and a clinic's own.

Covers hl7.org/fhir/R4/searchparameter-registry.html.
"""

from pathlib import Path
from typing import Any

import orjson
import pytest

from fhirserver.outcome import OutcomeError
from fhirserver.r4.definitions import Definitions
from fhirserver.r4.distil import searchparams
from fhirserver.r4.paths import parse_path
from fhirserver.r4.paths_types import TABLES
from tests.kit.package import package_dir


@pytest.fixture(scope="module")
def definitions() -> Definitions:
    return Definitions.load()


def test_there_are_all_146_concrete_resource_types_of_r4(definitions: Definitions) -> None:
    codes = orjson.loads((package_dir() / "CodeSystem-resource-types.json").read_bytes())["concept"]
    assert set(definitions.resource_types) == {c["code"] for c in codes} - {"Resource", "DomainResource"}
    assert len(definitions.resource_types) == 146


def test_every_expression_of_r4_parses_and_every_parameter_has_values(definitions: Definitions) -> None:
    count = 0
    for name in definitions.resource_types:
        for parameter in definitions.search_parameters(name).values():
            count += 1
            if parameter.code in ("_text", "_content"):
                continue
            parse_path(parameter.expression)
            assert parameter.branches, (name, parameter.code)
            if parameter.type == "composite":
                assert len(parameter.components) >= 2
                assert all(part for focus in parameter.component_branches for part in focus), parameter.code
    assert count == 2871


def test_the_tables_are_what_the_package_distils_to(tmp_path: Path) -> None:
    for name in ("elements.json", "valuesets.json"):
        (tmp_path / name).write_bytes((TABLES / name).read_bytes())
    searchparams.distil(package_dir(), tmp_path)
    for name in ("searchparams.json", "compartments.json"):
        assert (tmp_path / name).read_bytes() == (TABLES / name).read_bytes(), name


def test_every_published_parameter_is_taken_or_left_out_for_a_reason(definitions: Definitions) -> None:
    left_out = set()
    for path in package_dir().glob("SearchParameter-*.json"):
        url = orjson.loads(path.read_bytes())["url"]
        if url not in definitions.by_url:
            left_out.add(url.rpartition("/")[2])
    assert left_out == {
        "example",
        "example-extension",
        "example-reference",
        "filter",
        "Resource-query",
        "patient-extensions-Patient-age",
        "patient-extensions-Patient-birthOrderBoolean",
        "codesystem-extensions-CodeSystem-author",
        "codesystem-extensions-CodeSystem-effective",
        "codesystem-extensions-CodeSystem-end",
        "codesystem-extensions-CodeSystem-keyword",
        "codesystem-extensions-CodeSystem-workflow",
        "valueset-extensions-ValueSet-author",
        "valueset-extensions-ValueSet-effective",
        "valueset-extensions-ValueSet-end",
        "valueset-extensions-ValueSet-keyword",
        "valueset-extensions-ValueSet-workflow",
    }


@pytest.mark.parametrize(
    ("type", "code", "kind", "steps", "repeats"),
    [
        ("Patient", "birthdate", "date", [("birthDate",)], False),
        ("Patient", "death-date", "date", [("deceasedDateTime",)], False),
        ("Patient", "family", "string", [("name", "family")], True),
        (
            "Observation",
            "date",
            "date",
            [("effectiveDateTime",), ("effectivePeriod",), ("effectiveTiming",), ("effectiveInstant",)],
            False,
        ),
        ("Observation", "value-date", "date", [("valueDateTime",), ("valuePeriod",)], False),
        ("Observation", "_tag", "token", [("meta", "tag")], True),
        ("Condition", "onset-age", "quantity", [("onsetAge",), ("onsetRange",)], False),
        ("Practitioner", "given", "string", [("name", "given")], True),
        ("Person", "given", None, [], False),
        ("Bundle", "_text", None, [], False),
        ("ValueSet", "reference", "uri", [("compose", "include", "system")], True),
        ("Composition", "identifier", "token", [("identifier",)], False),
    ],
)
def test_a_parameter_leads_to_its_json(
    definitions: Definitions,
    type: str,
    code: str,
    kind: str | None,
    steps: list[tuple[str, ...]],
    repeats: bool,
) -> None:
    parameter = definitions.search_parameters(type).get(code)
    if kind is None:
        assert parameter is None
        return
    assert parameter is not None
    assert (parameter.type, [b.steps for b in parameter.branches], parameter.repeats) == (
        kind,
        steps,
        repeats,
    )


def test_reference_targets_and_implied_systems(definitions: Definitions) -> None:
    observation = definitions.search_parameters("Observation")
    assert set(observation["subject"].targets) == {"Group", "Device", "Patient", "Location"}
    assert observation["status"].systems == {"http://hl7.org/fhir/observation-status"}
    assert observation["code"].systems == frozenset()


def test_compartments(definitions: Definitions) -> None:
    assert set(definitions.compartments) == {
        "Patient",
        "Encounter",
        "Practitioner",
        "RelatedPerson",
        "Device",
    }
    assert definitions.compartment("Patient")["Observation"] == ("subject", "performer")
    assert definitions.compartment("Encounter")["Encounter"] == ("{def}",)
    assert "Practitioner" not in definitions.compartment("Patient")
    assert definitions.compartment("Organization") == {}


def test_an_unknown_type_has_no_parameters(definitions: Definitions) -> None:
    assert definitions.search_parameters("Nothing") == {}


def own(**changes: Any) -> dict[str, Any]:
    resource = {
        "resourceType": "SearchParameter",
        "url": "http://clinic.example/sp/cpf",
        "code": "cpf",
        "type": "token",
        "base": ["Patient"],
        "expression": "Patient.identifier.where(system='http://cpf')",
    }
    return {k: v for k, v in (resource | changes).items() if v is not None}


def test_a_clinics_own_parameter_joins_those_of_r4(definitions: Definitions) -> None:
    mine = definitions.with_parameters([own()])
    assert mine.search_parameters("Patient")["cpf"].type == "token"
    assert "cpf" not in definitions.search_parameters("Patient")
    assert "cpf" not in mine.search_parameters("Observation")


def test_an_own_parameter_replaces_its_earlier_version(definitions: Definitions) -> None:
    mine = definitions.with_parameters([own(), own(code="cpf2")])
    assert "cpf" not in mine.search_parameters("Patient")
    assert "cpf2" in mine.search_parameters("Patient")


def test_an_own_composite_uses_known_parameters(definitions: Definitions) -> None:
    core = "http://hl7.org/fhir/SearchParameter/"
    composite = own(
        type="composite",
        base=["Observation"],
        expression="Observation",
        component=[
            {"definition": core + "clinical-code", "expression": "code"},
            {"definition": core + "clinical-date", "expression": "effective"},
        ],
    )
    parameter = definitions.with_parameters([composite]).search_parameters("Observation")["cpf"]
    assert [(c.code, c.type) for c in parameter.components] == [("code", "token"), ("date", "date")]


def test_an_own_parameter_on_every_resource(definitions: Definitions) -> None:
    everywhere = own(
        base=["DomainResource"], expression="DomainResource.extension('http://x/unit').value as code"
    )
    mine = definitions.with_parameters([everywhere])
    assert "cpf" in mine.search_parameters("Slot")
    assert "cpf" not in mine.search_parameters("Bundle")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"code": "family", "url": "http://clinic.example/sp/f"}, 409, "search-parameter-taken"),
        ({"code": "_tag"}, 400, "search-parameter-code"),
        ({"code": "$where"}, 400, "search-parameter-code"),
        ({"code": "a.b"}, 400, "search-parameter-code"),
        ({"code": "x~s"}, 400, "search-parameter-code"),
        ({"code": None}, 400, "search-parameter-incomplete"),
        ({"expression": None}, 400, "search-parameter-incomplete"),
        ({"base": ["Nothing"]}, 400, "search-parameter-base"),
        ({"base": []}, 400, "search-parameter-base"),
        ({"type": "special"}, 400, "search-parameter-type"),
        ({"type": "date"}, 400, "search-parameter-type"),
        ({"expression": "Patient.identifier.where("}, 400, "fhirpath-syntax"),
        ({"expression": "Patient.nothing"}, 400, "search-parameter-expression"),
        ({"expression": "Observation.code"}, 400, "search-parameter-expression"),
        ({"type": "composite"}, 400, "search-parameter-component"),
        ({"url": "http://hl7.org/fhir/SearchParameter/individual-family"}, 409, "search-parameter-taken"),
        (
            {"code": "name", "base": ["Resource"], "expression": "Resource.meta.tag"},
            409,
            "search-parameter-taken",
        ),
    ],
)
def test_what_cannot_be_searched_by_is_refused(
    definitions: Definitions, changes: dict[str, Any], status: int, code: str
) -> None:
    with pytest.raises(OutcomeError) as error:
        definitions.with_parameters([own(**changes)])
    assert (error.value.status, error.value.issues[0].code) == (status, code)
