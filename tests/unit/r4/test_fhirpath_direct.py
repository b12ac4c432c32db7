"""Invariants that are answered from plain JSON: the same answer as the evaluator gives, or none.

Source: hl7.org/fhirpath/N1
"""

from __future__ import annotations

import copy
import random
from functools import cache
from typing import Any

import pytest

from fhirserver.outcome import OutcomeError
from fhirserver.r4.elements import Elements
from fhirserver.r4.fhirpath.direct import Undecided, direct
from fhirserver.r4.fhirpath.evaluate import FhirPath
from fhirserver.r4.paths import parse_path
from tests.unit.validation.kit import BASES, changed
from tests.unit.validation.test_validator import places

COVERED = [
    "identifier.exists()",
    "name.given.empty()",
    "identifier.exists(system = 'urn:a' and value.exists())",
    "identifier.where(use = 'official').count() <= 1",
    "identifier.where(use != 'old' and use != 'temp').exists()",
    "identifier.all(system.exists())",
    "name.family.exists() or name.text.exists()",
    "gender = 'male' implies contact.exists()",
    "gender.empty() xor active.exists()",
    "gender.matches('^(male|female)$')",
    "gender.upper().matches('^FEMALE$').not()",
    "name.exists(given.count() > 1)",
    "contact.exists(name.family = 'Souza')",
    "contact.name.given.count() = 2",
    "(gender = 'male').not()",
    "telecom.where(system = 'phone').value.exists()",
    "extension.where(url = 'urn:x').count() <= 1",
    "meta.tag.code = 'a'",
    "active = true",
    "active != true or gender = 'male'",
    "Patient.identifier.where(system.startsWith('urn:a')).exists()",
    "identifier.exists(system.matches('^urn:(a|x)+$'))",
]
NOT_COVERED = [
    "birthDate < today()",
    "deceased.exists()",
    "%resource.gender = 'male'",
    "active",
    "identifier.select(system).exists()",
    "Practitioner.name.exists()",
    "nickname.exists()",
    "gender.length() > 2",
    "multipleBirth is integer",
    "birthDate = '2020'",
]


@cache
def elements() -> Elements:
    return Elements.load()


@cache
def evaluator() -> FhirPath:
    return FhirPath(elements())


def evaluated(expression: str, resource: Any) -> Any:
    """What the evaluator says: a truth value, None for empty, "error"."""
    try:
        items = evaluator().items(expression, resource, type="Patient", resource=resource)
    except OutcomeError:
        return "error"
    return items[0].value if items else None


def patients() -> list[Any]:
    """Patients of many kinds, some of them with junk in a place."""
    chosen = random.Random(1)
    identifiers = [
        {"system": s, "value": "1", "use": u}
        for s in ("urn:a", "urn:b")
        for u in ("official", "old", "usual")
    ]
    found: list[Any] = [BASES["Patient"], {"resourceType": "Patient"}]
    for _ in range(150):
        resource = changed("Patient", {})
        if chosen.random() < 0.7:
            resource["identifier"] = chosen.sample(identifiers, chosen.randint(1, 4))
        if chosen.random() < 0.6:
            resource["gender"] = chosen.choice(["male", "female", "other"])
        if chosen.random() < 0.4:
            resource["active"] = True
        if chosen.random() < 0.5:
            resource["contact"] = [
                {"name": {"family": chosen.choice(["Souza", "Lima"]), "given": ["A", "B"]}}
            ]
        if chosen.random() < 0.4:
            resource["telecom"] = [
                {"system": chosen.choice(["phone", "email"]), "value": "1"},
                {"system": "phone"},
            ]
        if chosen.random() < 0.4:
            resource["extension"] = [{"url": "urn:x", "valueString": "1"}] * chosen.randint(1, 2)
        if chosen.random() < 0.4:
            resource["meta"] = {"tag": [{"code": "a"}, {"code": "b"}][: chosen.randint(1, 2)]}
        if chosen.random() < 0.3:
            resource["_gender"] = {"extension": [{"url": "urn:y", "valueString": "why"}]}
        if chosen.random() < 0.3:
            resource = copy.deepcopy(resource)
            container, key = chosen.choice(places(resource))
            container[key] = chosen.choice([None, 1, "x", [], {}, [None], {"x": 1}])
        found.append(resource | {"resourceType": "Patient"})
    return found


@pytest.mark.parametrize("expression", COVERED)
def test_the_direct_answer_is_that_of_the_evaluator(expression: str) -> None:
    holds = direct(parse_path(expression), elements(), "Patient")
    assert holds is not None
    answers = set()
    for resource in patients():
        try:
            answer = holds(resource)
        except Undecided:
            continue
        assert answer == evaluated(expression, resource), resource
        answers.add(answer)
    assert {True, False} <= answers or {True, None} <= answers


@pytest.mark.parametrize("expression", NOT_COVERED)
def test_what_is_not_covered_is_left_to_the_evaluator(expression: str) -> None:
    assert direct(parse_path(expression), elements(), "Patient") is None


def test_an_element_that_is_there_by_its_extension_alone_is_left_to_the_evaluator() -> None:
    expression = "gender.exists()"
    resource = {"resourceType": "Patient", "_gender": {"extension": [{"url": "urn:y", "valueString": "why"}]}}
    holds = direct(parse_path(expression), elements(), "Patient")
    assert holds is not None
    with pytest.raises(Undecided):
        holds(resource)
    assert evaluator().invariant(expression, "Patient")(resource, resource) is True
