"""Every spelling of an identifier, telephone number or CEP finds every other; nothing else does.

Source: docs/explanation/brazilian-identifiers.md
"""

from __future__ import annotations

from itertools import product

import pytest

from fhirserver.search.types import string, token

SID = "https://saude.gov.br/fhir/sid/"
CPF = [
    (system, value)
    for system in (
        f"{SID}cpf",
        "http://saude.gov.br/fhir/sid/cpf",
        "http://rnds-fhir.saude.gov.br/NamingSystem/CPF",
        "https://rnds.saude.gov.br/fhir/r4/NamingSystem/cpf",
        "http://www.saude.gov.br/fhir/r4/NamingSystem/cpf",
        "urn:oid:2.16.840.1.113883.13.237",
    )
    for value in ("52998224725", "529.982.247-25")
]
PHONES = [
    "(11) 98765-4321",
    "11987654321",
    "+5511987654321",
    "5511987654321",
    " 5511987654321",
    "011 98765-4321",
]
CEPS = ["01310-100", "01310100"]


def stored(system: str, value: str) -> set[str]:
    return set(token.index("Identifier", {"system": system, "value": value})[0])


def asked(text: str, type_: str = "Identifier") -> set[str]:
    return set(token.parse(text, types=(type_,)).keys)


@pytest.mark.parametrize(("one", "other"), list(product(CPF, CPF)))
def test_every_spelling_of_a_cpf_finds_every_other(one: tuple[str, str], other: tuple[str, str]) -> None:
    entries = stored(*one)
    assert asked("|".join(other)) & entries
    assert asked(f"{other[0]}|") & entries
    assert not asked(f"{other[0]}|52998224724") & entries
    assert not asked(f"{SID}cns|{other[1]}") & entries
    assert not asked(f"http://example.org/cpf|{other[1]}") & entries


@pytest.mark.parametrize(("one", "other"), list(product(["52998224725", "529.982.247-25"], repeat=2)))
def test_a_cpf_without_a_system_is_found_in_any_mask(one: str, other: str) -> None:
    assert asked(other) & stored(f"{SID}cpf", one)
    assert not asked(other) & stored(f"{SID}cpf", "39053344705")


@pytest.mark.parametrize(("one", "other"), list(product(PHONES, PHONES)))
def test_every_spelling_of_a_telephone_number_finds_every_other(one: str, other: str) -> None:
    entries = set(token.index("ContactPoint", {"system": "phone", "value": one})[0])
    assert asked(other, "ContactPoint") & entries
    assert asked(f"|{other}", "ContactPoint") & entries
    assert not asked("11987654322", "ContactPoint") & entries
    email = token.index("ContactPoint", {"system": "email", "value": one})[0]
    assert email == [one, f"|{one}"]


@pytest.mark.parametrize("type_", ["Address", string.POSTAL_CODE])
@pytest.mark.parametrize("written", CEPS)
def test_a_cep_is_stored_without_its_hyphen_as_well(type_: str, written: str) -> None:
    value = {"postalCode": written, "city": "São Paulo"} if type_ == "Address" else written
    folded = [entry for entry, _ in string.index(type_, value)]
    assert "01310100" in folded
    assert written in folded
    assert {original for entry, original in string.index(type_, value) if entry == "01310100"} == {written}


def test_a_canonical_identifier_has_no_further_entries() -> None:
    entries = token.index("Identifier", {"system": f"{SID}cpf", "value": "52998224725"})[0]
    assert entries == ["52998224725", f"{SID}cpf|52998224725", f"{SID}cpf|"]
    plain = token.index("Identifier", {"system": "http://example.org/x", "value": "529.982.247-25"})[0]
    assert plain == ["529.982.247-25", "http://example.org/x|529.982.247-25", "http://example.org/x|"]
