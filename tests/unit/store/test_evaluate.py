"""What is told from the index agrees with what the database says to the compiled filter."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhirserver.search.evaluate import holds
from fhirserver.search.expression import And, Dates, Equals, Expression, Ids, Missing, Not, Only, Or
from fhirserver.search.types.ranges import Bound
from fhirserver.store.client import connect
from fhirserver.store.compile import Place, compile_filter
from fhirserver.store.restrict import Restrictions

FIELDS = ("a", "b")
_values = st.sampled_from(("x", "y", "z"))
_leaves: st.SearchStrategy[Expression] = st.one_of(
    st.builds(Equals, st.sampled_from(FIELDS), st.lists(_values, max_size=2).map(tuple)),
    st.builds(Only, st.sampled_from(FIELDS), _values),
    st.builds(Missing, st.sampled_from(FIELDS), st.booleans()),
    st.builds(Ids, st.lists(st.sampled_from(("1", "2")), max_size=2).map(tuple)),
)
_expressions = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)
ROWS: list[tuple[str, dict[str, Any]]] = [
    ("1", {}), ("2", {"a": ["x"]}), ("1", {"a": ["x", "y"]}), ("2", {"a": ["y"], "b": ["x"]}), ("1", {"b": ["z", "x"]}),
]  # fmt: skip


def test_index_and_database_agree(mongodb_uri: str) -> None:
    runner = asyncio.Runner()

    async def opened() -> Any:
        return connect(mongodb_uri)

    client = runner.run(opened())
    restrictions = Restrictions(client["test-evaluate"])
    documents = [{"_id": f"t/T/{id}", "ix": ix} for id, ix in ROWS]

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    @given(_expressions)
    def agree(expression: Expression) -> None:
        filter = compile_filter(expression, Place(key="t/T/"))
        said = runner.run(restrictions.match(filter, documents))
        assert [holds(expression, id, ix, FIELDS) for id, ix in ROWS] == said

    try:
        agree()
    finally:
        runner.run(client.close())
        runner.close()


def test_what_cannot_be_told_is_left_to_the_database() -> None:
    within = ((Bound("hi", "gt", 1),),)
    dates, known, other = Dates("d", within, within), Equals("a", ("x",)), Equals("c", ("x",))
    for unknown in (dates, other, Only("c", "x"), Missing("c")):
        assert holds(unknown, "1", {"a": ["x"]}, FIELDS) is None
        assert holds(Not(unknown), "1", {"a": ["x"]}, FIELDS) is None
        assert holds(And((known, unknown)), "1", {"a": ["x"]}, FIELDS) is None
        assert holds(And((known, unknown)), "1", {"a": ["y"]}, FIELDS) is False
        assert holds(Or((known, unknown)), "1", {"a": ["x"]}, FIELDS) is True
        assert holds(Or((known, unknown)), "1", {"a": ["y"]}, FIELDS) is None
