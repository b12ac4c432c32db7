"""near and the parameters of all resources. hl7.org/fhir/R4/search.html#all, location.html#search, search_filter.html."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.catalogue import Catalogue
from tests.kit.client import Fhir


def place(id: str, latitude: float, longitude: float) -> dict[str, Any]:
    return {"resourceType": "Location", "id": id, "name": id,
            "position": {"latitude": latitude, "longitude": longitude}}  # fmt: skip


def narrated(text: str) -> dict[str, str]:
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{text}</div>'}


@pytest.fixture(scope="module")
def things(fhir: Fhir) -> Catalogue:
    vip = {"system": "urn:x", "code": "vip"}
    return Catalogue(
        fhir, "spec",
        place("se", -23.5503, -46.6339), place("paulista", -23.5614, -46.6559), place("rio", -22.9068, -43.1729),
        place("dateline", 0.0, 179.99),
        {"resourceType": "Patient", "id": "ana", "birthDate": "1990-05-05", "gender": "female",
         "name": [{"family": "Araújo"}], "text": narrated("Paciente <b>alérgica</b> a dipirona"),
         "meta": {"tag": [vip], "profile": ["http://x.example/p"], "source": "http://src.example",
                  "security": [{"system": "urn:s", "code": "R"}]}},
        {"resourceType": "Patient", "id": "rui", "gender": "male", "name": [{"family": "Bastos"}],
         "meta": {"profile": ["http://x.example/p|1.0"]}},
        {"resourceType": "List", "id": "list", "status": "current", "mode": "working",
         "entry": [{"item": {"reference": "Patient/@rui"}}]},
    )  # fmt: skip


@pytest.mark.verifies("search-special-1", "search-all-1", "search-text-1", "search-list-1", "search-filter-1")
@pytest.mark.parametrize(
    ("type", "parameter", "modifier", "value", "matches"),
    [
        ("Location", "near", "", "-23.55|-46.63|5|km", "paulista se"),
        ("Location", "near", "", "-23.5503|-46.6339|100|m", "se"),
        ("Location", "near", "", "-23.55|-46.63|500|km", "paulista rio se"),
        ("Location", "near", "", "-23.55|-46.63", "paulista se"),
        ("Location", "near", "", "-23.5503|-46.6339|1|[mi_i]", "se"),
        ("Location", "near", "", "0|-179.99|10|km", "dateline"),
        ("Location", "near", "", "60|10|5|km", ""),
        ("Patient", "_tag", "", "urn:x|vip", "ana"),
        ("Patient", "_security", "", "urn:s|R", "ana"),
        ("Patient", "_security", ":not", "R", "rui"),
        ("Patient", "_source", "", "http://src.example", "ana"),
        ("Patient", "_profile", "", "http://x.example/p", "ana rui"),
        ("Patient", "_profile", "", "http://x.example/p|1.0", "rui"),
        ("Patient", "_text", "", "alergica dipirona", "ana"),
        ("Patient", "_text", "", "alergica cefalexina", ""),
        ("Patient", "_content", "", "bastos", "rui"),
        ("Patient", "_content", "", "dipirona", "ana"),
        ("Patient", "_list", "", "@list", "rui"),
        ("Patient", "_list", "", "@nothing", ""),
        ("Patient", "_filter", "", 'family co "rau" and birthdate lt 2000', "ana"),
        ("Patient", "_filter", "", "not (gender eq female)", "rui"),
        ("Patient", "_filter", "", "gender eq female or gender eq male", "ana rui"),
    ],
)
def test_a_special_parameter_matches(
    things: Catalogue, type: str, parameter: str, modifier: str, value: str, matches: str
) -> None:
    assert things.found(type, (parameter + modifier, value)) == matches


@pytest.mark.parametrize(
    ("type", "parameter", "value", "code"),
    [
        ("Location", "near", "here", "search-value-near"),
        ("Location", "near", "91|0|1|km", "search-value-near"),
        ("Location", "near", "0|0|-1|km", "search-value-near"),
        ("Location", "near", "0|0|1|parsec", "search-value-near"),
        ("Patient", "near", "0|0", "parameter-unknown"),
        ("Patient", "_list", "$current-problems", "functional-list"),
        ("Patient", "_filter", "gender eq", "filter-syntax"),
        ("Patient", "_filter", "gender co male", "filter-operator"),
        ("Patient", "_query", "x", "parameter-unknown"),
    ],
)
def test_a_special_parameter_is_refused(
    things: Catalogue, type: str, parameter: str, value: str, code: str
) -> None:
    assert things.refused(type, (parameter, value)) == code
