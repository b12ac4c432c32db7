"""_include and _revinclude, :iterate and *. hl7.org/fhir/R4/search.html#include."""

from __future__ import annotations

import pytest

from tests.kit.builders import an_observation
from tests.kit.catalogue import Catalogue
from tests.kit.client import Fhir, unique


@pytest.fixture(scope="module")
def web(fhir: Fhir) -> Catalogue:
    return Catalogue(
        fhir, "inc",
        {"resourceType": "Organization", "id": "top", "name": "Top"},
        {"resourceType": "Organization", "id": "unit", "name": "Unit", "partOf": {"reference": "Organization/@top"}},
        {"resourceType": "Practitioner", "id": "dra", "name": [{"family": "Prado"}]},
        {"resourceType": "Patient", "id": "ana", "managingOrganization": {"reference": "Organization/@unit"},
         "generalPractitioner": [{"reference": "Practitioner/@dra"}]},
        {"resourceType": "Encounter", "id": "visit", "status": "finished", "class": {"code": "AMB"},
         "subject": {"reference": "Patient/@ana"}, "serviceProvider": {"reference": "Organization/@unit"}},
        an_observation("Patient/@ana", id="weight", encounter={"reference": "Encounter/@visit"}),
        an_observation("Patient/@ana", id="height", performer=[{"reference": "Practitioner/@dra"}]),
        {"resourceType": "Provenance", "id": "origin", "target": [{"reference": "Observation/@weight"}],
         "recorded": "2026-01-01T00:00:00Z", "agent": [{"who": {"reference": "Practitioner/@dra"}}]},
    )  # fmt: skip


@pytest.mark.verifies("search-include-1")
@pytest.mark.parametrize(
    ("type", "includes", "included"),
    [
        ("Observation", ["_include=Observation:patient"], "ana"),
        ("Observation", ["_include=Observation:subject:Patient"], "ana"),
        ("Observation", ["_include=Observation:subject:Group"], ""),
        ("Observation", ["_include=Observation:performer", "_include=Observation:encounter"], "dra visit"),
        ("Observation", ["_include=Observation:*"], "ana dra visit"),
        ("Observation", ["_include=*"], "ana dra visit"),
        ("Observation", ["_include=Observation:patient", "_include=Patient:organization"], "ana"),
        ("Observation", ["_include=Observation:patient", "_include:iterate=Patient:organization"], "ana unit"),
        (
            "Observation",
            ["_include=Observation:patient", "_include:iterate=Patient:organization", "_include:iterate=Organization:partof"],
            "ana top unit",
        ),
        ("Patient", ["_revinclude=Observation:patient"], "height weight"),
        ("Patient", ["_revinclude=Observation:patient", "_revinclude=Encounter:patient"], "height visit weight"),
        ("Patient", ["_revinclude=Observation:patient", "_revinclude:iterate=Provenance:target"], "height origin weight"),
        ("Patient", ["_revinclude=Observation:*"], "height weight"),
        ("Patient", ["_revinclude=*"], "height visit weight"),
        ("Patient", ["_include=Patient:organization", "_revinclude=Encounter:subject"], "unit visit"),
    ],
)  # fmt: skip
def test_includes(web: Catalogue, type: str, includes: list[str], included: str) -> None:
    pairs = [(name, value) for name, _, value in (text.partition("=") for text in includes)]
    assert web.included(type, *pairs) == included


def test_what_is_included_is_there_once_and_marked(web: Catalogue) -> None:
    body = web.search("Observation", ("_include", "Observation:patient")).json()
    modes = [(e["resource"]["resourceType"], e["search"]["mode"]) for e in body["entry"]]
    assert sorted(modes) == [("Observation", "match"), ("Observation", "match"), ("Patient", "include")]
    assert body["total"] == 2


def test_what_is_not_there_is_left_out(fhir: Fhir) -> None:
    made = fhir.made(an_observation(f"Patient/{unique('nobody')}"))
    body = fhir.get(f"/Observation?_id={made['id']}&_include=Observation:patient").json()
    assert len(body["entry"]) == 1


@pytest.mark.parametrize(
    ("parameter", "value", "code"),
    [
        ("_include", "Nonsense:patient", "include-unknown"),
        ("_include", "Observation:nonsense", "include-unknown"),
        ("_include", "Observation:code", "include-unknown"),
        ("_include", "Observation", "include-malformed"),
        ("_include", "", "include-malformed"),
        ("_include:exact", "Observation:patient", "modifier-unknown"),
        ("_revinclude", "Patient:a:b:c", "include-malformed"),
    ],
)
def test_an_include_is_refused(web: Catalogue, parameter: str, value: str, code: str) -> None:
    assert web.refused("Observation", (parameter, value)) == code
