"""From the search tree to MongoDB's filters.

Values become operands and nothing else: no text of a client is ever a key.

Chain, Has, Hierarchy and Coded must have been replaced (store/resolve.py) by Keys, Equals or Joined before. Strings
are matched by ranges, not by patterns, wherever the start of a value is asked for; both bounds of an interval
go into one $elemMatch, so that one index scan is closed on both sides. Source of the layout:
docs/explanation/storage.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from fhirserver.context import Permission
from fhirserver.outcome import InvalidSearchValue, NotSupported
from fhirserver.r4.dates import DAY
from fhirserver.search.expression import (
    And,
    Composite,
    Contains,
    Dates,
    Equals,
    Exact,
    Expression,
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
from fhirserver.search.types.date import sort_key
from fhirserver.search.types.ranges import Bound, Condition

Filter: TypeAlias = dict[str, Any]
NOWHERE: Filter = {"_id": {"$in": []}}
_ABOVE_ALL = "\U0010ffff"  # sorts after every text that starts alike
_MILLISECOND = 1000
_MOST_COMPILED = 4096
_EARTH = 6_378_137.0  # metres, as MongoDB's sphere has it
_LONGEST_PATTERN = 32_000  # bytes; MongoDB takes 32,764
_OPERATORS = {"lt": "$lt", "le": "$lte", "gt": "$gt", "ge": "$gte"}


@dataclass(frozen=True, slots=True)
class Keys:
    """Documents with one of these `_id`s."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """Documents for which a $lookup into the field `name` found something."""

    name: str


Compilable: TypeAlias = Expression | Keys | Joined


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tree is evaluated.

    `prefix`: of the fields ("ix.", in contained resources "ix.", in a composite "").

    `key`: what a logical id has before it in `_id` ("<tenant>/<Type>/"); for a contained resource, the
    path of its id.
    """

    prefix: str = "ix."
    key: str | None = None
    contained: bool = False


def compile_filter(expression: Compilable, place: Place) -> Filter:
    """The filter for documents that fulfil `expression`. Raises InvalidSearchValue, NotSupported."""
    match expression:
        case And(items):
            return conjunction([compile_filter(item, place) for item in items])
        case Or(items):
            return disjunction([compile_filter(item, place) for item in items])
        case Not(Equals(field, values)):
            return {place.prefix + field: {"$nin": list(values)}}
        case Not(item):
            return {"$nor": [compile_filter(item, place)]}
        case Keys(keys):
            return {"_id": _one_of(keys)}
        case Joined(name):
            return {f"{name}.0": {"$exists": True}}
        case Uncontaining():
            return {"cx": {"$exists": False}}
        case Ids() | Updated() | Near() | Words():
            return _of_document(expression, place)
    return _leaf(expression, place)


def conjunction(filters: list[Filter]) -> Filter:
    """All of `filters`, as one level where their keys differ; {} is no condition."""
    merged: Filter = {}
    rest: list[Filter] = []
    for each in filters:
        if any(key in merged for key in each):
            rest.append(each)
        else:
            merged.update(each)
    if not rest:
        return merged
    return {"$and": [merged, *rest]}


def disjunction(filters: list[Filter]) -> Filter:
    """Any of `filters`."""
    if not filters:
        return dict(NOWHERE)
    if any(not each for each in filters):
        return {}
    return filters[0] if len(filters) == 1 else {"$or": filters}


def sort_bounds(expression: Expression) -> Filter:
    """What the conditions of `expression` on an instant that a resource has once imply for its sort key.

    Implied and so superfluous, but an index that is read in the order of the key can begin and end by it. Not for
    parameters with intervals longer than a day.
    """
    found: Filter = {}
    for item in expression.items if isinstance(expression, And) else (expression,):
        if isinstance(item, Dates) and item.single and item.narrow:
            lows = [_least(bounds) for bounds in item.narrow]
            highs = [_beyond(bounds) for bounds in item.narrow]
            path, operators = f"ix.{item.field}~s", {}
            if all(low is not None for low in lows):
                operators["$gte"] = sort_key(min(low for low in lows if low is not None))
            if all(high is not None for high in highs):
                operators["$lt"] = sort_key(max(high for high in highs if high is not None))
            if operators:
                found[path] = operators
    return found


def _least(bounds: tuple[Bound, ...]) -> int | None:
    """The earliest start that fulfils `bounds`, None where nothing bounds it."""
    return max(
        (int(b.value) for b in bounds if b.field == "lo" and b.comparison in ("ge", "gt")), default=None
    )


def _beyond(bounds: tuple[Bound, ...]) -> int | None:
    """A time after every start that fulfils `bounds`, None where nothing bounds it."""
    return min((int(b.value) + 1 for b in bounds if b.comparison in ("lt", "le")), default=None)


def restriction_compiler(tenant: str) -> Callable[[Permission, str], Filter | None]:
    """The function that makes a Permission's restriction on a type a filter, None where there is none.

    Raises NotSupported for a restriction that reaches other resources (Chain, Has, Hierarchy, Coded).
    """
    made: dict[tuple[int, str], tuple[Expression, Filter]] = {}

    def compile_restriction(permission: Permission, type: str) -> Filter | None:
        restriction = permission.restriction(type)
        if type in permission.denied:
            return dict(NOWHERE)
        if restriction is None:
            return None
        key = (
            id(restriction),
            type,
        )  # permissions share theirs for seconds; looking into it would cost as much
        known = made.get(key)
        if known is not None and known[0] is restriction:
            return known[1]
        filter = compile_filter(restriction, Place(key=f"{tenant}/{type}/"))
        if len(made) >= _MOST_COMPILED:
            made.clear()
        made[key] = (restriction, filter)
        return filter

    return compile_restriction


def _one_of(values: tuple[str, ...]) -> Any:
    return values[0] if len(values) == 1 else {"$in": list(values)}


def _of_document(expression: Ids | Updated | Near | Words, place: Place) -> Filter:
    if place.contained:
        if isinstance(expression, Ids):
            return {place.key or "id": _one_of(expression.ids)}
        raise NotSupported(
            "Contained resources have no _lastUpdated, near, _text or _content of their own.",
            code="contained-not-supported",
        )
    match expression:
        case Ids(ids):
            return {"_id": _one_of(tuple(f"{place.key}{id}" for id in ids))}
        case Updated(condition):
            return disjunction([_updated(bounds) for bounds in condition])
        case Near(latitude, longitude, metres):
            circle = [[longitude, latitude], metres / _EARTH]
            return {"geo": {"$geoWithin": {"$centerSphere": circle}}}
        case Words(field, words):
            return {f"x.{field}": {"$all": list(words)}}


def _leaf(expression: Compilable, place: Place) -> Filter:
    match expression:
        case Equals(field, values):
            return {place.prefix + field: _one_of(values)}
        case Only(field, value):
            return {place.prefix + field: {"$eq": [value]}}
        case Missing(field, missing):
            return {place.prefix + field: {"$exists": not missing}}
        case Starts(field, text):
            return {place.prefix + field: {"$elemMatch": {"$gte": text, "$lt": text + _ABOVE_ALL}}}
        case Contains(field, text, at_end):
            return _contains(place.prefix + field, text, at_end)
        case Exact(field, text, folded):
            # What is inside of a document keeps no originals: there, folded equality is the nearest.
            found: Filter = {place.prefix + field: folded}
            return found if place.contained or not place.prefix else found | {f"x.{field}": text}
        case Dates(field, narrow, wide):
            return _dates(place.prefix + field, narrow, wide)
        case Numbers(field, condition, unit):
            extra = {} if unit is None else {"k": unit}
            return disjunction(
                [{place.prefix + field: {"$elemMatch": _bounds(each) | extra}} for each in condition]
            )
        case Composite(field, parts):
            inner = conjunction([compile_filter(part, Place("")) for part in parts])
            return {place.prefix + field: {"$elemMatch": inner}}
    raise NotSupported("The search reaches other resources where it must not.", code="search-not-local")


def _contains(path: str, text: str, at_end: bool) -> Filter:
    if "\x00" in text:  # no stored text has it
        return dict(NOWHERE)
    pattern = re.escape(text) + (r"\z" if at_end else "")
    if len(pattern.encode("utf-8", "surrogatepass")) > _LONGEST_PATTERN:
        raise InvalidSearchValue("The text to look for is too long.", code="search-value-too-long")
    return {path: {"$regex": pattern}}


def _dates(path: str, narrow: Condition, wide: Condition) -> Filter:
    filters: list[Filter] = []
    for bounds in _without_implied(narrow):
        within = _bounds(bounds)
        # hi is at most a day after lo: closes the scan should the planner take the index over hi.
        if "$lt" in within.get("lo", {}):
            within.setdefault("hi", {}).setdefault("$lte", within["lo"]["$lt"] + DAY)
        filters.append({path: {"$elemMatch": within}})
    filters += [{path: {"$elemMatch": _bounds(bounds, "w")}} for bounds in wide]
    return disjunction(filters)


def _without_implied(condition: Condition) -> Condition:
    """Alternatives without those that ask for more of `lo` than another that asks for nothing else."""
    floors = [
        (at, bounds[0])
        for at, bounds in enumerate(condition)
        if len(bounds) == 1 and bounds[0].field == "lo" and bounds[0].comparison in ("ge", "lt")
    ]
    kept = []
    for at, bounds in enumerate(condition):
        if not any(at != other and any(_implies(b, floor) for b in bounds) for other, floor in floors):
            kept.append(bounds)
    return tuple(kept)


def _implies(bound: Bound, floor: Bound) -> bool:
    if bound.field != "lo":
        return False
    if floor.comparison == "ge":
        return bound.comparison in ("gt", "ge") and bound.value >= floor.value
    return bound.comparison == "lt" and bound.value <= floor.value


def _bounds(bounds: tuple[Bound, ...], letter: str = "") -> dict[str, dict[str, Any]]:
    """The bounds on each stored field; `letter` "w" for the wide layout (wl, wh)."""
    found: dict[str, dict[str, Any]] = {}
    for bound in bounds:
        name = bound.field if not letter else f"w{bound.field[0]}"
        _tighten(found.setdefault(name, {}), bound.comparison, bound.value)
    return found


def _tighten(operators: dict[str, Any], comparison: str, value: float) -> None:
    """Add a bound; of two on one side only the stricter stays."""
    operator = _OPERATORS[comparison]
    old = operators.get(operator)
    if old is not None:
        value = min(old, value) if comparison in ("lt", "le") else max(old, value)
    operators[operator] = value


def _updated(bounds: tuple[Bound, ...]) -> Filter:
    """LastUpdated covers its millisecond: [ts, ts + 1000)."""
    operators: dict[str, Any] = {}
    for bound in bounds:
        shift = _MILLISECOND if bound.field == "hi" else 0
        _tighten(operators, bound.comparison, bound.value - shift)
    return {"ts": operators}


def is_local(expression: Compilable) -> bool:
    """True where the tree was compiled without any Joined, so that a filter alone answers it."""
    match expression:
        case Joined():
            return False
        case And(items) | Or(items):
            return all(is_local(item) for item in items)
        case Not(item):
            return is_local(item)
    return True
