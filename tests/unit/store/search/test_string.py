"""String parameters. hl7.org/fhir/R4/search.html#string, #modifiers, #escaping."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from fhirserver.outcome import BadRequest, InvalidSearchValue
from tests.kit.corpus import Corpus


def patient(id: str, family: str | None = None, *given: str, **elements: Any) -> dict[str, Any]:
    name = [{"family": family, "given": list(given)}] if family else []
    return {"resourceType": "Patient", "id": id, **({"name": name} if name else {}), **elements}


@pytest.fixture(scope="module")
def corpus(make_corpus: Any) -> Corpus:
    made: Corpus = make_corpus(
        patient("joao", "Araújo", "João", "Luís"),
        patient("joana", "de  Souza", "Joana", address=[{"city": "São Paulo", "line": ["Rua $ne, 12"]}]),
        patient("regex", ".*", "(a+)+$"),
        patient("dollar", "$ne", "a,b", "c|d", "e\\f"),
        patient("none"),
        {"resourceType": "Patient", "id": "both", "name": [{"family": "Lima"}, {"family": "Costa"}]},
    )
    return made


@pytest.mark.parametrize(
    ("parameter", "modifier", "value", "matches"),
    [
        ("family", "", "araujo", "joao"),
        ("family", "", "ARAÚJO", "joao"),
        ("family", "", "ara", "joao"),
        ("family", "", "raujo", ""),
        ("family", "", "De Souza", "joana"),
        ("family", "", "souza", ""),
        ("family", ":contains", "SOUZA", "joana"),
        ("family", ":contains", "új", "joao"),
        ("family", ":exact", "Araújo", "joao"),
        ("family", ":exact", "Araujo", ""),
        ("family", ":exact", "Ara", ""),
        ("family", ":exact", "de  Souza", "joana"),
        ("family", ":exact", "de Souza", ""),
        ("given", "", "joa", "joana joao"),
        ("given", "", "joão,joana", "joana joao"),
        ("given", "", "luis", "joao"),
        ("name", "", "joana", "joana"),
        ("name", "", "araujo,lima", "both joao"),
        ("family", ":missing", "true", "none"),
        ("family", ":missing", "false", "both dollar joana joao regex"),
        ("address-city", "", "sao", "joana"),
        ("address", ":contains", "$ne", "joana"),
        # Hostile values are text.
        ("family", "", ".*", "regex"),
        ("family", ":contains", ".", "regex"),
        ("family", ":contains", ".*.*", ""),
        ("given", ":contains", "(a+)+$", "regex"),
        ("given", ":contains", "a" * 10_000 + "!", ""),
        ("family", "", "$ne", "dollar"),
        ("family", ":exact", "$ne", "dollar"),
        ("family", "", '{"$gt":""}', ""),
        ("family", "", "x\x00", ""),
        ("family", ":contains", "ar\x00", ""),
        ("family", ":exact", "\x00", ""),
        ("family", "", "y" * 1_000_000, ""),
        ("family", ":exact", "y" * 1_000_000, ""),
        ("family", "", "\U0010ffff", ""),
        # Escapes.
        ("given", ":exact", "a\\,b", "dollar"),
        ("given", ":exact", "c\\|d", "dollar"),
        ("given", ":exact", "e\\\\f", "dollar"),
        ("given", ":exact", "a,b", ""),
    ],
)
def test_a_string_matches(corpus: Corpus, parameter: str, modifier: str, value: str, matches: str) -> None:
    assert found(corpus, (parameter + modifier, value)) == matches


def found(corpus: Corpus, *pairs: tuple[str, str]) -> str:
    return corpus.found("Patient?" + urlencode(pairs))


def test_two_conditions_may_be_met_by_different_names(corpus: Corpus) -> None:
    assert found(corpus, ("family", "lima"), ("family", "costa")) == "both"
    assert found(corpus, ("family", "lima"), ("family", "souza")) == ""


@pytest.mark.parametrize(
    ("name", "value", "error", "code"),
    [
        ("family", "", InvalidSearchValue, "search-value-empty"),
        ("family", ",", InvalidSearchValue, "search-value-empty"),
        ("family", " ", InvalidSearchValue, "search-value-empty"),
        ("family:missing", "yes", InvalidSearchValue, "search-value-missing"),
        ("family:text", "x", BadRequest, "modifier-unknown"),
        ("family:not", "x", BadRequest, "modifier-unknown"),
        ("family:Exact", "x", BadRequest, "modifier-unknown"),
        ("family:", "x", None, ""),
        ("family:contains", "z" * 1_000_000, InvalidSearchValue, "search-value-too-long"),
        ("family[$ne]", "x", BadRequest, "parameter-unknown"),
        ("$where", "1", BadRequest, "parameter-unknown"),
        ("ix.family", "x", BadRequest, "parameter-unknown"),
    ],
)
def test_a_string_search_is_refused(
    corpus: Corpus, name: str, value: str, error: type[BadRequest] | None, code: str
) -> None:
    if error is None:
        found(corpus, (name, value))
        return
    with pytest.raises(error) as caught:
        found(corpus, (name, value))
    assert caught.value.issues[0].code == code
    assert "zzz" not in caught.value.issues[0].text
