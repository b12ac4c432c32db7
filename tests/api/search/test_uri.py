"""Uri parameters: exact, with :above and :below. hl7.org/fhir/R4/search.html#uri."""

from __future__ import annotations

import pytest

from tests.kit.catalogue import Catalogue
from tests.kit.client import Fhir

ACME = "http://acme.example/fhir"


@pytest.fixture(scope="module")
def urls(fhir: Fhir) -> Catalogue:
    named = {"one": f"{ACME}/ValueSet/1", "ten": f"{ACME}/ValueSet/10", "deep": f"{ACME}/ValueSet/1/x",
             "root": ACME, "oid": "urn:oid:1.2.3.4.5"}  # fmt: skip
    return Catalogue(
        fhir, "uri",
        *({"resourceType": "ValueSet", "id": id, "status": "active", "url": url} for id, url in named.items()),
        {"resourceType": "ValueSet", "id": "none", "status": "active"},
    )  # fmt: skip


@pytest.mark.verifies("search-uri-1")
@pytest.mark.parametrize(
    ("parameter", "modifier", "value", "matches"),
    [
        ("url", "", f"{ACME}/ValueSet/1", "one"),
        ("url", "", f"{ACME}/ValueSet/1/", ""),
        ("url", "", f"{ACME}/valueset/1", ""),
        ("url", "", "urn:oid:1.2.3.4.5", "oid"),
        ("url", "", f"{ACME},urn:oid:1.2.3.4.5", "oid root"),
        ("url", ":below", f"{ACME}/ValueSet/", "deep one ten"),
        ("url", ":below", f"{ACME}/ValueSet/1", "deep one"),
        ("url", ":above", f"{ACME}/ValueSet/1/x/y", "deep one root"),
        ("url", ":above", f"{ACME}/ValueSet/10", "root ten"),
        ("url", ":missing", "true", "none"),
        ("url", "", ".*", ""),
    ],
)
def test_a_uri_matches(urls: Catalogue, parameter: str, modifier: str, value: str, matches: str) -> None:
    assert urls.found("ValueSet", (parameter + modifier, value)) == matches


@pytest.mark.parametrize(
    ("modifier", "value", "code"),
    [
        ("", "", "search-value-empty"),
        (":contains", "a", "modifier-unknown"),
        (":exact", "a", "modifier-unknown"),
    ],
)
def test_a_uri_is_refused(urls: Catalogue, modifier: str, value: str, code: str) -> None:
    assert urls.refused("ValueSet", ("url" + modifier, value)) == code
