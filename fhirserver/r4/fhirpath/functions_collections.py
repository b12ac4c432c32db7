"""Functions on collections: existence, filtering, subsetting, combining, types, tree navigation.

Source: hl7.org/fhirpath/N1/#existence, #filtering-and-projection, #subsetting, #combining, #types
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fhirserver.r4.fhirpath.functions import (
    Compiling,
    Function,
    checked_type,
    each,
    eager,
    source_of,
    type_specifier,
)
from fhirserver.r4.fhirpath.model import CLASS_INFO, Item
from fhirserver.r4.fhirpath.operators import distinct
from fhirserver.r4.fhirpath.state import Items, Run, State, failed
from fhirserver.r4.fhirpath.values import EMPTY, boolean, identity, made, single, system, truth
from fhirserver.r4.paths import Node


def type_test(compiling: Compiling, operator: str, operand: Run, name: str) -> Run:
    """`operand is type` and `operand as type`."""
    checked_type(compiling, name)

    def run(state: State, focus: Items) -> Items:
        state.spend(1)
        item = single(operand(state, focus), operator)
        if item is None:
            return EMPTY
        matches = state.model.is_a(item.type, name)
        if operator == "is":
            return boolean(matches)
        return [item] if matches else EMPTY

    return run


def _typed(operator: str) -> Function:
    def build(compiling: Compiling, source: Run | None, arguments: tuple[Node, ...]) -> Run:
        return type_test(compiling, operator, source_of(source), type_specifier(compiling, arguments[0]))

    return Function(1, 1, build)


def _of_type(compiling: Compiling, source: Run | None, arguments: tuple[Node, ...]) -> Run:
    input_of, name = source_of(source), type_specifier(compiling, arguments[0])

    def run(state: State, focus: Items) -> Items:
        items = input_of(state, focus)
        state.spend(len(items))
        return [item for item in items if state.model.is_a(item.type, name)]

    return run


def _loop(apply: Callable[[State, Items, Run], Items], optional: bool = False) -> Function:
    """A function whose argument is evaluated for each item."""

    def build(compiling: Compiling, source: Run | None, arguments: tuple[Node, ...]) -> Run:
        input_of = source_of(source)
        body = compiling.run(arguments[0]) if arguments else _itself

        def run(state: State, focus: Items) -> Items:
            items = input_of(state, focus)
            return apply(state, items, body)

        return run

    return Function(0 if optional else 1, 1, build)


def _itself(_state: State, focus: Items) -> Items:
    return focus


def _where(state: State, items: Items, body: Run) -> Items:
    return [item for item, found in each(state, items, body) if truth(found, "where()") is True]


def _exists(state: State, items: Items, body: Run) -> Items:
    if body is _itself or not items:
        return boolean(bool(items))
    return boolean(any(truth(found, "exists()") is True for _, found in each(state, items, body)))


def _all(state: State, items: Items, body: Run) -> Items:
    return boolean(all(truth(found, "all()") is True for _, found in each(state, items, body)))


def _select(state: State, items: Items, body: Run) -> Items:
    selected = [item for _, found in each(state, items, body) for item in found]
    state.spend(len(selected))
    return selected


def _repeat(state: State, items: Items, body: Run) -> Items:
    seen: set[Any] = set()
    found: Items = []
    waiting = items
    while waiting:
        fresh = []
        for item in _select(state, waiting, body):
            key = identity(item, state.spend)
            if key not in seen:
                seen.add(key)
                fresh.append(item)
        found += fresh
        waiting = fresh
    return found


def _aggregate(compiling: Compiling, source: Run | None, arguments: tuple[Node, ...]) -> Run:
    input_of, body = source_of(source), compiling.run(arguments[0])
    start = compiling.run(arguments[1]) if len(arguments) > 1 else None

    def run(state: State, focus: Items) -> Items:
        items = input_of(state, focus)
        state.spend(len(items))
        outer = state.index, state.total
        total = start(state, focus) if start else EMPTY
        for index, item in enumerate(items):
            state.index, state.total = index, total
            total = body(state, [item])
        state.index, state.total = outer
        return total

    return run


def _iif(compiling: Compiling, source: Run | None, arguments: tuple[Node, ...]) -> Run:
    input_of = source_of(source)
    condition, then, *otherwise = (compiling.run(argument) for argument in arguments)

    def run(state: State, focus: Items) -> Items:
        state.spend(1)
        items = input_of(state, focus)
        if source is not None:
            single(items, "iif()")
        chosen = single(condition(state, items), "iif()")
        if chosen is not None and type(chosen.value) is not bool:
            raise failed("iif() takes a condition that is true or false.")
        if chosen is not None and chosen.value:
            return then(state, items)
        return otherwise[0](state, items) if otherwise else EMPTY

    return run


def _truths(what: str, test: Callable[[list[Any]], bool]) -> Function:
    def run(_state: State, items: Items) -> Items:
        values = [system(item) for item in items]
        if any(type(value) is not bool for value in values):
            raise failed(f"{what} takes booleans.")
        return boolean(test(values))

    return eager(0, 0, run)


def _not(_state: State, items: Items) -> Items:
    value = truth(items, "not()")
    return boolean(None if value is None else not value)


def _subset(state: State, items: Items, others: Items) -> Items:
    state.spend(len(others))
    known = {identity(item, state.spend) for item in others}
    return boolean(all(identity(item, state.spend) in known for item in items))


def _count_of(argument: Items, what: str) -> int | None:
    item = single(argument, what)
    if item is None:
        return None
    value = system(item)
    if type(value) is not int:
        raise failed(f"{what} takes an integer.")
    return value


def _skip(_state: State, items: Items, argument: Items) -> Items:
    number = _count_of(argument, "skip()")
    return EMPTY if number is None else items[max(number, 0) :]


def _take(_state: State, items: Items, argument: Items) -> Items:
    number = _count_of(argument, "take()")
    return EMPTY if number is None else items[: max(number, 0)]


def _single(_state: State, items: Items) -> Items:
    item = single(items, "single()")
    return EMPTY if item is None else [item]


def _intersect(state: State, items: Items, others: Items) -> Items:
    state.spend(len(others))
    known = {identity(item, state.spend) for item in others}
    return distinct(state, [item for item in items if identity(item, state.spend) in known])


def _exclude(state: State, items: Items, others: Items) -> Items:
    state.spend(len(others))
    known = {identity(item, state.spend) for item in others}
    return [item for item in items if identity(item, state.spend) not in known]


def _children(state: State, items: Items) -> Items:
    found: Items = []
    for item in items:
        state.model.children(item, found)
    state.spend(len(found))
    return found


def _descendants(state: State, items: Items) -> Items:
    found: Items = []
    waiting = items
    while waiting:
        waiting = _children(state, waiting)
        found += waiting
    return found


def _type(_state: State, items: Items) -> Items:
    found = []
    for item in items:
        space, _, name = (
            item.type.rpartition(".") if item.type.startswith("System.") else ("FHIR", "", item.type)
        )
        found.append(Item({"namespace": space, "name": name}, CLASS_INFO))
    return found


FUNCTIONS: Mapping[str, Function] = {
    "exists": _loop(_exists, optional=True),
    "empty": eager(0, 0, lambda _state, items: boolean(not items)),
    "not": eager(0, 0, _not),
    "all": _loop(_all),
    "allTrue": _truths("allTrue()", all),
    "anyTrue": _truths("anyTrue()", any),
    "allFalse": _truths("allFalse()", lambda values: not any(values)),
    "anyFalse": _truths("anyFalse()", lambda values: not all(values)),
    "subsetOf": eager(1, 1, _subset),
    "supersetOf": eager(1, 1, lambda state, items, others: _subset(state, others, items)),
    "count": eager(0, 0, lambda _state, items: made(len(items))),
    "distinct": eager(0, 0, distinct),
    "isDistinct": eager(0, 0, lambda state, items: boolean(len(distinct(state, items)) == len(items))),
    "where": _loop(_where),
    "select": _loop(_select),
    "repeat": _loop(_repeat),
    "aggregate": Function(1, 2, _aggregate),
    "iif": Function(2, 3, _iif),
    "ofType": Function(1, 1, _of_type),
    "is": _typed("is"),
    "as": _typed("as"),
    "type": eager(0, 0, _type),
    "single": eager(0, 0, _single),
    "first": eager(0, 0, lambda _state, items: items[:1]),
    "last": eager(0, 0, lambda _state, items: items[-1:]),
    "tail": eager(0, 0, lambda _state, items: items[1:]),
    "skip": eager(1, 1, _skip),
    "take": eager(1, 1, _take),
    "intersect": eager(1, 1, _intersect),
    "exclude": eager(1, 1, _exclude),
    "union": eager(1, 1, lambda state, items, others: distinct(state, items + others)),
    "combine": eager(1, 1, lambda state, items, others: items + others),
    "children": eager(0, 0, _children),
    "descendants": eager(0, 0, _descendants),
    "trace": eager(1, 2, lambda _state, items, *_arguments: items),
}
