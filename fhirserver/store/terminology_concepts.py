"""Concepts of imported code systems: their stored form, and their selection by the database.

A concept belongs to a set (`s`), the content of one import of one version; `_id` is "<set>/<code>". `n`: position.
`a`: the code itself and all above it. `w`: folded words. `f`: "property" and "property=value" of each property.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from fhirserver.store.client import Document, translated
from fhirserver.store.indexes import CONCEPTS
from fhirserver.store.lanes import Database
from fhirserver.terminology.concepts import Concept, Designation, Property, SystemInfo, folded, words_of
from fhirserver.terminology.filters import Filter
from fhirserver.terminology.systems import Branch, Found, Selection

COUNTED = 10_001
"""Matches are counted up to here; a total beyond is not told."""

_Filter = dict[str, Any]
_ABOVE_ALL = "\U0010ffff"
_LONGEST_WORD = 64
_SHOWN = {"w": 0, "f": 0}


def document_of(set_id: str, tenant: str, position: int, concept: Concept) -> Document:
    """The stored form of a concept."""
    texts = [concept.code, *concept.texts()]
    document: Document = {
        "_id": f"{set_id}/{concept.code}",
        "t": tenant,
        "s": set_id,
        "n": position,
        "c": concept.code,
        "a": [concept.code, *sorted(concept.ancestors)],
        "w": sorted({folded(concept.code), *(w[:_LONGEST_WORD] for text in texts for w in words_of(text))}),
    }
    if concept.display is not None:
        document["d"] = concept.display
    if concept.definition is not None:
        document["e"] = concept.definition
    if concept.parents:
        document["p"] = list(concept.parents)
    if concept.designations:
        document["g"] = [[each.value, each.language, each.use] for each in concept.designations]
    if concept.properties:
        document["q"] = [[each.code, each.kind, each.value] for each in concept.properties]
        tokens = {each.code for each in concept.properties}
        document["f"] = sorted(tokens | {f"{each.code}={each.text}" for each in concept.properties})
    if concept.inactive:
        document["i"] = True
    if concept.abstract:
        document["b"] = True
    return document


def concept_of(document: Mapping[str, Any]) -> Concept:
    """The concept in a stored document."""
    return Concept(
        document["c"],
        document.get("d"),
        document.get("e"),
        tuple(Designation(*each) for each in document.get("g", ())),
        tuple(Property(*each) for each in document.get("q", ())),
        tuple(document.get("p", ())),
        frozenset(document["a"][1:]),
    )


class ImportedSystem:
    """One imported version of a code system, read from the database. `max_ms`: bound of each query."""

    def __init__(self, database: Database, set_id: str, info: SystemInfo, max_ms: int) -> None:
        self.info = info
        self._collection = database[CONCEPTS]
        self._set = set_id
        self._max_ms = max_ms

    async def find(self, codes: Iterable[str]) -> Mapping[str, Concept]:
        """The concepts of `codes` that the system has."""
        keys = sorted({f"{self._set}/{code}" for code in codes})
        with translated():
            cursor = self._collection.find({"_id": {"$in": keys}}, _SHOWN, max_time_ms=self._max_ms)
            return {row["c"]: concept_of(row) for row in await cursor.to_list()}

    async def select(self, selection: Selection, offset: int, limit: int) -> Found:
        """At most `limit` concepts in the order of the import, after `offset`."""
        related = await self.find(selection.related) if selection.related else {}
        asked = self._filter(selection, related)
        skipped = offset
        if asked.keys() == {"s"}:  # all of it: positions have no gaps
            total: int | None = self.info.count
            asked["n"] = {"$gte": offset}
            skipped = 0
        else:
            total = await self._count(asked, offset + limit)
        if limit == 0:
            return Found((), total)
        with translated():
            cursor = self._collection.find(
                asked,
                _SHOWN,
                sort=[("n", 1)],
                skip=skipped,
                limit=limit,
                batch_size=limit,
                max_time_ms=self._max_ms,
            )
            return Found([concept_of(row) for row in await cursor.to_list()], total)

    async def _count(self, asked: _Filter, needed: int) -> int | None:
        """The number of matches, None where it is beyond COUNTED and what the page needs."""
        bound = max(COUNTED, needed + 1)
        with translated():
            count = await self._collection.count_documents(asked, limit=bound, maxTimeMS=self._max_ms)
        return count if count < bound else None

    def _filter(self, selection: Selection, related: Mapping[str, Concept]) -> _Filter:
        parts: list[_Filter] = []
        branches = [_branch(branch, related) for branch in selection.branches]
        if all(branches):
            parts.append(branches[0] if len(branches) == 1 else {"$or": branches})
        excluded = [_branch(branch, related) for branch in selection.excluded]
        if excluded:
            parts.append({"$nor": excluded})
        if selection.within is not None:
            parts.append({"_id": {"$in": [f"{self._set}/{code}" for code in sorted(selection.within)]}})
        parts += [{"w": {"$elemMatch": _starting(word)}} for word in selection.words]
        if selection.active:
            parts.append({"i": {"$ne": True}})
        if selection.selectable:
            parts.append({"b": {"$ne": True}})
        return {"s": self._set} | ({"$and": parts} if parts else {})


def _starting(word: str) -> _Filter:
    start = word[:_LONGEST_WORD]
    return {"$gte": start, "$lt": start + _ABOVE_ALL}


def _branch(branch: Branch, related: Mapping[str, Concept]) -> _Filter:
    """The condition on the concepts of a branch; {} where it is all."""
    parts = [_condition(each, related) for each in branch.filters]
    if branch.codes is not None:
        parts.append({"c": {"$in": sorted(branch.codes)}})
    if not parts:
        return {}
    return parts[0] if len(parts) == 1 else {"$and": parts}


def _condition(filter: Filter, related: Mapping[str, Concept]) -> _Filter:
    """The condition of one filter; its meaning is that of Filter.passes."""
    value = filter.value
    match filter.op:
        case "is-a":
            return {"a": value}
        case "descendent-of":
            return {"a": value, "c": {"$ne": value}}
        case "is-not-a":
            return {"a": {"$ne": value}}
        case "generalizes":
            other = related.get(value)
            return {"c": {"$in": [] if other is None else [other.code, *sorted(other.ancestors)]}}
    if filter.name == "child":
        other = related.get(value)
        return {"c": {"$in": [] if other is None else list(other.parents)}}
    if filter.name == "inactive":
        return _flag(filter)
    field, prefix = _FIELDS.get(filter.name, ("f", f"{filter.name}="))
    match filter.op:
        case "=":
            return {field: prefix + value}
        case "in":
            return {field: {"$in": [prefix + each for each in sorted(filter.values)]}}
        case "not-in":
            return {field: {"$nin": [prefix + each for each in sorted(filter.values)]}}
        case "regex":
            return {field: {"$regex": rf"\A{re.escape(prefix)}(?:{value})\z"}}
    if field == "f":
        return {"f": filter.name if value == "true" else {"$ne": filter.name}}
    return {field: {"$exists": value == "true"}}


_FIELDS = {
    "concept": ("c", ""), "code": ("c", ""), "display": ("d", ""), "definition": ("e", ""), "parent": ("p", ""),
}  # fmt: skip


def _flag(filter: Filter) -> _Filter:
    """A condition on `inactive`, which every concept has as true or false."""
    match filter.op:
        case "=" | "in":
            wanted = {value == "true" for value in filter.values if value in ("true", "false")}
        case "not-in":
            wanted = {True, False} - {value == "true" for value in filter.values}
        case "exists":
            wanted = {True, False} if filter.value == "true" else set()
        case _:
            pattern = re.compile(filter.value)
            wanted = {flag for flag in (True, False) if pattern.fullmatch("true" if flag else "false")}
    if not wanted:
        return {"c": {"$in": []}}
    return {} if len(wanted) == 2 else {"i": True if True in wanted else {"$ne": True}}
