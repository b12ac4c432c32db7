"""The packages of profiles/ through the door that every package takes, and what writes are answered then.

Source: docs/reference/profiles-br.md
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fhirserver.cli import main
from fhirserver.data import data_root
from tests.kit.client import JSON, Fhir
from tests.kit.server import Server
from tests.kit.wait import eventually

ROOT = data_root("profiles")
PATIENT = "https://fhirserver.example/br/StructureDefinition/br-patient"


def read(path: str) -> dict[str, Any]:
    resource: dict[str, Any] = json.loads((ROOT / path).read_text())
    return resource


@pytest.fixture(scope="module")
def packages(server: Server, fhir: Fhir) -> Iterator[Path]:
    """The server knows both packages."""
    folders = [str(ROOT / "clinic"), str(ROOT / "br")]
    assert main(["package", "add", *folders, "--data-dir", str(server.data_dir)]) == 0
    question = f"/Patient/$validate?profile={PATIENT}"
    body = read("br/examples/valid/br-patient-cpf.json")
    assert eventually(
        lambda: fhir.post(question, json=body, headers={"content-type": JSON}).status_code == 200
    )
    yield ROOT
    names = ["fhirserver.br", "fhirserver.clinic"]
    assert main(["package", "remove", *names, "--data-dir", str(server.data_dir)]) == 0


@pytest.mark.parametrize(
    "name",
    [
        "br/%s/br-patient-sem-documento",
        "br/%s/br-claim-consulta-dois-itens",
        "clinic/%s/clinic-slot-ao-contrario",
    ],
)
def test_a_write_that_claims_a_profile_must_conform(fhir: Fhir, packages: Path, name: str) -> None:
    wrong = read(name % "examples/invalid" + ".json")
    expected = read(name % "examples/invalid" + ".outcome.json")["issue"][0]
    response = fhir.create(wrong)
    assert response.status_code == 422
    assert (expected["details"]["coding"], expected["expression"]) in [
        (issue["details"]["coding"], issue["expression"]) for issue in response.json()["issue"]
    ]
    unclaimed = {key: value for key, value in wrong.items() if key != "meta"}
    assert fhir.create(unclaimed).status_code == 201


@pytest.mark.parametrize(
    "name",
    ["br/%s/br-patient-cpf", "br/%s/br-claim-sp-sadt", "br/%s/br-coverage", "clinic/%s/clinic-appointment"],
)
def test_a_write_that_conforms_is_stored(fhir: Fhir, packages: Path, name: str) -> None:
    resource = read(name % "examples/valid" + ".json")
    stored = fhir.made(resource)
    assert stored["meta"]["profile"] == resource["meta"]["profile"]


def test_a_code_that_a_value_set_of_the_package_has_not_is_refused(fhir: Fhir, packages: Path) -> None:
    wrong = read("br/examples/invalid/br-patient-motivo-desconhecido.json")
    response = fhir.create(wrong)
    assert response.status_code == 422
    assert "code-not-in-value-set" in response.text
