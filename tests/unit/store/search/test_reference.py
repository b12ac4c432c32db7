"""Reference parameters, chains, _has and hierarchies.

hl7.org/fhir/R4/search.html#reference, #chaining, #has.
"""

from __future__ import annotations

from typing import Any

import pytest

from fhirserver.store import resolve
from tests.kit.corpus import BASE, Corpus, refused, url_of


def about(id: str, subject: Any, **elements: Any) -> dict[str, Any]:
    if isinstance(subject, str):
        subject = {"reference": subject}
    return {
        "resourceType": "Observation",
        "id": id,
        "status": "final",
        "code": {"text": id},
        "subject": subject,
    } | elements


def place(id: str, above: str | None = None) -> dict[str, Any]:
    part = {"partOf": {"reference": f"Location/{above}"}} if above else {}
    return {"resourceType": "Location", "id": id, "name": id} | part


@pytest.fixture(scope="module")
def corpus(make_corpus: Any) -> Corpus:
    made: Corpus = make_corpus(
        {"resourceType": "Organization", "id": "o1", "name": "Clínica Norte", "active": True},
        {"resourceType": "Organization", "id": "o2", "name": "Clínica Sul", "active": False},
        {"resourceType": "Patient", "id": "a", "name": [{"family": "Lima"}], "gender": "male",
         "managingOrganization": {"reference": "Organization/o1"}},
        {"resourceType": "Patient", "id": "b", "name": [{"family": "Melo"}], "gender": "female",
         "managingOrganization": {"reference": "Organization/o2"}},
        {"resourceType": "Patient", "id": "c", "name": [{"family": "Lima"}]},
        {"resourceType": "Group", "id": "a", "type": "person", "actual": True},
        about("rel", "Patient/a"),
        about("abs", f"{BASE}/Patient/a"),
        about("ver", "Patient/a/_history/3"),
        about("grp", "Group/a"),
        about("oth", "Patient/b", valueQuantity={"value": 5}),
        about("far", "https://far.example/fhir/Patient/a"),
        about("log", {"identifier": {"system": "urn:cpf", "value": "9"}}),
        about("urn", "urn:uuid:6f1b4f6e-0000-4000-8000-000000000001"),
        place("site"), place("floor", "site"), place("room", "floor"), place("yard"),
        {"resourceType": "Encounter", "id": "e1", "status": "finished", "class": {"code": "AMB"},
         "subject": {"reference": "Patient/a"}, "location": [{"location": {"reference": "Location/room"}}]},
        {"resourceType": "Encounter", "id": "e2", "status": "planned", "class": {"code": "AMB"},
         "subject": {"reference": "Patient/b"}, "location": [{"location": {"reference": "Location/yard"}}]},
        {"resourceType": "List", "id": "l", "status": "current", "mode": "working",
         "entry": [{"item": {"reference": "Patient/a"}}, {"item": {"reference": "Observation/oth"}}]},
        {"resourceType": "PlanDefinition", "id": "pd", "status": "active",
         "url": "http://x.example/pd", "version": "1.2"},
        {"resourceType": "CarePlan", "id": "cp", "status": "active", "intent": "plan",
         "subject": {"reference": "Patient/a"},
         "instantiatesCanonical": ["http://x.example/pd|1.2"]},
    )  # fmt: skip
    made.delete("Patient", "c")
    return made


TABLE = [
    ("Observation", "subject", "Patient/a", "abs rel ver"),
    ("Observation", "subject", "a", "abs grp rel ver"),
    ("Observation", "subject", "Patient/a,Patient/b", "abs oth rel ver"),
    ("Observation", "subject:Patient", "a", "abs rel ver"),
    ("Observation", "subject:Group", "a", "grp"),
    ("Observation", "subject", f"{BASE}/Patient/a", "abs rel ver"),
    ("Observation", "subject", "Patient/a/_history/9", "abs rel ver"),
    ("Observation", "subject", "https://far.example/fhir/Patient/a", "far"),
    ("Observation", "subject", "urn:uuid:6f1b4f6e-0000-4000-8000-000000000001", "urn"),
    ("Observation", "patient", "a", "abs rel ver"),
    ("Observation", "subject:identifier", "urn:cpf|9", "log"),
    ("Observation", "subject:identifier", "9", "log"),
    ("Observation", "subject:identifier", "urn:cpf|8", ""),
    ("Observation", "subject:missing", "true", ""),
    # Chains.
    ("Observation", "patient.name", "lima", "abs rel ver"),
    ("Observation", "subject.name", "lima", "abs rel ver"),
    ("Observation", "subject:Patient.name", "melo", "oth"),
    ("Observation", "subject:Patient.family:exact", "lima", ""),
    ("Observation", "patient.gender:not", "male", "oth"),
    ("Observation", "patient.gender:missing", "false", "abs oth rel ver"),
    ("Observation", "patient._id", "b", "oth"),
    ("Observation", "patient.organization.name", "clinica norte", "abs rel ver"),
    ("Observation", "patient.organization.active:not", "true", "oth"),
    ("Observation", "patient.name", "nobody", ""),
    ("CarePlan", "instantiates-canonical:PlanDefinition.version", "1.2", "cp"),
    # _has.
    ("Patient", "_has:Observation:patient:status", "final", "a b"),
    ("Patient", "_has:Observation:patient:value-quantity", "5", "b"),
    ("Patient", "_has:Encounter:patient:location", "Location/room", "a"),
    ("Patient", "_has:Encounter:patient:location.name", "yard", "b"),
    ("Patient", "_has:Observation:patient:status:not", "final", ""),
    ("Organization", "_has:Patient:organization:_has:Encounter:patient:status", "planned", "o2"),
    ("Observation", "patient._has:Encounter:patient:status", "planned", "oth"),
    # _list.
    ("Patient", "_list", "l", "a"),
    ("Observation", "_list", "l", "oth"),
    ("Patient", "_list", "x", ""),
    # Hierarchies.
    ("Encounter", "location:below", "Location/site", "e1"),
    ("Encounter", "location:below", "yard", "e2"),
    ("Encounter", "location:above", "Location/room", "e1"),
    ("Location", "partof:below", "Location/site", "floor room"),
    ("Location", "partof:above", "room", "floor room"),
]  # fmt: skip


@pytest.mark.parametrize(("type", "parameter", "value", "matches"), TABLE)
def test_a_reference_matches(corpus: Corpus, type: str, parameter: str, value: str, matches: str) -> None:
    assert corpus.found(url_of(type, (parameter, value))) == matches


@pytest.mark.parametrize(("type", "parameter", "value", "matches"), TABLE)
def test_hops_too_wide_for_values_are_joined_by_the_database(
    corpus: Corpus, type: str, parameter: str, value: str, matches: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ":above" in parameter or ":below" in parameter:
        return
    monkeypatch.setattr(resolve, "MOST_KEYS", 0)
    assert corpus.found(url_of(type, (parameter, value))) == matches
    assert corpus.page(url_of(type, (parameter, value), ("_summary", "count"))).total == len(matches.split())


@pytest.mark.parametrize(
    ("type", "parameter", "value", "code"),
    [
        ("Observation", "subject:Practitioner", "a", "modifier-unknown"),
        ("Observation", "subject", "Nonsense/a", "search-value-reference"),
        ("Observation", "subject", "{$ne:1}", "search-value-reference"),
        ("Observation", "subject:Patient", "Group/a", "search-value-reference-type"),
        ("Observation", "status.name", "x", "chain-not-reference"),
        ("Observation", "subject:Practitioner.name", "x", "chain-target-unknown"),
        ("Observation", "patient.nonsense", "x", "parameter-unknown"),
        ("Observation", "focus._id", "x", "chain-target-ambiguous"),
        ("Observation", "patient.organization.partof.name", "x", ""),
        ("Observation", "patient.organization.partof.partof.name", "x", "chain-too-deep"),
        ("Patient", "_has:Observation:patient", "x", "has-malformed"),
        ("Patient", "_has:Nonsense:patient:code", "x", "has-type-unknown"),
        ("Patient", "_has:Observation:code:code", "x", "has-not-reference"),
        ("Patient", "_has:Observation:nonsense:code", "x", "parameter-unknown"),
        ("Practitioner", "_has:Observation:patient:code", "x", "has-not-reference"),
        ("Patient", "_list", "$current-problems", "functional-list"),
        ("Observation", "subject:below", "Patient/a", "modifier-not-supported"),
    ],
)
def test_a_reference_search_is_refused(
    corpus: Corpus, type: str, parameter: str, value: str, code: str
) -> None:
    assert refused(corpus, type, (parameter, value)) == code
