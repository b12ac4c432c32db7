"""Resources that break a profile beside their neighbours that keep to it.

Source: hl7.org/fhir/R4/profiling.html, elementdefinition.html, defining-extensions.html
"""

from __future__ import annotations

import copy
import random
from functools import cache

import pytest

from fhirserver.validation import Validator
from tests.unit.validation import cases_json, cases_meaning
from tests.unit.validation.cases_profiles import CASES, DEFINITIONS
from tests.unit.validation.kit import changed
from tests.unit.validation.profilekit import CANONICAL, ProfileCase, profile, validator
from tests.unit.validation.test_validator import JUNK, places

NUMBERS = {case.name: number for number, case in enumerate(CASES)}


def url(case: ProfileCase) -> str:
    return f"{CANONICAL}case-{NUMBERS[case.name]}"


@cache
def knowing_all() -> Validator:
    own = [profile(url(case).removeprefix(CANONICAL), case.base, case.rows) for case in CASES]
    return validator(*DEFINITIONS, *own)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_keeps_to_the_profile_passes(case: ProfileCase) -> None:
    assert knowing_all().validate(changed(case.base, case.good), profiles=[url(case)]) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_breaks_the_profile_is_named_for_its_reason(case: ProfileCase) -> None:
    issues = knowing_all().validate(changed(case.base, case.bad), profiles=[url(case)])
    found = {(issue.severity, issue.issue_code.value, issue.code, issue.expression) for issue in issues}
    assert found == {(case.severity, case.issue, case.code, (case.expression,)), *case.also}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_type_alone_does_not_mind(case: ProfileCase) -> None:
    assert knowing_all().validate(changed(case.base, case.bad), plain=True) == []


def test_the_tables_hold_at_least_250_broken_resources() -> None:
    assert len(NUMBERS) == len(CASES) >= 110
    assert len(CASES) + len(cases_json.CASES) + len(cases_meaning.CASES) >= 250


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_junk_in_any_place_is_an_issue_and_never_a_crash(case: ProfileCase) -> None:
    chosen = random.Random(case.name)
    for changes in (case.good, case.bad):
        for _ in range(12):
            resource = changed(case.base, changes)
            for _ in range(chosen.randint(1, 3)):
                container, key = chosen.choice(places(resource))
                container[key] = copy.deepcopy(chosen.choice(JUNK))
            thorough = chosen.random() < 0.3
            issues = knowing_all().validate(resource, case.base, profiles=[url(case)], thorough=thorough)
            assert isinstance(issues, list)
