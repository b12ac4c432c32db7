"""Whatever stands in a resource, an expression ends with values or an error of its own. Source: security.md D13"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhirserver.outcome import OutcomeError
from fhirserver.r4.elements import Elements
from fhirserver.r4.fhirpath.evaluate import FhirPath, Invariant, evaluate
from fhirserver.r4.fhirpath.model import Model
from fhirserver.r4.fhirpath.state import Environment, Run, State
from fhirserver.r4.paths import PathSyntaxError

ELEMENTS = Elements.load()
CASES = Path(__file__).parents[2] / "conformance" / "fhirpath" / "cases.json"
NAMES = re.findall(
    r"\w+",
    "resourceType id extension url contained value valueString valueQuantity _value name given start end status code "
    "coding system reference entry fullUrl resource type low high period div use total item linkId",
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**4000, -(10**400), Decimal("1e999999"), Decimal("-1E-9999"), 1.5, 2**63])
    | st.text(max_size=8)
    | st.sampled_from(
        ["2026-01-01", "2026-02-30", "T25", "Patient", "Patient/1", "#", "#a", "true", "Bundle", "1 'kg'"]
    )
)
junk = st.recursive(
    leaves,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from(NAMES), below, max_size=5),
    max_leaves=12,
)


@cache
def invariants() -> tuple[tuple[str, Invariant], ...]:
    paths = FhirPath(ELEMENTS, Environment(html_checks=lambda div: isinstance(div, str)))
    return tuple(
        (rule.key, paths.invariant(rule.expression, path))
        for path, rules in ELEMENTS.all_rules().items()
        for rule in rules
    )


@cache
def runs() -> tuple[Run, ...]:
    """HL7's cases, as far as they compile."""
    paths = FhirPath(ELEMENTS, Environment(html_checks=lambda div: isinstance(div, str)))
    found = []
    for _, _, expression, _ in json.loads(CASES.read_text()):
        try:
            found.append(paths.compile(expression))
        except OutcomeError:
            continue
    return tuple(found)


@settings(max_examples=40, deadline=None)
@given(junk)
def test_invariants_of_r4_bear_junk(value: Any) -> None:
    for key, holds in invariants():
        try:
            assert holds(value, value) in (True, False, None), key
        except OutcomeError:
            continue


@settings(max_examples=15, deadline=None)
@given(junk, st.sampled_from(["Patient", "Observation", "Bundle", "Quantity", "date", "integer", "decimal"]))
def test_expressions_bear_junk(value: Any, type_: str) -> None:
    model = Model(ELEMENTS)
    item = model.item(value, type_)
    for run in runs():
        try:
            run(State(model, Environment(), [item], value, value), [item])
        except OutcomeError:
            continue


@pytest.mark.parametrize(
    "expression",
    [
        "a" + ".a" * 4000,
        "1" + "+1" * 4000,
        "true" + " and true" * 900,
        "a" + "[0]" * 2000,
        "1" + "|1" * 4000,
        "(" * 59 + "1" + ")" * 59 + "+1" * 3000,
        "a.where(" * 55 + "true" + ")" * 55,
        "-" * 4000 + "1",
    ],
)
def test_a_long_chain_ends_without_exhausting_the_stack(expression: str) -> None:
    try:
        evaluate(expression, {"resourceType": "Patient"}, ELEMENTS)
    except PathSyntaxError:
        return
    assert len(expression) < 1000 or "|" in expression  # a union of literals is one constant
