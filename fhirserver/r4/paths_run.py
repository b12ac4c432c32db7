"""Resolved paths as plain closures over JSON: no types, no trees, no lookups left at run time.

A selector takes (focus, root) and returns a list of values; a test takes the same and returns a bool. `root`
is the resource, for %resource. Broken JSON (a string where an object belongs) selects nothing; it never
raises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from fhirserver.r4.paths_resolve import Branch, Condition, Step

Selector: TypeAlias = Callable[[Any, Any], list[Any]]
Test: TypeAlias = Callable[[Any, Any], bool]


def selector(branch: Branch) -> Selector:
    """The closure that collects the values of one branch."""
    if len(branch.steps) == 1 and isinstance(branch.steps[0], str):
        return _property(branch.steps[0])
    stages = [_stage(step) for step in branch.steps]

    def select(focus: Any, root: Any) -> list[Any]:
        values = [focus]
        for stage in stages:
            values = stage(values, root)
            if not values:
                break
        return values

    return select


def union(branches: Sequence[Branch]) -> Selector:
    """The closure that collects the values of several branches, in their order."""
    selectors = [selector(branch) for branch in branches]
    if len(selectors) == 1:
        return selectors[0]
    return lambda focus, root: [value for select in selectors for value in select(focus, root)]


def test(condition: Condition) -> Test:
    """The closure that says whether a condition holds for a focus; comparing with nothing does not hold."""
    operator = condition[0]
    if operator in ("and", "or"):
        left, right = test(condition[1]), test(condition[2])
        if operator == "and":
            return lambda focus, root: left(focus, root) and right(focus, root)
        return lambda focus, root: left(focus, root) or right(focus, root)
    if operator == "not":
        inner = test(condition[1])
        return lambda focus, root: not inner(focus, root)
    if operator == "refers":
        wanted: str = condition[1]
        return lambda focus, root: reference_type(focus) == wanted
    select = union(condition[1])
    if operator == "exists":
        return lambda focus, root: bool(select(focus, root))
    return _comparison(operator, select, condition)


def _comparison(operator: str, select: Selector, condition: Condition) -> Test:
    value = condition[2]
    kind = bool if isinstance(value, bool) else object
    if operator == "eq":
        if kind is object and len(condition[1]) == 1 and len(condition[1][0].steps) == 1:
            name = condition[1][0].steps[0]
            if isinstance(name, str):
                return lambda focus, root: type(focus) is dict and focus.get(name) == value
        return lambda focus, root: any(v == value and isinstance(v, kind) for v in select(focus, root))

    def differs(focus: Any, root: Any) -> bool:
        values = select(focus, root)
        return bool(values) and not any(v == value and isinstance(v, kind) for v in values)

    return differs


def reference_type(reference: Any) -> str | None:
    """The type of resource that a Reference names: by its url, else by Reference.type."""
    if type(reference) is not dict:
        return None
    text = reference.get("reference")
    if type(text) is str and not text.startswith(("#", "urn:")):
        path, _, query = text.partition("?")
        parts = path.split("/")
        if query:
            return parts[-1]
        if len(parts) > 3 and parts[-2] == "_history":
            parts = parts[:-2]
        return parts[-2] if len(parts) > 1 else None
    named = reference.get("type")
    return named.rpartition("/")[2] if type(named) is str else None


def _property(name: str) -> Selector:
    def select(focus: Any, _root: Any) -> list[Any]:
        value = focus.get(name) if type(focus) is dict else None
        if value is None:
            return []
        return value if type(value) is list else [value]

    return select


def _stage(step: Step) -> Callable[[list[Any], Any], list[Any]]:
    if isinstance(step, str):
        select = _property(step)
        return lambda values, root: [found for value in values for found in select(value, root)]
    kind = step[0]
    if kind == "where":
        condition = test(step[1])
        return lambda values, root: [value for value in values if condition(value, root)]
    if kind == "test":
        condition = test(step[1])
        return lambda values, root: [condition(value, root) for value in values]
    if kind == "at":
        index: int = step[1]
        return lambda values, root: values[index : index + 1] if index >= 0 else values[-1:]
    return lambda values, root: [root]
