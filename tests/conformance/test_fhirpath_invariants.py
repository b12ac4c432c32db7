"""The invariants that are written out in Python say what their FHIRPath says: examples and mutations of them.

Source: the constraints of the StructureDefinitions (r4/tables/elements.json), validation/rules_*.py
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import orjson
import pytest

from fhirserver.r4.elements import Elements
from fhirserver.r4.fhirpath.evaluate import FhirPath, Invariant
from fhirserver.r4.fhirpath.state import Environment, PathError
from fhirserver.validation import invariants
from fhirserver.validation.rules import Test
from tests.kit.package import package_dir

PER_RULE = 24
"""Examples that a rule is tried on; each is then mutated."""
MUTATIONS = 16
MAX_FILE = 40_000

DIFFERENT = {
    "bdl-8": "an entry without a fullUrl: nothing to contain a version",
    "md-1": "no maximum: nothing to be positive",
    "ras-2": "no probability: nothing to be at most 100",
    "rng-2": "units that do not compare: no order to be wrong",
    "que-7": "the expression asks for System.Boolean, which no FHIR boolean is",
    "obs-7": "the expression compares displays of codings too, the predicate system and code",
}
"""Rules whose predicate is meant to differ, and where. An expression that gives nothing does not hold."""


class Place(NamedTuple):
    """A rule at a path: `type` says which elements the value has."""

    path: str
    key: str
    test: Test
    compiled: Invariant


@cache
def elements() -> Elements:
    return Elements.load()


@cache
def paths() -> FhirPath:
    return FhirPath(elements(), Environment(html_checks=lambda _div: True))


def places() -> dict[str, list[Place]]:
    """Every rule that is written out, by the path where it is run."""
    found: dict[str, list[Place]] = defaultdict(list)
    for path, rules in elements().all_rules().items():
        for rule in rules:
            test = invariants.test_of(rule.key, path)
            if test is not None:
                type_ = type_at(path)
                found[path].append(Place(path, rule.key, test, paths().invariant(rule.expression, type_)))
    return found


def type_at(path: str) -> str:
    """The type of the elements that rules at a path see."""
    try:
        element = elements().element(path)
    except KeyError:
        return path
    return element.path or element.types[0].code


def walk(value: Any, type_: str, path: str) -> Iterator[tuple[str, Any]]:
    """(path or type, JSON) of a resource and everything below, without nested resources."""
    yield path, value
    if type_ != path:
        yield type_, value
    if not isinstance(value, dict):
        return
    for element in elements().children(type_):
        for name, code in element.json_names.items():
            below = value.get(name)
            if below is None or elements().is_resource(code):
                continue
            child = code if element.choice else element.path or code
            for item in below if isinstance(below, list) else [below]:
                yield from walk(item, child, element.id)


@pytest.fixture(scope="module")
def seen() -> dict[str, list[tuple[Any, Any]]]:
    """Path -> up to PER_RULE (value, resource) of the examples."""
    wanted = set(places())
    found: dict[str, list[tuple[Any, Any]]] = defaultdict(list)
    for file in sorted(package_dir().glob("*.json")):
        if file.stat().st_size > MAX_FILE:
            continue
        resource = orjson.loads(file.read_bytes())
        type_ = resource.get("resourceType") if isinstance(resource, dict) else None
        if not isinstance(type_, str) or type_ not in elements().resource_types:
            continue
        for path, value in walk(resource, type_, type_):
            if path in wanted and len(found[path]) < PER_RULE:
                found[path].append((value, resource))
    return found


def mutations(value: Any, others: list[tuple[Any, Any]], type_: str) -> Iterator[Any]:
    """The value without each of its properties, and with each property that another example has."""
    if not isinstance(value, dict):
        return
    required = {"resourceType", *(name for e in elements().children(type_) if e.min for name in e.json_names)}
    choices = [set(element.json_names) for element in elements().children(type_) if element.choice]
    for name in value:
        if name not in required:
            yield {key: item for key, item in value.items() if key != name}
    for other, _ in others:
        for name, item in other.items() if isinstance(other, dict) else ():
            conflicts = any(name in choice and choice.intersection(value) - {name} for choice in choices)
            if value.get(name) != item and not conflicts:
                yield {**value, name: item}


def verdicts(place: Place, value: Any, resource: Any) -> tuple[bool, bool | str]:
    try:
        return place.test(value), place.compiled(value, resource) is True
    except PathError as error:
        return place.test(value), str(error)


def differing(place: Place, values: list[tuple[Any, Any]]) -> tuple[int, int, list[Any]]:
    """How many verdicts were compared, how many were refusals, and the values on which they differ."""
    compared = refused = 0
    wrong = []
    for value, resource in values:
        tried = [value]
        for changed in mutations(value, values, type_at(place.path)):
            if len(tried) > MUTATIONS:
                break
            tried.append(changed)
        for item in tried:
            whole = item if value is resource else resource
            by_hand, by_path = verdicts(place, item, whole)
            compared += 1
            refused += not by_hand
            if by_hand is not by_path:
                wrong.append((item, by_hand, by_path))
    return compared, refused, wrong


def test_every_rule_of_r4_compiles() -> None:
    count = 0
    for path, rules in elements().all_rules().items():
        for rule in rules:
            paths().invariant(rule.expression, type_at(path))
            count += 1
    assert count == 244


def test_predicates_and_expressions_agree(seen: dict[str, list[tuple[Any, Any]]]) -> None:
    compared = refused = 0
    tried, refusing, disagreeing = set(), set(), {}
    for path, rules in places().items():
        for place in rules:
            all_of_it, refusals, wrong = differing(place, seen.get(path, []))
            compared += all_of_it
            refused += refusals
            tried |= {place.key} if all_of_it else set()
            refusing |= {place.key} if refusals else set()
            if wrong:
                disagreeing[place.key] = f"at {path}: {wrong[0]}"
    assert {key: why for key, why in disagreeing.items() if key not in DIFFERENT} == {}
    assert set(DIFFERENT) <= set(disagreeing)
    assert compared > 40_000
    assert refused > 1_500
    assert len(tried) > 175
    assert len(refusing) > 85


def test_a_wrong_predicate_would_be_noticed(seen: dict[str, list[tuple[Any, Any]]]) -> None:
    place = next(place for place in places()["Period"] if place.key == "per-1")
    assert differing(place, seen["Period"])[2] == []
    turned = place._replace(test=lambda value: not place.test(value))
    assert differing(turned, seen["Period"])[2] != []
