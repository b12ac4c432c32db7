"""Search that is blind to masks and aliases, and refused check digits, over HTTP.

Source: docs/explanation/brazilian-identifiers.md (ID-1 to ID-3)
"""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.kit.builders import a_patient
from tests.kit.client import Fhir, assert_outcome, unique

SID = "https://saude.gov.br/fhir/sid/"
RNDS = "http://rnds-fhir.saude.gov.br/NamingSystem/"
OID = "urn:oid:2.16.840.1.113883.13.237"
CPF, MASKED = "39053344705", "390.533.447-05"
HC = "http://terminology.hl7.org/CodeSystem/v2-0203|TAX|"


@pytest.fixture(scope="module")
def person(fhir: Fhir) -> str:
    """A patient under an alias, with masks everywhere."""
    patient = a_patient(
        identifier=[
            {
                "system": f"{RNDS}CPF",
                "value": MASKED,
                "type": {"coding": [{"system": HC.split("|")[0], "code": "TAX"}]},
            }
        ],
        telecom=[{"system": "phone", "value": "(11) 98765-0421"}],
        address=[{"postalCode": "01310-921", "city": "São Paulo", "state": "SP"}],
    )
    stored = fhir.made(patient)
    assert stored["identifier"][0]["value"] == MASKED
    assert stored["identifier"][0]["system"] == f"{RNDS}CPF"
    return f"Patient/{stored['id']}"


@pytest.mark.parametrize(
    ("parameter", "value", "matches"),
    [
        ("identifier", f"{SID}cpf|{CPF}", True),
        ("identifier", f"{SID}cpf|{MASKED}", True),
        ("identifier", f"{OID}|{MASKED}", True),
        ("identifier", f"http://saude.gov.br/fhir/sid/cpf|{CPF}", True),
        ("identifier", f"{RNDS}CPF|{MASKED}", True),
        ("identifier", f"{RNDS}CPF|", True),
        ("identifier", f"{OID}|", True),
        ("identifier", CPF, True),
        ("identifier", MASKED, True),
        ("identifier:of-type", f"{HC}{CPF}", True),
        ("identifier:of-type", f"{HC}{MASKED}", True),
        ("identifier:not", f"{OID}|{CPF}", False),
        ("identifier", f"{SID}cns|{CPF}", False),
        ("identifier", f"http://example.org/cpf|{MASKED}", False),
        ("identifier", f"|{CPF}", False),
        ("identifier", f"{SID}cpf|39053344706", False),
        ("phone", "11987650421", True),
        ("phone", "+5511987650421", True),
        ("phone", "(11) 98765-0421", True),
        ("telecom", "55 11 98765-0421", True),
        ("phone", "11987650422", False),
        ("email", "11987650421", False),
        ("address-postalcode", "01310-921", True),
        ("address-postalcode", "01310921", True),
        ("address-postalcode", "01310-9", True),
        ("address", "01310921", True),
        ("address-postalcode:exact", "01310-921", True),
        ("address-postalcode:exact", "01310921", False),
        ("address-postalcode", "01310-922", False),
        ("address-city", "01310921", False),
        ("_filter", f'identifier eq "{SID}cpf|{CPF}"', True),
    ],
)
def test_search_is_blind_to_masks_and_aliases(
    fhir: Fhir, person: str, parameter: str, value: str, matches: bool
) -> None:
    id = person.removeprefix("Patient/")
    found = fhir.ids(f"/Patient?_id={id}&{parameter}={quote(value)}")
    assert found == ([person] if matches else [])


@pytest.mark.parametrize(
    ("system", "value"), [(SID + "cnpj", "12ABC34501DE35"), (SID + "cnpj", "12.abc.345/01de-35")]
)
def test_references_by_identifier_are_found_in_any_mask(fhir: Fhir, system: str, value: str) -> None:
    patient = a_patient(
        managingOrganization={"identifier": {"system": f"{RNDS}cnpj", "value": "12.ABC.345/01DE-35"}},
        identifier=[{"system": "http://example.org/x", "value": (mark := unique("ref"))}],
    )
    made = fhir.made(patient)
    url = f"/Patient?identifier={mark}&organization:identifier={quote(f'{system}|{value}')}"
    assert fhir.ids(url) == [f"Patient/{made['id']}"]
    assert fhir.ids(url.replace("DE35", "DE36").replace("de-35", "de-36")) == []


def test_a_conditional_create_finds_the_same_person_under_an_alias(fhir: Fhir) -> None:
    cns = "959310341316479"
    first = fhir.create(a_patient(identifier=[{"system": f"{SID}cns", "value": cns}]))
    again = fhir.create(a_patient(), if_none_exist=f"identifier=urn:oid:2.16.840.1.113883.13.236|{cns}")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["id"] == first.json()["id"]


def test_a_wrong_check_digit_is_refused_and_a_right_one_is_stored_as_it_came(fhir: Fhir) -> None:
    wrong = a_patient(identifier=[{"system": OID, "value": "390.533.447-06"}])
    refused = fhir.create(wrong)
    assert refused.status_code == 422
    issue = refused.json()["issue"][0]
    assert issue["code"] == "value"
    assert issue["details"]["coding"] == [
        {"system": "https://fhirserver.example/br/CodeSystem/regra", "code": "CAD-01"}
    ]
    assert issue["expression"] == ["Patient.identifier[0].value"]
    assert "390" not in refused.text
    right = {"system": OID, "value": "529.982.247-25"}
    assert fhir.made(a_patient(identifier=[right]))["identifier"] == [right]


def test_a_patch_to_a_wrong_check_digit_is_refused(fhir: Fhir, person: str) -> None:
    patch = [{"op": "replace", "path": "/identifier/0/value", "value": "39053344706"}]
    response = fhir.patch(f"/{person}", json=patch, headers={"content-type": "application/json-patch+json"})
    assert_rule(response.status_code, response.json())
    batch = fhir.bundle(
        "transaction",
        {
            "resource": a_patient(identifier=[{"system": f"{SID}cpf", "value": "1"}]),
            "request": {"method": "POST", "url": "Patient"},
        },
    )
    assert_rule(batch.status_code, batch.json())


def assert_rule(status: int, outcome: dict[str, object]) -> None:
    assert status == 422
    assert "CAD-01" in str(outcome)


def test_an_unknown_modifier_is_still_refused(fhir: Fhir) -> None:
    assert_outcome(fhir.get("/Patient?phone:exact=1"), 400, "invalid", "modifier-unknown")
