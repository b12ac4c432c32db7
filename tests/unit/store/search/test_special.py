"""Searches beyond the plain types: general parameters, near, uri, _filter, _contained, several types.

hl7.org/fhir/R4/search.html#all, #text, #contained, #uri, search_filter.html, compartmentdefinition.html.
"""

from __future__ import annotations

from typing import Any

import pytest

from fhirserver.outcome import BadRequest, Forbidden
from fhirserver.search.expression import Chain, Equals
from fhirserver.search.query import parse_query
from fhirserver.settings import Limits
from tests.kit.corpus import BASE, TENANT, Corpus, definitions, refused, url_of
from tests.kit.trace import permitted


def value_set(id: str, url: str) -> dict[str, Any]:
    return {"resourceType": "ValueSet", "id": id, "status": "active", "url": url}


def located(id: str, latitude: float, longitude: float) -> dict[str, Any]:
    return {"resourceType": "Location", "id": id, "position": {"latitude": latitude, "longitude": longitude}}


def medication(id: str, status: str, code: str) -> dict[str, Any]:
    return {"resourceType": "Medication", "id": id, "status": status, "code": {"coding": [{"code": code}]}}


@pytest.fixture(scope="module")
def corpus(make_corpus: Any) -> Corpus:
    made: Corpus = make_corpus(
        {"resourceType": "Patient", "id": "p1", "gender": "male", "birthDate": "1990-05-05", "active": True,
         "meta": {"tag": [{"system": "urn:t", "code": "vip"}], "profile": ["http://x.example/sd/p"],
                  "security": [{"system": "urn:s", "code": "R"}], "source": "http://src.example#1"},
         "name": [{"family": "Peter \\ \"Silva\", Jr.", "given": ["Ana Maria"]}],
         "text": {"status": "generated", "div": "<div>Paciente <b>alérgico</b> a penicilina</div>"},
         "managingOrganization": {"reference": "Organization/o"}},
        {"resourceType": "Patient", "id": "p2", "gender": "female", "birthDate": "2000-01-01",
         "name": [{"family": "Souza"}]},
        {"resourceType": "Patient", "id": "p3"},
        {"resourceType": "Organization", "id": "o", "name": "Norte", "active": True},
        {"resourceType": "Observation", "id": "x", "status": "final", "code": {"text": "x"},
         "subject": {"reference": "Patient/p1"}, "effectiveDateTime": "2026-01-05"},
        {"resourceType": "Observation", "id": "y", "status": "final", "code": {"text": "x"},
         "subject": {"reference": "Patient/p2"}, "performer": [{"reference": "Patient/p1"}]},
        {"resourceType": "Encounter", "id": "x", "status": "finished", "class": {"code": "A"},
         "subject": {"reference": "Patient/p1"}},
        value_set("a", "http://acme.example/fhir/ValueSet/1"), value_set("b", "http://acme.example/fhir/ValueSet/10"),
        value_set("c", "http://acme.example/fhir"), value_set("d", "urn:oid:1.2.3"),
        located("sp", -23.55, -46.63), located("rio", -22.91, -43.17), located("sp2", -23.56, -46.64),
        {"resourceType": "MedicationRequest", "id": "mr", "status": "active", "intent": "order",
         "subject": {"reference": "Patient/p1"}, "medicationReference": {"reference": "#m"},
         "contained": [medication("m", "active", "amox"), medication("n", "inactive", "dip")]},
        medication("free", "active", "amox"),
    )  # fmt: skip
    return made


@pytest.mark.parametrize(
    ("type", "parameter", "value", "matches"),
    [
        ("Patient", "_tag", "urn:t|vip", "p1"),
        ("Patient", "_security", "R", "p1"),
        ("Patient", "_profile", "http://x.example/sd/p", "p1"),
        ("Patient", "_source", "http://src.example#1", "p1"),
        ("Patient", "_tag:not", "vip", "p2 p3"),
        ("Patient", "_tag:missing", "true", "p2 p3"),
        ("Patient", "_lastUpdated", "gt2100", ""),
        ("Patient", "_lastUpdated", "2026-01-01T00:00:01Z", "p1"),
        ("Patient", "_lastUpdated", "2026-01-01T00:00:01.000Z", "p1"),
        ("Patient", "_lastUpdated", "gt2026-01-01T00:00:01Z", "p2 p3"),
        ("Patient", "_lastUpdated", "le2026-01-01T00:00:02Z", "p1 p2"),
        ("Patient", "_lastUpdated", "lt2026-01-01T00:00:02Z", "p1"),
        ("Patient", "_lastUpdated", "ne2026-01-01T00:00:02Z", "p1 p3"),
        ("Patient", "_lastUpdated:missing", "false", "p1 p2 p3"),
        ("Patient", "_text", "alergico", "p1"),
        ("Patient", "_text", "penicilina paciente", "p1"),
        ("Patient", "_text", "penicilina ausente", ""),
        ("Patient", "_text", "$ne", ""),
        ("Patient", "_content", "souza", "p2"),
        ("ValueSet", "url", "http://acme.example/fhir/ValueSet/1", "a"),
        ("ValueSet", "url", "http://acme.example/fhir/ValueSet/", ""),
        ("ValueSet", "url:below", "http://acme.example/fhir", "a b c"),
        ("ValueSet", "url:below", "http://acme.example/fhir/", "a b"),
        ("ValueSet", "url:below", "http://acme.example/fhir/ValueSet/1", "a"),
        ("ValueSet", "url:above", "http://acme.example/fhir/ValueSet/1/x", "a c"),
        ("ValueSet", "url:missing", "true", ""),
        ("ValueSet", "url", "urn:oid:1.2.3", "d"),
        ("Location", "near", "-23.55|-46.63|5|km", "sp sp2"),
        ("Location", "near", "-23.55|-46.63|500|m", "sp"),
        ("Location", "near", "-23.55|-46.63|1000", "rio sp sp2"),
        ("Location", "near", "-23.55|-46.63", "sp sp2"),
    ],
)
def test_matches(corpus: Corpus, type: str, parameter: str, value: str, matches: str) -> None:
    assert corpus.found(url_of(type, (parameter, value))) == matches


@pytest.mark.parametrize(
    ("filter", "matches"),
    [
        ('family sw "peter"', "p1"),
        ('family eq "souza"', "p2"),
        ('family eq "souz"', ""),
        ('family co "silva"', "p1"),
        ('family ew "jr."', "p1"),
        ('family ne "souza"', "p1 p3"),
        ('family co "\\"silva\\""', "p1"),
        ('family co "\\\\"', "p1"),
        ('family co ","', "p1"),
        ('given eq "ana maria"', "p1"),
        ("gender eq male", "p1"),
        ("gender ne male", "p2 p3"),
        ("gender pr true", "p1 p2"),
        ("gender pr false", "p3"),
        ("birthdate ge 1995", "p2"),
        ("birthdate lt 1995-01", "p1"),
        ("birthdate po 1990", "p1"),
        ("birthdate eq 1990-05 or gender eq female", "p1 p2"),
        ("gender eq male and birthdate gt 2000 or family pr true", "p1 p2"),
        ("gender eq male and (birthdate gt 2000 or family pr true)", "p1"),
        ("not (gender eq male)", "p2 p3"),
        ("not (gender eq male) and gender pr true", "p2"),
        ("_tag eq urn:t|vip", "p1"),
        ("_id eq p3", "p3"),
        ("_lastUpdated gt 2026-01-01T00:00:02Z", "p3"),
        ("organization re Organization/o", "p1"),
        ('organization.name eq "norte"', "p1"),
        ('organization[active eq true].name sw "nor"', "p1"),
        ('organization[active eq false].name sw "nor"', ""),
        ("((((gender eq male))))", "p1"),
    ],
)
def test_a_filter_matches(corpus: Corpus, filter: str, matches: str) -> None:
    assert corpus.found(url_of("Patient", ("_filter", filter))) == matches


@pytest.mark.parametrize(
    ("filter", "code"),
    [
        ("", "filter-syntax"),
        ("gender", "filter-syntax"),
        ("gender eq", "filter-syntax"),
        ("gender eq male and", "filter-syntax"),
        ("gender eq male)", "filter-syntax"),
        ("(gender eq male", "filter-syntax"),
        ("not gender eq male", "filter-syntax"),
        ('family eq "x', "filter-syntax"),
        ('family eq "\\ud800"', "filter-syntax"),
        ('family eq "\\x"', "filter-syntax"),
        ("organization[active eq true] eq x", "filter-syntax"),
        ("gender $ne male", "filter-operator"),
        ("gender co male", "filter-operator"),
        ("birthdate co 1990", "filter-operator"),
        ("family gt a", "filter-operator"),
        ("gender in http://x.example/vs", "value-set-unknown"),
        ("nonsense eq 1", "parameter-unknown"),
        ("gender.name eq 1", "chain-not-reference"),
        ("birthdate eq x", "search-value-date"),
        ("(" * 21 + "gender eq male" + ")" * 21, "filter-too-deep"),
        ("(" * 100_000, "filter-too-long"),
        (" or ".join(["gender eq male"] * 200), "filter-too-long"),
        ("organization.partof.partof.partof.name eq x", "chain-too-deep"),
    ],
)
def test_a_filter_is_refused(corpus: Corpus, filter: str, code: str) -> None:
    assert refused(corpus, "Patient", ("_filter", filter)) == code


@pytest.mark.parametrize(
    ("url", "matches"),
    [
        ("?_type=Patient,Organization", "Organization/o Patient/p1 Patient/p2 Patient/p3"),
        ("?_id=x", "Encounter/x Observation/x"),
        ("?_tag=vip", "Patient/p1"),
        ("?_type=Observation,Encounter&status=final,finished", "Encounter/x Observation/x Observation/y"),
        ("?_type=Observation,Encounter&patient.gender=male", "Encounter/x Observation/x"),
        ("?_type=Observation,Encounter&_sort=patient", "Encounter/x Observation/x Observation/y"),
        ("Patient/p1/*", "Encounter/x MedicationRequest/mr Observation/x Observation/y Patient/p1"),
        ("Patient/p1/*?_type=Observation", "Observation/x Observation/y"),
        ("Patient/p2/*", "Observation/y Patient/p2"),
        ("Patient/none/*", ""),
    ],
)
def test_several_types_are_searched(corpus: Corpus, url: str, matches: str) -> None:
    assert corpus.found(url) == matches


def test_a_compartment_is_searched_for_one_type(corpus: Corpus) -> None:
    assert corpus.found("Patient/p1/Observation") == "x y"
    assert corpus.found("Patient/p1/Observation?date=2026-01") == "x"
    assert corpus.found("Patient/p2/Encounter") == ""


@pytest.mark.parametrize(
    ("url", "matches"),
    [
        ("Medication?code=amox", ["free"]),
        ("Medication?code=amox&_contained=true", ["mr"]),
        ("Medication?code=amox&_contained=both", ["free", "mr"]),
        ("Medication?code=amox&_contained=true&_containedType=contained", ["mr#m"]),
        ("Medication?code=dip,amox&_contained=both&_containedType=contained", ["free", "mr#m", "mr#n"]),
        ("Medication?_contained=true&code=amox&status=inactive", []),
        ("Medication?_contained=true&code=none", []),
        ("Medication?_contained=true&_id=m", ["mr"]),
        ("Medication?_contained=true&code:missing=true", []),
    ],
)
def test_contained_resources_are_searched(corpus: Corpus, url: str, matches: list[str]) -> None:
    assert corpus.find(url) == matches
    assert corpus.walk(url + "&_count=1") == matches
    if "=contained" not in url:
        assert corpus.page(url + "&_summary=count").total == len(matches)


def test_a_contained_match_is_the_contained_resource(corpus: Corpus) -> None:
    page = corpus.page("Medication?code=amox&_contained=true&_containedType=contained")
    assert [(v.type, v.id) for v in page.matches] == [("MedicationRequest", "mr#m")]
    assert (page.matches[0].raw or b"").startswith(b'{"resourceType":"Medication"')


def test_a_restriction_on_the_container_hides_what_it_contains(corpus: Corpus) -> None:
    none = permitted("n", restrictions={"MedicationRequest": Equals("~Patient", ("default/Patient/p2",))})
    assert corpus.find("Medication?code=amox&_contained=true", none) == []


def test_another_tenant_sees_nothing(corpus: Corpus) -> None:
    corpus.add({"resourceType": "Patient", "id": "p1", "gender": "other"}, tenant="other")
    corpus.add({"resourceType": "Patient", "id": "zz", "gender": "other"}, tenant="other")
    corpus.add({"resourceType": "Patient", "id": "zz", "gender": "other"}, tenant="aaa")
    for url in (
        "Patient?gender=other",
        "Patient?_id=zz",
        "Patient?_sort=gender",
        "Patient?_sort=-_lastUpdated",
        "?_tag:missing=true",
    ):
        assert not any(name.endswith("zz") for name in corpus.walk(url + "&_count=2"))
    assert corpus.page("Patient?_summary=count").total == 3


WOMEN = permitted(
    "w",
    restrictions={
        "Patient": Equals("gender", ("female",)),
        "Observation": Equals("~Patient", ("default/Patient/p2",)),
    },
    denied=frozenset(("Organization",)),
)


@pytest.mark.parametrize(
    ("url", "matches"),
    [
        ("Patient", "p2"),
        ("Patient?gender=male", ""),
        ("Patient?_id=p1", ""),
        ("Encounter?patient.birthdate=1990-05-05", ""),
        ("Encounter?patient.gender:not=female", ""),
        ("Encounter?patient._id=p1", ""),
        ("Patient?_has:Observation:patient:status=final", "p2"),
        ("Patient?_has:Observation:performer:status=final", ""),
        ("Organization", ""),
        ("?_id=p1,p2,o", "Patient/p2"),
        (f"Encounter?patient={BASE}/Patient/p1", "x"),
    ],
)
def test_every_hop_obeys_the_permission(corpus: Corpus, url: str, matches: str) -> None:
    assert corpus.found(url, WOMEN) == matches
    assert corpus.page(url + ("&" if "?" in url else "?") + "_total=accurate", WOMEN).total == len(
        matches.split()
    )


@pytest.mark.parametrize(
    "url",
    [
        "Patient?organization.name=norte",
        "Patient?organization:Organization.name:exact=norte",
        "Encounter?patient.organization.name=norte",
        "Patient?_filter=organization.name eq 'norte'",
    ],
)
def test_a_hop_to_a_type_out_of_reach_is_refused(corpus: Corpus, url: str) -> None:
    with pytest.raises(Forbidden):
        corpus.found(url, WOMEN)


def test_a_restriction_may_itself_reach_other_resources(corpus: Corpus) -> None:
    chained = permitted(
        "c",
        restrictions={"Observation": Chain("patient", "Patient", Equals("gender", ("female",)))},
    )
    assert corpus.found("Observation", chained) == "y"


@pytest.mark.parametrize(
    ("pairs", "code"),
    [
        ([("_tag", "x")] * 51, "too-many-parameters"),
        ([("_tag", ",".join(["x"] * 501))], "too-many-values"),
        ([("_tag", ",".join(["x"] * 500))], ""),
        ([("near", "1|2")], "parameter-unknown"),
        ([("_query", "x")], "parameter-unknown"),
        ([("_format", "json"), ("_pretty", "true")], ""),
        ([("gender", "\ud800")], "search-encoding"),
        ([("_lastUpdated:missing", "x")], "search-value-missing"),
        ([("_id:exact", "x")], "modifier-unknown"),
        ([("_text:contains", "x")], "modifier-unknown"),
    ],
)
def test_limits(corpus: Corpus, pairs: list[tuple[str, str]], code: str) -> None:
    try:
        parse_query(definitions(), "Patient", pairs, limits=Limits(), tenant=TENANT, base_url=BASE)
        found = ""
    except BadRequest as error:
        found = error.issues[0].code
    assert found == code


@pytest.mark.parametrize(
    ("type", "parameter", "value", "code"),
    [
        ("Location", "near", "91|0", "search-value-near"),
        ("Location", "near", "0|0|1|parsec", "search-value-near"),
        ("Location", "near:missing", "true", "modifier-unknown"),
        ("", "_type", "Nonsense", "type-unknown"),
        ("", "name", "x", "parameter-unknown"),
        ("", "_contained", "true", "contained-needs-type"),
        ("", "_sort", "birthdate", "parameter-unknown"),
    ],
)
def test_is_refused(corpus: Corpus, type: str, parameter: str, value: str, code: str) -> None:
    assert refused(corpus, type, (parameter, value)) == code


def test_the_plan_is_for_the_unrestricted(corpus: Corpus) -> None:
    plan = corpus.page("Patient?gender=male&_explain=true").plan
    assert plan is not None
    assert plan["resourceType"] == "Parameters"
    assert corpus.page("Patient?_sort=gender,birthdate&_explain=true").plan is not None
    with pytest.raises(Forbidden):
        corpus.page("Patient?_explain=true", WOMEN)
