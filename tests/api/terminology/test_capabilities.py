"""The terminology operations are declared, and what is declared is offered."""

from __future__ import annotations

import pytest

from tests.kit.client import Fhir, assert_outcome
from tests.kit.terminology import a_code_system, an_url


def test_the_capability_statement_names_the_operations(fhir: Fhir) -> None:
    resources = {r["type"]: r for r in fhir.get("/metadata").json()["rest"][0]["resource"]}
    core = "http://hl7.org/fhir/OperationDefinition"
    for type, names in {
        "ValueSet": {"expand", "validate-code"},
        "CodeSystem": {"lookup", "validate-code", "subsumes"},
        "ConceptMap": {"translate"},
    }.items():
        declared = {o["name"]: o["definition"] for o in resources[type]["operation"]}
        assert {name: f"{core}/{type}-{name}" for name in names}.items() <= declared.items()
    assert "expand" not in {o["name"] for o in resources["Patient"]["operation"]}


@pytest.mark.verifies("terminology-capabilities-1")
def test_the_terminology_capabilities_name_the_code_systems(fhir: Fhir) -> None:
    url = an_url("declared")
    fhir.made(a_code_system(url, version="7"))
    statement = fhir.get("/metadata?mode=terminology").json()
    assert statement["resourceType"] == "TerminologyCapabilities"
    systems = {s["uri"]: [v["code"] for v in s.get("version", [])] for s in statement["codeSystem"]}
    assert systems[url] == ["7"]
    assert "http://unitsofmeasure.org" in systems
    assert "https://fhirserver.example/br/CodeSystem/tuss-38" in systems
    assert "http://loinc.org" not in systems
    assert {p["name"] for p in statement["expansion"]["parameter"]} >= {"url", "filter", "offset", "count"}
    checked = fhir.create(statement | {"status": "draft"})
    assert checked.status_code == 201, checked.text  # it is valid by the server's own validator


def test_closed_doors_stay_closed(fhir: Fhir) -> None:
    assert_outcome(fhir.get("/ConceptMap/$closure"), 404, "not-found", "operation-unknown")
    assert_outcome(fhir.get("/ValueSet/$lookup"), 404, "not-found", "operation-unknown")
    assert_outcome(fhir.delete("/ValueSet/$expand"), 405, "not-supported", "method-not-allowed")
