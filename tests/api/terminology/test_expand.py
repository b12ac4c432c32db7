"""$expand. Source: hl7.org/fhir/R4/valueset-operation-expand.html, hl7.org/fhir/R4/valueset.html#compositions."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.client import JSON, Fhir, assert_outcome
from tests.kit.terminology import R4, V3, a_code_system, a_value_set, an_url, call, codes, told

ALL = ["mammal", "cat", "dog", "poodle", "dodo"]


def is_(op: str, value: str, name: str = "concept") -> dict[str, str]:
    return {"property": name, "op": op, "value": value}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({}, ALL),
        ({"concept": [{"code": "dog"}, {"code": "cat"}]}, ["dog", "cat"]),
        ({"filter": [is_("is-a", "dog")]}, ["dog", "poodle"]),
        ({"filter": [is_("descendent-of", "mammal")]}, ["cat", "dog", "poodle"]),
        ({"filter": [is_("is-not-a", "dog")]}, ["mammal", "cat", "dodo"]),
        ({"filter": [is_("generalizes", "poodle")]}, ["mammal", "dog", "poodle"]),
        ({"filter": [is_("generalizes", "unicorn")]}, []),
        ({"filter": [is_("regex", "[cd]o?[ag]t?", "code")]}, ["cat", "dog"]),
        ({"filter": [is_("=", "4", "legs")]}, ["cat", "dog"]),
        ({"filter": [is_("in", "2,8", "legs")]}, ["dodo"]),
        ({"filter": [is_("not-in", "2, 8", "legs")]}, ["mammal", "cat", "dog", "poodle"]),
        ({"filter": [is_("exists", "false", "legs")]}, ["mammal", "poodle"]),
        ({"filter": [is_("=", "dog", "parent")]}, ["poodle"]),
        ({"filter": [is_("=", "poodle", "child")]}, ["dog"]),
        ({"filter": [is_("=", "true", "inactive")]}, ["dodo"]),
        ({"filter": [is_("is-a", "mammal"), is_("exists", "true", "legs")]}, ["cat", "dog"]),
    ],
)
@pytest.mark.verifies("terminology-filter-1")
def test_an_include_selects(fhir: Fhir, animals: str, part: dict[str, Any], expected: list[str]) -> None:
    value_set = a_value_set(an_url(), {"system": animals} | part)
    assert sorted(codes(call(fhir, "/ValueSet/$expand", valueSet=value_set))) == sorted(expected)


@pytest.mark.parametrize(
    ("filter", "code"),
    [
        (is_("is-a", "dog", "legs"), "filter-property-unknown"),
        (is_("=", "x", "wings"), "filter-property-unknown"),
        (is_("regex", "(a+)+b", "code"), "regex-not-supported"),
        (is_("regex", "(a|a)*b", "code"), "regex-not-supported"),
        (is_("regex", r"(a)\1", "code"), "regex-not-supported"),
        (is_("regex", "(", "code"), "regex-not-supported"),
        (is_("exists", "maybe", "legs"), "filter-value"),
    ],
)
def test_a_filter_is_refused(fhir: Fhir, animals: str, filter: dict[str, str], code: str) -> None:
    value_set = a_value_set(an_url(), {"system": animals, "filter": [filter]})
    assert_outcome(call(fhir, "/ValueSet/$expand", valueSet=value_set), 400, "not-supported", code)


@pytest.mark.verifies("terminology-compose-1")
def test_parts_are_joined_cut_and_excluded(fhir: Fhir, animals: str) -> None:
    pets, wild = an_url("pets"), an_url("wild")
    fhir.made(a_value_set(pets, {"system": animals, "filter": [is_("is-a", "mammal")]}))
    fhir.made(a_value_set(wild, {"system": animals, "concept": [{"code": "dodo"}, {"code": "dog"}]}))
    both = a_value_set(an_url(), {"valueSet": [pets]}, {"valueSet": [wild]})
    assert sorted(codes(call(fhir, "/ValueSet/$expand", valueSet=both))) == sorted(ALL)
    cut = a_value_set(an_url(), {"valueSet": [pets, wild]})
    assert codes(call(fhir, "/ValueSet/$expand", valueSet=cut)) == ["dog"]
    narrowed = a_value_set(an_url(), {"system": animals, "filter": [is_("is-a", "dog")], "valueSet": [wild]})
    assert codes(call(fhir, "/ValueSet/$expand", valueSet=narrowed)) == ["dog"]
    without = a_value_set(an_url(), {"valueSet": [pets]}, exclude=[{"valueSet": [wild]}])
    assert codes(call(fhir, "/ValueSet/$expand", valueSet=without)) == ["mammal", "cat", "poodle"]
    same = a_value_set(
        an_url(), {"system": animals}, exclude=[{"system": animals, "concept": [{"code": "dog"}]}]
    )
    assert codes(call(fhir, "/ValueSet/$expand", valueSet=same)) == ["mammal", "cat", "poodle", "dodo"]


@pytest.mark.verifies("terminology-expand-1")
def test_an_expansion_is_nested_as_its_code_system(fhir: Fhir, animals: str) -> None:
    value_set = a_value_set(an_url(), {"system": animals})
    body = call(fhir, "/ValueSet/$expand", valueSet=value_set).json()
    mammal, dodo = body["expansion"]["contains"]
    assert (mammal["code"], mammal["abstract"]) == ("mammal", True)
    assert [c["code"] for c in mammal["contains"]] == ["cat", "dog"]
    assert mammal["contains"][1]["contains"][0]["display"] == "Poodle"
    assert dodo["inactive"] is True
    assert body["expansion"]["total"] == 5
    assert {"name": "version", "valueUri": f"{animals}|1"} in body["expansion"]["parameter"]
    flat = call(fhir, "/ValueSet/$expand", valueSet=value_set, excludeNested=True).json()
    assert [c["code"] for c in flat["expansion"]["contains"]] == ALL
    cut = a_value_set(an_url(), {"system": animals, "concept": [{"code": "mammal"}, {"code": "poodle"}]})
    [top] = call(fhir, "/ValueSet/$expand", valueSet=cut).json()["expansion"]["contains"]
    assert [c["code"] for c in top["contains"]] == ["poodle"]  # below its nearest ancestor that is there


@pytest.mark.verifies("terminology-expand-2")
def test_pages_hold_every_code_once(fhir: Fhir, animals: str) -> None:
    url = an_url()
    fhir.made(a_value_set(url, {"system": animals}))
    found: list[str] = []
    for offset in (0, 2, 4, 6):
        response = fhir.get("/ValueSet/$expand", params={"url": url, "offset": offset, "count": 2})
        expansion = response.json()["expansion"]
        assert (expansion["total"], expansion["offset"]) == (5, offset)
        found += codes(response)
    assert found == ALL
    nothing = fhir.get("/ValueSet/$expand", params={"url": url, "count": 0}).json()["expansion"]
    assert nothing["total"] == 5
    assert "contains" not in nothing


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("do", ["dog", "dodo"]),
        ("CÃO", ["dog"]),
        ("gat", ["cat"]),
        ("poo", ["poodle"]),
        ("ood", []),
    ],
)
def test_a_filter_text_begins_words(fhir: Fhir, animals: str, words: str, expected: list[str]) -> None:
    value_set = a_value_set(an_url(), {"system": animals})
    assert codes(call(fhir, "/ValueSet/$expand", valueSet=value_set, filter=words)) == expected


def test_inactive_and_abstract_codes_can_be_left_out(fhir: Fhir, animals: str) -> None:
    value_set = a_value_set(an_url(), {"system": animals})
    active = call(fhir, "/ValueSet/$expand", valueSet=value_set, activeOnly=True)
    assert codes(active) == ["mammal", "cat", "dog", "poodle"]
    for_users = call(fhir, "/ValueSet/$expand", valueSet=value_set, excludeNotForUI=True)
    assert codes(for_users) == ["cat", "dog", "poodle", "dodo"]
    closed = a_value_set(an_url(), {"system": animals}, inactive=False)
    assert "dodo" not in codes(call(fhir, "/ValueSet/$expand", valueSet=closed))


def test_texts_follow_language_and_wish(fhir: Fhir, animals: str) -> None:
    listed = {"code": "dog", "display": "House dog", "designation": [{"language": "fr", "value": "Chien"}]}
    value_set = a_value_set(an_url(), {"system": animals, "concept": [{"code": "cat"}, listed]})

    def shown(**wishes: Any) -> list[dict[str, Any]]:
        contains: list[dict[str, Any]] = call(fhir, "/ValueSet/$expand", valueSet=value_set, **wishes).json()[
            "expansion"
        ]["contains"]
        return contains

    assert [c["display"] for c in shown()] == ["Cat", "House dog"]
    assert [c["display"] for c in shown(displayLanguage__valueCode="pt")] == ["Gato", "Cão"]
    assert [c["display"] for c in shown(displayLanguage__valueCode="fr-CA")] == ["Cat", "Chien"]
    assert all("designation" not in c for c in shown())
    everything = shown(includeDesignations=True)
    assert [d["value"] for d in everything[0]["designation"]] == ["Gato", "Katze"]
    assert [d["value"] for d in everything[1]["designation"]] == ["Chien", "Cão"]
    [only] = shown(designation=["urn:use|pet"])[0]["designation"]
    assert only["value"] == "Katze"


def test_versions_of_code_systems_can_be_chosen(fhir: Fhir) -> None:
    system, value_set = an_url("versioned"), an_url()
    for version, code in (("1.9", "old"), ("1.10", "new")):
        fhir.made(a_code_system(system, version=version, concept=[{"code": code}]))
    fhir.made(a_code_system(system, version="2.0", status="draft", concept=[{"code": "draft"}]))
    fhir.made(a_value_set(value_set, {"system": system}))
    fhir.made(a_value_set(f"{value_set}-old", {"system": system, "version": "1.9"}))

    def expanded(url: str, **wishes: Any) -> list[str]:
        return codes(call(fhir, "/ValueSet/$expand", url=url, **wishes))

    assert expanded(value_set) == ["new"]
    assert expanded(f"{value_set}-old") == ["old"]
    assert expanded(value_set, system_version=[f"{system}|1.9"]) == ["old"]
    assert expanded(f"{value_set}-old", system_version=[f"{system}|1.10"]) == ["old"]
    assert expanded(f"{value_set}-old", force_system_version=[f"{system}|1.10"]) == ["new"]
    assert expanded(value_set, exclude_system=[system]) == []
    refused = call(fhir, "/ValueSet/$expand", url=f"{value_set}-old", check_system_version=[f"{system}|1.10"])
    assert_outcome(refused, 422, "processing", "system-version-mismatch")


def test_a_stored_value_set_is_used_by_canonical_and_by_id(fhir: Fhir, animals: str) -> None:
    url = an_url()
    first = fhir.made(a_value_set(url, {"system": animals, "concept": [{"code": "cat"}]}, version="1"))
    fhir.made(a_value_set(url, {"system": animals, "concept": [{"code": "dog"}]}, version="2"))
    fhir.made(
        a_value_set(url, {"system": animals, "concept": [{"code": "dodo"}]}, version="3", status="retired")
    )
    assert codes(fhir.get("/ValueSet/$expand", params={"url": url})) == ["dog"]
    assert codes(fhir.get("/ValueSet/$expand", params={"url": f"{url}|1"})) == ["cat"]
    assert codes(fhir.get("/ValueSet/$expand", params={"url": url, "valueSetVersion": "3"})) == ["dodo"]
    assert codes(fhir.get(f"/ValueSet/{first['id']}/$expand")) == ["cat"]
    first["compose"]["include"][0]["concept"] = [{"code": "poodle"}]
    assert fhir.update(first).status_code == 200
    assert codes(fhir.get("/ValueSet/$expand", params={"url": f"{url}|1"})) == ["poodle"]
    fhir.delete(f"/ValueSet/{first['id']}")
    gone = fhir.get("/ValueSet/$expand", params={"url": f"{url}|1"})
    assert_outcome(gone, 404, "not-found", "value-set-unknown")


def test_a_value_set_in_xml_or_as_the_body_itself(fhir: Fhir, animals: str) -> None:
    value_set = a_value_set(an_url(), {"system": animals, "filter": [is_("is-a", "dog")]})
    bare = fhir.post("/ValueSet/$expand?excludeNested=true", json=value_set, headers={"content-type": JSON})
    assert codes(bare) == ["dog", "poodle"]
    xml = fhir.get(
        "/ValueSet/$expand", params={"url": f"{R4}/ValueSet/administrative-gender", "_format": "xml"}
    )
    assert xml.status_code == 200
    assert '<code value="female"/>' in xml.text


def test_value_sets_of_r4_and_of_whole_code_systems(fhir: Fhir) -> None:
    gender = fhir.get(
        "/ValueSet/$expand", params={"url": f"{R4}/ValueSet/administrative-gender", "filter": ""}
    )
    assert codes(gender) == ["male", "female", "other", "unknown"]
    encounter = fhir.get(
        "/ValueSet/$expand", params={"url": "http://terminology.hl7.org/ValueSet/v3-ActEncounterCode"}
    )
    assert {"AMB", "EMER", "IMP"} <= set(codes(encounter))
    implicit = fhir.get("/ValueSet/$expand", params={"url": f"{V3}/v3-ActMood?fhir_vs=isa/_ActMoodPredicate"})
    assert "GOL" in codes(implicit)
    assert codes(fhir.get("/ValueSet/$expand?url=https://fhirserver.example/br/ValueSet/tuss-23")) == [
        "1",
        "2",
    ]


@pytest.mark.parametrize(
    ("query", "status", "issue", "code"),
    [
        ("url=https://example.org/nothing", 404, "not-found", "value-set-unknown"),
        (f"url={R4}/ValueSet/observation-codes", 422, "processing", "code-system-unknown"),
        (f"url={R4}/ValueSet/ucum-units", 400, "too-costly", "expansion-not-possible"),
        ("", 400, "invalid", "parameter-missing"),
        (f"url={R4}/ValueSet/currencies&nonsense=1", 400, "not-supported", "parameter-unknown"),
        (f"url={R4}/ValueSet/currencies&context=x", 400, "not-supported", "parameter-not-supported"),
        (f"url={R4}/ValueSet/currencies&count=x", 400, "invalid", "parameter-value"),
        (f"url={R4}/ValueSet/currencies&count=-1", 400, "invalid", "parameter-value"),
        (f"url={R4}/ValueSet/currencies&activeOnly=yes", 400, "invalid", "parameter-value"),
        (
            f"url={R4}/ValueSet/currencies&filter=" + "+".join("abcdefghijklmnopqrstu"),
            400,
            "invalid",
            "parameter-value",
        ),
        (f"url={R4}/ValueSet/currencies&url=x", 400, "invalid", "parameter-repeated"),
        ("url=a|1&valueSetVersion=2", 400, "invalid", "parameter-conflict"),
        (f"url={R4}/ValueSet/currencies&system-version=urn:x", 422, "processing", "version-missing"),
    ],
)
def test_an_expansion_is_refused(fhir: Fhir, query: str, status: int, issue: str, code: str) -> None:
    assert_outcome(fhir.get(f"/ValueSet/$expand?{query}"), status, issue, code)


def test_a_value_set_that_imports_itself_is_refused(fhir: Fhir) -> None:
    url = an_url()
    fhir.made(a_value_set(url, {"valueSet": [url]}))
    assert_outcome(
        fhir.get("/ValueSet/$expand", params={"url": url}), 422, "processing", "value-set-circular"
    )
    unknown = a_value_set(an_url(), {"valueSet": [an_url("nowhere")]})
    assert_outcome(call(fhir, "/ValueSet/$expand", valueSet=unknown), 422, "processing", "value-set-unknown")


def test_value_sets_that_import_each_other_many_times_cost_little(fhir: Fhir) -> None:
    stem = an_url("ladder")
    fhir.made(a_value_set(f"{stem}/0", {"system": "urn:x", "concept": [{"code": "a"}]}))
    for n in range(1, 24):  # each rung twice: 2^23 ways down
        fhir.made(
            a_value_set(f"{stem}/{n}", {"valueSet": [f"{stem}/{n - 1}"]}, {"valueSet": [f"{stem}/{n - 1}"]})
        )
    assert codes(fhir.get("/ValueSet/$expand", params={"url": f"{stem}/23"})) == ["a"]
    for code, result in (("a", True), ("b", False)):
        asked = {"url": f"{stem}/23", "system": "urn:x", "code": code}
        assert told(fhir.get("/ValueSet/$validate-code", params=asked))["result"] is result
    many = a_value_set(an_url(), *({"system": "urn:x", "concept": [{"code": str(n)}]} for n in range(501)))
    assert_outcome(call(fhir, "/ValueSet/$expand", valueSet=many), 422, "processing", "value-set-invalid")


def test_a_body_is_refused(fhir: Fhir) -> None:
    broken = a_value_set(an_url(), {"concept": "x"})
    response = call(fhir, "/ValueSet/$expand", valueSet=broken)
    assert response.status_code == 422
    assert_outcome(
        fhir.post("/ValueSet/$expand", json={"resourceType": "Patient"}, headers={"content-type": JSON}),
        400, "invalid", "parameters-invalid",
    )  # fmt: skip
    twice = {
        "resourceType": "Parameters",
        "parameter": [{"name": "url", "valueUri": "a", "valueString": "b"}],
    }
    assert_outcome(
        fhir.post("/ValueSet/$expand", json=twice, headers={"content-type": JSON}),
        400, "invalid", "parameters-invalid", "Parameters.parameter",
    )  # fmt: skip
    own = fhir.made(a_value_set(an_url(), {"system": f"{V3}/v3-ActMood"}))
    assert_outcome(fhir.get(f"/ValueSet/{own['id']}/$expand?url=x"), 400, "invalid", "parameter-conflict")
    assert_outcome(fhir.get("/ValueSet/nobody/$expand"), 404, "not-found", "resource-unknown")
    assert_outcome(fhir.get("/Patient/$expand"), 404, "not-found", "operation-unknown")


@pytest.mark.verifies("terminology-expand-3")
def test_a_large_value_set_is_served_in_pages_only(fhir: Fhir) -> None:
    system, url = an_url("large"), an_url()
    concepts = [{"code": f"c{n:05}", "display": f"Concept {n}"} for n in range(10_050)]
    fhir.made(a_code_system(system, concept=concepts))
    fhir.made(a_value_set(url, {"system": system}))
    assert_outcome(
        fhir.get("/ValueSet/$expand", params={"url": url}), 400, "too-costly", "expansion-too-large"
    )
    page = fhir.get("/ValueSet/$expand", params={"url": url, "offset": 10_040, "count": 20})
    assert codes(page) == [f"c{n:05}" for n in range(10_040, 10_050)]
    assert page.json()["expansion"]["total"] == 10_050
