"""The order of matches, as a sequence of stretches, each of which the database can walk and resume anywhere.

Without _sort: by type and id. One stored sort key: first the resources that have a value, in its order, then
those without, by id. Several keys, tokens, references and uris: values are computed in a pipeline. A position
is what the last match of a page had as its key; what follows it is found by comparison, never by counting.
Source: hl7.org/fhir/R4/search.html#sort
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cmp_to_key
from typing import Any, TypeAlias

from fhirserver.search.sort import SortBy, SortKey
from fhirserver.store.client import Document
from fhirserver.store.compile import Filter

Sort: TypeAlias = list[tuple[str, int]]
Position: TypeAlias = list[Any]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some types whose matches are walked together in one order.

    `filter`: what a match must have to belong here. `sort`: what the database sorts by. `keys`: where
    computed, the stages that compute them. `contained`: matches are containers of what is searched.
    """

    types: tuple[str, ...]
    sort: Sort
    filter: Filter = field(default_factory=dict)
    keys: tuple[Document, ...] = ()
    contained: bool = False

    def after(self, type: str, position: Position | None, tenant: str) -> Filter:
        """What selects the matches of `type` after a position of this stretch; with None, all."""
        if self.sort[0][0] == "_id" and position is None:
            return {"_id": {"$gt": f"{tenant}/{type}/", "$lt": f"{tenant}/{type}0"}}
        if position is None:
            return {}
        if self.sort[0][0] == "_id":
            return self._after_id(type, position[0], tenant)
        if len(self.sort) == 1:  # a stored key: unique within its type
            value, last = position
            ascending = self.sort[0][1] > 0
            equal = type != last and (type > last)
            return {self.sort[0][0]: {("$gt" if ascending else "$lt") + ("e" if equal else ""): value}}
        return _lexical(self.sort, position)

    def _after_id(self, type: str, key: str, tenant: str) -> Filter:
        low, high = f"{tenant}/{type}/", f"{tenant}/{type}0"
        if self.sort[0][1] > 0:
            return {"_id": {"$gt": max(key, low), "$lt": high}}
        return {"_id": {"$gt": low, "$lt": min(key, high)}}

    def position(self, type: str, document: Document) -> Position:
        """The position of a match, as JSON values."""
        values = [_value(document, path) for path, _ in self.sort]
        return [*values, type] if len(values) == 1 and self.sort[0][0] != "_id" else values

    def merged(self, found: Sequence[tuple[str, Document]]) -> list[tuple[str, Document]]:
        """Matches of several types in one order."""
        if len(self.types) == 1:
            return list(found)
        directions = [direction for _, direction in self.sort] + [1]

        def compare(one: tuple[str, Document], other: tuple[str, Document]) -> int:
            pairs = zip(
                [*self._values(one), one[0]], [*self._values(other), other[0]], directions, strict=True
            )
            for a, b, direction in pairs:
                if a != b:
                    return direction if a > b else -direction
            return 0

        return sorted(found, key=cmp_to_key(compare))

    def _values(self, match: tuple[str, Document]) -> list[Any]:
        return [_value(match[1], path) for path, _ in self.sort]


def stretches(sort: Sequence[SortKey], types: tuple[str, ...]) -> list[Stretch]:
    """The stretches that together walk all matches of `types` in the order of `sort`."""
    types = tuple(sorted(types, key=lambda name: f"{name}/"))
    if not sort or sort[0].by is SortBy.ID:
        descending = bool(sort) and sort[0].descending
        walked = reversed(types) if descending else types
        return [Stretch((type,), [("_id", -1 if descending else 1)]) for type in walked]
    direction = -1 if sort[0].descending else 1
    if len(sort) == 1 and sort[0].by is SortBy.UPDATED:
        return [Stretch(types, [("ts", direction), ("_id", direction)])]
    if len(sort) == 1 and sort[0].by is SortBy.STORED:
        path = f"ix.{sort[0].field}"
        there = Stretch(types, [(path, direction)], {path: {"$gte": ""}})
        return [there, *(Stretch((type,), [("_id", 1)], {path: {"$exists": False}}) for type in types)]
    return [_computed(sort, types)]


def _computed(sort: Sequence[SortKey], types: tuple[str, ...]) -> Stretch:
    order: Sort = []
    values: Document = {}
    for at, key in enumerate(sort):
        values[f"k{at}"] = _KEYS[key.by](key)
        order += [(f"k{at}.m", 1), (f"k{at}.v", -1 if key.descending else 1)]
    return Stretch(types, [*order, ("_id", 1)], keys=({"$set": values},))


def _stored(key: SortKey) -> Document:
    path = f"$ix.{key.field}"
    front = {"$first": {"$split": [{"$ifNull": [path, "\x00"]}, "\x00"]}}
    return {"m": _missing(path), "v": front}


def _first(key: SortKey) -> Document:
    path = f"$ix.{key.field}"
    return {"m": _missing(path), "v": {"$ifNull": [{"$first": path}, ""]}}


def _missing(path: str) -> Document:
    return {"$cond": [{"$eq": [{"$type": path}, "missing"]}, 1, 0]}


def _id(key: SortKey) -> Document:
    return {"m": {"$literal": 0}, "v": "$_id"}


def _updated(key: SortKey) -> Document:
    return {"m": {"$literal": 0}, "v": "$ts"}


_KEYS: Mapping[SortBy, Callable[[SortKey], Document]] = {
    SortBy.STORED: _stored,
    SortBy.FIRST: _first,
    SortBy.ID: _id,
    SortBy.UPDATED: _updated,
}


def _lexical(sort: Sort, position: Position) -> Filter:
    """Strictly after `position` in the order of `sort`: the first difference decides."""
    alternatives: list[Filter] = []
    for at, (path, direction) in enumerate(sort):
        equal = {sort[n][0]: position[n] for n in range(at)}
        alternatives.append(equal | {path: {"$gt" if direction > 0 else "$lt": position[at]}})
    path, direction = sort[0]
    bound = {path: {"$gte" if direction > 0 else "$lte": position[0]}}  # lets an index start at the position
    return {"$and": [bound, {"$or": alternatives}]}


def _value(document: Document, path: str) -> Any:
    head, _, rest = path.partition(".")
    value = document.get(head)
    return value.get(rest) if rest and isinstance(value, dict) else value
