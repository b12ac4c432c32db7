"""Whether a resource fulfils a simple expression, told from its index without the database.

For reads by id under a restriction: the plain conditions that permissions are made of most. What is not among them has
no answer here, and the database is asked. Its answers agree with store/compile.py (tests/unit/store/test_evaluate.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from fhirserver.search.expression import And, Equals, Expression, Ids, Missing, Not, Only, Or


def holds(expression: Expression, id: str, ix: Mapping[str, Any], fields: Collection[str]) -> bool | None:
    """True or False; None where it cannot be told. `ix`: the index, of which only `fields` are known."""
    match expression:
        case And(items):
            return _all(holds(item, id, ix, fields) for item in items)
        case Or(items):
            return _not(_all(_not(holds(item, id, ix, fields)) for item in items))
        case Not(item):
            return _not(holds(item, id, ix, fields))
        case Ids(ids):
            return id in ids
        case Equals(field, values) if field in fields:
            return any(entry in values for entry in ix.get(field, ()))
        case Only(field, value) if field in fields:
            return bool(ix.get(field) == [value])
        case Missing(field, missing) if field in fields:
            return (field not in ix) is missing
    return None


def _all(answers: Iterable[bool | None]) -> bool | None:
    unknown = False
    for answer in answers:
        if answer is False:
            return False
        unknown = unknown or answer is None
    return None if unknown else True


def _not(answer: bool | None) -> bool | None:
    return None if answer is None else not answer
