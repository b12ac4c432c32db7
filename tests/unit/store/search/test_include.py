"""_include and _revinclude. hl7.org/fhir/R4/search.html#include."""

from __future__ import annotations

from typing import Any

import pytest

from fhirserver.search.expression import Equals
from fhirserver.settings import Limits
from tests.kit.corpus import Corpus, refused
from tests.kit.trace import permitted


def reference(target: str) -> dict[str, str]:
    return {"reference": target}


@pytest.fixture(scope="module")
def corpus(make_corpus: Any) -> Corpus:
    made: Corpus = make_corpus(
        {"resourceType": "Organization", "id": "child", "partOf": reference("Organization/parent")},
        {"resourceType": "Organization", "id": "parent", "partOf": reference("Organization/root")},
        {"resourceType": "Organization", "id": "root"},
        {"resourceType": "Practitioner", "id": "doc"},
        {"resourceType": "Patient", "id": "a", "managingOrganization": reference("Organization/child"),
         "generalPractitioner": [reference("Practitioner/doc"), reference("Organization/child")]},
        {"resourceType": "Patient", "id": "b", "generalPractitioner": [reference("Practitioner/gone")]},
        {"resourceType": "Encounter", "id": "e", "status": "finished", "class": {"code": "AMB"},
         "subject": reference("Patient/a"), "participant": [{"individual": reference("Practitioner/doc")}]},
        {"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"},
         "subject": reference("Patient/a"), "encounter": reference("Encounter/e")},
        {"resourceType": "Observation", "id": "p", "status": "final", "code": {"text": "x"},
         "subject": reference("Patient/b")},
        {"resourceType": "PlanDefinition", "id": "pd", "status": "active", "url": "http://x.example/pd"},
        {"resourceType": "CarePlan", "id": "cp", "status": "active", "intent": "plan",
         "subject": reference("Patient/a"), "instantiatesCanonical": ["http://x.example/pd|1"]},
        *({"resourceType": "Group", "id": f"g{n}", "type": "person", "actual": True,
           "managingEntity": reference(f"Organization/ring{n}")} for n in range(1)),
        *({"resourceType": "Organization", "id": f"ring{n}",
           "partOf": reference(f"Organization/ring{(n + 1) % 30}")}
          for n in range(30)),
    )  # fmt: skip
    return made


@pytest.mark.parametrize(
    ("url", "included"),
    [
        ("Observation?_include=Observation:patient", "Patient/a Patient/b"),
        ("Observation?_id=o&_include=Observation:encounter&_include=Observation:subject",
         "Encounter/e Patient/a"),
        ("Observation?_include=Observation:subject:Group", ""),
        ("Observation?_include=Observation:subject:Patient", "Patient/a Patient/b"),
        ("Observation?_include=*", "Encounter/e Patient/a Patient/b"),
        ("Observation?_include=Observation:*", "Encounter/e Patient/a Patient/b"),
        ("Observation?_include=Patient:organization", ""),
        ("Patient?_include=Patient:general-practitioner", "Organization/child Practitioner/doc"),
        ("Patient?_include=Patient:general-practitioner:Practitioner", "Practitioner/doc"),
        ("Observation?_include=Observation:patient&_include=Patient:organization", "Patient/a Patient/b"),
        (
            "Observation?_include=Observation:patient&_include:iterate=Patient:organization",
            "Organization/child Patient/a Patient/b",
        ),
        ("Patient?_include=Patient:organization&_include:iterate=Organization:partof",
         "Organization/child Organization/parent Organization/root"),
        ("Patient?_revinclude=Observation:patient", "Observation/o Observation/p"),
        ("Patient?_id=a&_revinclude=Observation:subject", "Observation/o"),
        ("Patient?_id=a&_revinclude=*", "CarePlan/cp Encounter/e Observation/o"),
        ("Practitioner?_revinclude=Encounter:practitioner&_revinclude:iterate=Observation:encounter",
         "Encounter/e Observation/o"),
        ("CarePlan?_include=CarePlan:instantiates-canonical", "PlanDefinition/pd"),
        ("PlanDefinition?_revinclude=CarePlan:instantiates-canonical", "CarePlan/cp"),
        ("Patient?_id=zzz&_include=*", ""),
        ("Observation?_include=Observation:patient&_count=0", ""),
    ],
)  # fmt: skip
def test_includes(corpus: Corpus, url: str, included: str) -> None:
    assert corpus.included(url) == included
    assert corpus.page(url).issues == ()


def test_what_matched_is_not_included_again(corpus: Corpus) -> None:
    page = corpus.page("Organization?_id=child,parent&_include=Organization:partof")
    assert [v.id for v in page.matches] == ["child", "parent"]
    assert [v.id for v in page.included] == ["root"]


def test_iterating_a_ring_stops_after_the_rounds_and_says_so(corpus: Corpus) -> None:
    page = corpus.page("Organization?_id=ring0&_include:iterate=*")
    assert len(page.included) == 3
    assert [issue.code for issue in page.issues] == ["include-rounds"]


def test_more_than_the_limit_is_cut_and_says_so(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "limits", Limits(included=1))
    page = corpus.page("Observation?_include=*")
    assert len(page.included) == 1
    assert [issue.code for issue in page.issues] == ["include-limit"]


@pytest.mark.parametrize("url", [
    "Observation?_include=*", "Patient?_id=b&_revinclude=*",
    "Practitioner?_revinclude=Encounter:practitioner",
    "Practitioner?_id=doc&_revinclude:iterate=*", "CarePlan?_include:iterate=*",
])  # fmt: skip
def test_includes_obey_the_permission(corpus: Corpus, url: str) -> None:
    only_b = permitted(
        "b",
        restrictions={
            type: Equals("~Patient", ("default/Patient/b",))
            for type in ("Patient", "Observation", "Encounter", "CarePlan")
        },
        denied=frozenset(("Organization",)),
    )
    page = corpus.page(url, only_b)
    seen = {f"{v.type}/{v.id}" for v in (*page.matches, *page.included)}
    assert seen <= {"Patient/b", "Observation/p", "Practitioner/doc"}
    assert {f"{v.type}/{v.id}" for v in corpus.page("Observation?_include=*", only_b).included} == {
        "Patient/b"
    }


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("_include", "Nonsense:patient", "include-unknown"),
        ("_include", "Observation:nonsense", "include-unknown"),
        ("_include", "Observation:code", "include-unknown"),
        ("_include", "Observation:subject:Nonsense", "include-unknown"),
        ("_include", "Observation:subject:Practitioner", "include-unknown"),
        ("_include", "Observation", "include-malformed"),
        ("_include", "", "include-malformed"),
        ("_include", "a:b:c:d", "include-malformed"),
        ("_include:nonsense", "Observation:subject", "modifier-unknown"),
    ],
)
def test_an_include_is_refused(corpus: Corpus, name: str, value: str, code: str) -> None:
    assert refused(corpus, "Observation", (name, value)) == code


def test_a_lenient_search_ignores_an_unknown_include(corpus: Corpus) -> None:
    assert corpus.query("Observation?_include=Observation:nonsense", lenient=True).ignored == ("_include",)
