"""Searches by hidden elements: refused, or held to what the caller sees whole. docs/explanation/access.md; threat C3."""

from __future__ import annotations

import pytest

from fhirserver.outcome import Forbidden
from fhirserver.search.expression import (
    And,
    Chain,
    Coded,
    Composite,
    Contains,
    Dates,
    Equals,
    Exact,
    Expression,
    Has,
    Hierarchy,
    Ids,
    Missing,
    Near,
    Not,
    Numbers,
    Only,
    Or,
    Starts,
    Uncontaining,
    Updated,
    Words,
)
from fhirserver.search.guard import Guard
from fhirserver.search.mask import Mask, Shape

SHOWN, ROWS = frozenset(("status", "patient")), Equals("~Patient", ("t/Patient/p1",))
NOTHING_WHOLE = Guard({"Encounter": Mask(Shape({}, {}), frozenset(), SHOWN)})
SOME_WHOLE = Guard({"Encounter": Mask(Shape({}, {}), frozenset(), SHOWN, frozenset(("p1",)), ROWS)})
FINE = Equals("status", ("finished",))
HIDDEN = Equals("reason-code", ("x",))

LEAVES: list[Expression] = [
    HIDDEN, Missing("reason-code"), Missing("reason-code", False), Only("reason-code", "x"), Starts("reason-code~text", "x"),
    Contains("reason", "x"), Exact("reason", "x", "x"), Dates("when", (), ()), Numbers("n", ()), Composite("c", ()),
    Near(1, 2, 3), Words("_text", ("x",)), Words("_content", ("x",)), Coded("reason-code", "in", "x"),
    Hierarchy("reason", "Location", "t/Location/l", "partof", below=True),
    Chain("diagnosis", "Condition", FINE),
]  # fmt: skip
OPEN: list[Expression] = [
    FINE, Missing("patient"), Ids(("1",)), Updated(()), Uncontaining(), And(), Or(), Chain("patient", "Patient", HIDDEN),
    Has("Claim", "encounter", HIDDEN, "Encounter"),
]  # fmt: skip


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__class__.__name__)
@pytest.mark.parametrize("wrap", [lambda x: x, Not, lambda x: And((FINE, x)), lambda x: Or((FINE, Not(x)))])
def test_a_condition_on_a_hidden_element_is_refused_wherever_it_stands(
    leaf: Expression, wrap: object
) -> None:
    expression: Expression = wrap(leaf)  # type: ignore[operator]
    for place in (expression, Not(And((expression,)))):
        with pytest.raises(Forbidden) as refused:
            NOTHING_WHOLE.guarded("Encounter", place)
        assert refused.value.issues[0].code == "parameter-masked"
    for hop in (Chain("encounter", "Encounter", expression), Not(Chain("encounter", "Encounter", expression)),
                Has("Encounter", "patient", expression, "Patient"),
                Chain("x", "Claim", Chain("encounter", "Encounter", expression))):  # fmt: skip
        with pytest.raises(Forbidden):
            NOTHING_WHOLE.guarded("Observation", hop)
    assert NOTHING_WHOLE.guarded("Observation", expression) == expression  # nothing of it is masked


@pytest.mark.parametrize("leaf", OPEN, ids=lambda leaf: leaf.__class__.__name__)
def test_a_condition_on_what_is_shown_stays_as_it_is(leaf: Expression) -> None:
    for guard in (NOTHING_WHOLE, SOME_WHOLE):
        for expression in (leaf, Not(leaf), And((leaf, FINE))):
            assert guard.guarded("Encounter", expression, ("status",)) == expression


def test_a_reference_back_by_a_hidden_element_is_refused() -> None:
    with pytest.raises(Forbidden):
        NOTHING_WHOLE.guarded("Condition", Has("Encounter", "diagnosis", FINE, "Condition"))
    back = Has("Encounter", "patient", FINE, "Patient")
    assert NOTHING_WHOLE.guarded("Patient", back) == back


def test_an_order_by_a_hidden_element_is_refused() -> None:
    with pytest.raises(Forbidden):
        NOTHING_WHOLE.guarded("Encounter", FINE, ("reason-code~s",))
    assert SOME_WHOLE.guarded("Encounter", FINE, ("reason-code~s",)) == And((FINE, ROWS))


def test_where_some_are_seen_whole_the_search_is_among_these() -> None:
    guarded = SOME_WHOLE.guarded
    assert guarded("Encounter", Not(HIDDEN)) == And((Not(HIDDEN), ROWS))
    assert guarded("Claim", Not(Chain("encounter", "Encounter", HIDDEN))) == Not(
        Chain("encounter", "Encounter", And((HIDDEN, ROWS)))
    )
    assert guarded("Condition", Has("Encounter", "diagnosis", FINE, "Condition")) == Has(
        "Encounter", "diagnosis", And((FINE, ROWS)), "Condition"
    )


def test_the_words_of_what_contains_others_tell_nothing_where_these_are_hidden() -> None:
    words = Words("_content", ("x",))
    assert Guard({}, inside=True).guarded("Claim", Not(words)) == Not(And((words, Uncontaining())))
    assert Guard({}).guarded("Claim", words) == words
