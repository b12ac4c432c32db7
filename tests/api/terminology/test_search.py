"""Token modifiers :in, :not-in, :above, :below. Source: hl7.org/fhir/R4/search.html#modifiers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit.builders import a_patient, an_observation
from tests.kit.client import Fhir, assert_outcome, unique
from tests.kit.terminology import R4, V3, a_value_set, an_url


@pytest.fixture(scope="module")
def herd(fhir: Fhir, animals: str) -> dict[str, str]:
    """A patient's observations by the animal that is their code, one without a known code; and a value set."""
    patient = f"Patient/{fhir.made(a_patient(gender='male'))['id']}"
    found = {"patient": patient}
    for code in ("cat", "dog", "poodle", "dodo"):
        coded = an_observation(patient, code={"coding": [{"system": animals, "code": code}]})
        found[code] = f"Observation/{fhir.made(coded)['id']}"
    text = an_observation(patient, code={"text": "something"})
    found["text"] = f"Observation/{fhir.made(text)['id']}"
    url = an_url("pets")
    is_a = {"property": "concept", "op": "is-a", "value": "dog"}
    stored = fhir.made(
        a_value_set(
            url, {"system": animals, "filter": [is_a]}, {"system": animals, "concept": [{"code": "cat"}]}
        )
    )
    return found | {"url": url, "id": stored["id"], "system": animals}


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ("code:in={url}", "cat dog poodle"),
        ("code:in=ValueSet/{id}", "cat dog poodle"),
        ("code:not-in={url}", "dodo text"),
        ("code:below={system}|dog", "dog poodle"),
        ("code:below={system}|mammal", "cat dog poodle"),
        ("code:above={system}|poodle", "dog poodle"),
        ("code:above={system}|unicorn", ""),
        ("code:below={system}|cat,{system}|dodo", "cat dodo"),
        ("code:in={url}&code:not=cat", "dog poodle"),
        ("code:in={url}&code:below={system}|dog", "dog poodle"),
        ("_filter=code in {url} and not(code sb {system}|dog)", "cat"),
        ("_filter=code ss {system}|poodle", "dog poodle"),
        ("_filter=code ni {url}", "dodo text"),
    ],
)
@pytest.mark.verifies("search-token-2")
def test_codes_are_found_by_meaning(fhir: Fhir, herd: dict[str, str], criteria: str, expected: str) -> None:
    url = f"/Observation?patient={herd['patient']}&{criteria.format(**herd)}"
    assert sorted(fhir.ids(url)) == sorted(herd[name] for name in expected.split())


def test_a_chain_ends_in_a_value_set(fhir: Fhir, herd: dict[str, str]) -> None:
    genders = f"{R4}/ValueSet/administrative-gender"
    inside = fhir.ids(f"/Observation?patient={herd['patient']}&patient.gender:in={genders}")
    assert len(inside) == 5
    assert fhir.ids(f"/Observation?patient={herd['patient']}&patient.gender:not-in={genders}") == []
    has = fhir.ids(f"/Patient?_id={herd['patient'][8:]}&_has:Observation:patient:code:in={herd['url']}")
    assert has == [herd["patient"]]


def test_plain_codes_are_found_by_the_system_of_their_binding(fhir: Fhir) -> None:
    family = unique("Silva")
    patient = fhir.made(a_patient(gender="female", name=[{"family": family}]))
    found = fhir.ids(f"/Patient?family={family}&gender:below={R4}/administrative-gender|female")
    assert found == [f"Patient/{patient['id']}"]
    assert fhir.ids(f"/Patient?family={family}&gender:below=female") == found
    assert fhir.ids(f"/Patient?family={family}&gender:below=male") == []


def test_a_change_of_the_value_set_is_seen_at_once(fhir: Fhir, herd: dict[str, str]) -> None:
    own = fhir.made(a_value_set(an_url(), {"system": herd["system"], "concept": [{"code": "cat"}]}))
    search = f"/Observation?patient={herd['patient']}&code:in={own['url']}"
    assert fhir.ids(search) == [herd["cat"]]
    changed: dict[str, Any] = own | {
        "compose": {"include": [{"system": herd["system"], "concept": [{"code": "dodo"}]}]}
    }
    fhir.update(changed)
    assert fhir.ids(search) == [herd["dodo"]]


@pytest.mark.parametrize(
    ("criteria", "issue", "code"),
    [
        ("code:in=https://example.org/nothing", "not-found", "value-set-unknown"),
        ("code:in=ValueSet/nobody", "not-found", "value-set-unknown"),
        (f"code:in={R4}/ValueSet/ucum-units", "too-costly", "expansion-not-possible"),
        ("code:below=dog", "value", "search-value-token"),
        ("code:below=urn:x|dog", "not-found", "code-system-unknown"),
        (f"code:above={V3}/v3-ActCode|", "value", "search-value-token"),
        ("code:inside=x", "invalid", "modifier-unknown"),
        ("date:in=x", "invalid", "modifier-unknown"),
        ("_filter=date in x", "invalid", "filter-operator"),
    ],
)
def test_a_search_by_meaning_is_refused(fhir: Fhir, criteria: str, issue: str, code: str) -> None:
    assert_outcome(fhir.get(f"/Observation?{criteria}"), 400, issue, code)


def test_unknown_value_sets_are_refused_in_unprocessable_parts(fhir: Fhir) -> None:
    response = fhir.get(f"/Observation?code:in={R4}/ValueSet/observation-codes")
    assert_outcome(response, 422, "processing", "code-system-unknown")
