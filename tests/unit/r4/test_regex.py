"""Regular expressions match what Python's `re` matches, and always end. Source: security.md D13."""

from __future__ import annotations

import re
from itertools import count

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhirserver.r4.elements import TABLE
from fhirserver.r4.fhirpath.regex import compile_pattern
from fhirserver.r4.fhirpath.regex_tree import Unmatchable

ATOMS = [
    "a",
    "b",
    "-",
    r"\.",
    ".",
    "[ab]",
    "[^a]",
    "[a-c1]",
    r"\d",
    r"\w",
    r"\S",
    r"\x61",
    "(?:ab)",
    "(a|b)",
    r"[\w.-]",
]
REPEATS = ["", "*", "+", "?", "{2}", "{1,3}", "{2,}", "*?"]
pieces = st.lists(st.tuples(st.sampled_from(ATOMS), st.sampled_from(REPEATS)), min_size=1, max_size=4)
expressions = st.builds(
    lambda groups, ends, outer: (
        ends[0] + "|".join("(" + "".join(a + r for a, r in g) + ")" + outer for g in groups) + ends[1]
    ),
    st.lists(pieces, min_size=1, max_size=3),
    st.sampled_from([("", ""), ("^", "$"), ("", "$"), (r"\b", "")]),
    st.sampled_from(["", "+", "{0,2}"]),
)


def free(_steps: int) -> None:
    """A budget without bounds."""


@settings(max_examples=150, deadline=None)
@given(expressions, st.text(alphabet="abc1-. \n", max_size=8))
def test_the_automaton_agrees_with_python(expression: str, text: str) -> None:
    pattern = compile_pattern(expression)
    python = re.compile(expression.replace("$", r"\Z"), re.DOTALL | re.ASCII)
    searched, whole = python.search(text) is not None, python.fullmatch(text) is not None
    assert pattern.search(text, free) is searched
    assert pattern.fullmatch(text, free) is whole
    assert pattern.automaton(text, free, whole=False) is searched
    assert pattern.automaton(text, free, whole=True) is whole


@pytest.mark.parametrize(
    "expression",
    [r"(a+)+$", r"(a|aa)+$", r"(a*)*b", r"(.*)*x", r"^(\w+\s?)*$", r"a*a*a*a*a*b", r"(a?){30}a{30}"],
)
def test_a_hostile_expression_takes_steps_in_proportion_to_the_text(expression: str) -> None:
    def steps(length: int) -> int:
        counter = [0]
        pattern = compile_pattern(expression)

        def spend(number: int) -> None:
            counter[0] += number

        pattern.search("a" * length + "!", spend)
        return counter[0]

    assert steps(4000) <= 5 * steps(1000) + 5000
    assert steps(4000) < 100_000


@pytest.mark.parametrize(
    "expression",
    [
        r"(a",
        "a)",
        "a**",
        "*",
        r"(?=a)",
        r"(a)\1",
        r"\p{L}",
        "[z-a]",
        "a{3,1}",
        "(a{1,999}){1,999}",
        "(?i)a",
        "^*",
        r"\u12",
    ],
)
def test_what_is_not_known_or_too_large_is_refused(expression: str) -> None:
    with pytest.raises(Unmatchable):
        compile_pattern(expression)


def test_groups_nest_only_so_deep() -> None:
    compile_pattern("(" * 40 + "a" + ")" * 40)
    with pytest.raises(Unmatchable):
        compile_pattern("(" * 400 + "a" + ")" * 400)


def test_the_expressions_of_r4_are_known() -> None:
    """Those of matches() in the invariants, and those of the primitive types."""
    table = orjson.loads(TABLE.read_bytes())
    found = {text for text in table["primitives"].values() if text}
    for meanings in table["rules"].values():
        for _, _, expression, _ in meanings:
            found.update(re.findall(r"matches\('((?:[^'\\]|\\.)*)'\)", expression))
    counted = count()
    for text in found:
        compile_pattern(text.replace("\\\\", "\\"))
        next(counted)
    assert next(counted) > 15
