"""String parameters fold case and accents. hl7.org/fhir/R4/search.html#string, #modifiers, #escaping."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.catalogue import Catalogue
from tests.kit.client import Fhir


def named(id: str, family: str, *given: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id, "name": [{"family": family, "given": list(given)}]} | more


@pytest.fixture(scope="module")
def people(fhir: Fhir) -> Catalogue:
    return Catalogue(
        fhir, "str",
        named("conceicao", "Conceição", "José", "Antônio", address=[{"city": "São João del-Rei", "line": ["Rua 7, 12"]}]),
        named("conceitos", "CONCEITOS", "Ana"), named("silva", "Silva e Silva", "Anaïs"),
        named("regex", "(a+)+$", ".*"), named("comma", "Lima, Filho", "c|d"),
        named("dollar", "$where", '{"$ne": null}'), named("slash", "a\\b", "Zé"),
        {"resourceType": "Patient", "id": "nameless"},
    )  # fmt: skip


@pytest.mark.verifies("search-string-1")
@pytest.mark.parametrize(
    ("parameter", "modifier", "value", "matches"),
    [
        ("family", "", "conceicao", "conceicao"),
        ("family", "", "CONCEIÇÃO", "conceicao"),
        ("family", "", "concei", "conceicao conceitos"),
        ("family", "", "eição", ""),
        ("family", ":contains", "eição", "conceicao"),
        ("family", ":contains", "e sil", "silva"),
        ("family", ":exact", "Conceição", "conceicao"),
        ("family", ":exact", "Conceicao", ""),
        ("family", ":exact", "Concei", ""),
        ("family", ":missing", "true", "nameless"),
        ("given", "", "ana", "conceitos silva"),
        ("given", "", "ANAÏS", "silva"),
        ("given", "", "jose,ze", "conceicao slash"),
        ("name", "", "antonio", "conceicao"),
        ("address", "", "sao joao", "conceicao"),
        ("address-city", ":exact", "São João del-Rei", "conceicao"),
        # escapes
        ("family", "", "lima\\, filho", "comma"),
        ("family", "", "lima, silva", "comma silva"),
        ("given", ":exact", "c\\|d", "comma"),
        ("family", ":exact", "a\\\\b", "slash"),
        # hostile values are data
        ("family", "", "(a+)+$", "regex"),
        ("given", "", ".*", "regex"),
        ("given", ":contains", ".", "regex"),
        ("family", ":contains", "[a-z", ""),
        ("family", "", "$where", "dollar"),
        ("given", "", '{"$ne": null}', "dollar"),
        ("family", "", "x\x00y", ""),
        ("family", "", "%", ""),
        ("family", "", "_", ""),
    ],
)
def test_a_string_matches(people: Catalogue, parameter: str, modifier: str, value: str, matches: str) -> None:
    assert people.found("Patient", (parameter + modifier, value)) == matches


@pytest.mark.parametrize(
    ("parameter", "modifier", "value", "code"),
    [
        ("family", "", "", "search-value-empty"),
        ("family", ":not", "x", "modifier-unknown"),
        ("family", ":regex", "x", "modifier-unknown"),
        ("family", "[$ne]", "x", "parameter-unknown"),
        ("nickname", "", "x", "parameter-unknown"),
    ],
)
def test_a_string_is_refused(people: Catalogue, parameter: str, modifier: str, value: str, code: str) -> None:
    assert people.refused("Patient", (parameter + modifier, value)) == code


def test_an_unknown_parameter_is_told_what_there_is_but_not_what_was_asked(people: Catalogue) -> None:
    told = people.search("Patient", ("famly", "x")).json()["issue"][0]["details"]["text"]
    assert "family" in told
    assert "famly" not in told


def test_a_value_of_a_megabyte_is_data_by_post(people: Catalogue) -> None:
    huge = "y" * 1_000_000
    response = people.search("Patient", ("family", huge), post=True)
    assert response.status_code == 200
    assert "entry" not in response.json()
    assert "match" in people.search("Patient", ("family", "silva"), post=True).text
