"""Code systems as the operations see them, and those whose concepts are in memory.

`System` is the door; `MemorySystem` (below), the grammars of grammars.py and store/terminology's imported ones
stand behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from fhirserver.terminology.concepts import Concept, Designation, Json, Property, SystemInfo, folded, words_of
from fhirserver.terminology.filters import Filter


@dataclass(frozen=True, slots=True)
class Branch:
    """Some concepts of one system: those of `codes` (None: all) that pass all `filters`."""

    codes: frozenset[str] | None = None
    filters: tuple[Filter, ...] = ()


@dataclass(frozen=True, slots=True)
class Selection:
    """Concepts of one system: in any of `branches`, in none of `excluded`, and so on.

    `within`: codes that they must be among, None for no such condition. `words`: folded; each must begin a word of
    the code, display or a designation. `active`: without inactive ones. `selectable`: without abstract ones.
    """

    branches: tuple[Branch, ...] = (Branch(),)
    excluded: tuple[Branch, ...] = ()
    within: frozenset[str] | None = None
    words: tuple[str, ...] = ()
    active: bool = False
    selectable: bool = False

    @property
    def related(self) -> frozenset[str]:
        """Codes whose place in the hierarchy the filters need to know."""
        parts = (*self.branches, *self.excluded)
        return frozenset(f.related for part in parts for f in part.filters if f.related is not None)


@dataclass(frozen=True, slots=True)
class Found:
    """A page of concepts. `total`: number of all that were selected, None where that was too much to count."""

    concepts: Sequence[Concept]
    total: int | None


class System(Protocol):
    """One version of a code system."""

    @property
    def info(self) -> SystemInfo:
        """What is known of the system as a whole."""
        ...

    async def find(self, codes: Iterable[str]) -> Mapping[str, Concept]:
        """The concepts of `codes` that the system has, by the code asked for."""
        ...

    async def select(self, selection: Selection, offset: int, limit: int) -> Found:
        """At most `limit` concepts in the system's order, after `offset`. Raises TooCostly, NotSupported."""
        ...


class Pointwise(Protocol):
    """A system as far as single codes are asked for, at once."""

    @property
    def info(self) -> SystemInfo:
        """What is known of the system as a whole."""
        ...

    def get(self, code: str) -> Concept | None:
        """The concept, None where the system has no such code."""
        ...


@dataclass(slots=True)
class Fetched:
    """Concepts that were fetched before, as a Pointwise."""

    info: SystemInfo
    concepts: Mapping[str, Concept] = field(default_factory=dict)

    def get(self, code: str) -> Concept | None:
        """The concept among those fetched."""
        return self.concepts.get(code)


class MemorySystem:
    """A CodeSystem resource with all its concepts in memory."""

    def __init__(self, resource: Json, origin: str = "shipped", stored_id: str | None = None) -> None:
        self._concepts: dict[str, Concept] = dict(_concepts(resource))
        hierarchical = any(concept.parents for concept in self._concepts.values())
        info = info_of(resource, origin, hierarchical=hierarchical, count=len(self._concepts))
        self.info = replace(info, stored_id=stored_id)
        self._words: dict[str, list[str]] = {}
        self._folded = (
            {} if self.info.case_sensitive else {folded(code): c for code, c in self._concepts.items()}
        )

    def get(self, code: str) -> Concept | None:
        """The concept; without regard to case where the system has none."""
        found = self._concepts.get(code)
        return found if found is not None or not self._folded else self._folded.get(folded(code))

    def __iter__(self) -> Iterator[Concept]:
        return iter(self._concepts.values())

    async def find(self, codes: Iterable[str]) -> Mapping[str, Concept]:
        """The concepts of `codes` that the system has."""
        return {code: concept for code in codes if (concept := self.get(code)) is not None}

    async def select(self, selection: Selection, offset: int, limit: int) -> Found:
        """At most `limit` concepts in the order of the resource, after `offset`."""
        related = {code: c for code in selection.related if (c := self.get(code)) is not None}
        found = self._candidates(selection)
        if selection.words:
            found = [c for c in found if begins(self._words_of(c), selection.words)]
        plain = replace(selection, words=())
        chosen = [c for c in found if chooses(plain, c, related)]
        return Found(chosen[offset : offset + limit], len(chosen))

    def _words_of(self, concept: Concept) -> list[str]:
        known = self._words.get(concept.code)
        if known is None:
            known = self._words[concept.code] = known_words(concept.code, concept.texts())
        return known

    def _candidates(self, selection: Selection) -> Iterable[Concept]:
        if selection.within is None:
            return self._concepts.values()
        return [c for code in selection.within if (c := self.get(code)) is not None]


def chooses(selection: Selection, concept: Concept, related: Mapping[str, Concept]) -> bool:
    """True where `concept` belongs to `selection`."""
    if (selection.active and concept.inactive) or (selection.selectable and concept.abstract):
        return False
    if not any(in_branch(branch, concept, related) for branch in selection.branches):
        return False
    if any(in_branch(branch, concept, related) for branch in selection.excluded):
        return False
    return not selection.words or has_words(concept.code, concept.texts(), selection.words)


def in_branch(branch: Branch, concept: Concept, related: Mapping[str, Concept]) -> bool:
    """True where `concept` is one of the branch."""
    if branch.codes is not None and concept.code not in branch.codes:
        return False
    return all(each.passes(concept, related) for each in branch.filters)


def has_words(code: str, texts: Iterable[str], wanted: Iterable[str]) -> bool:
    """True where each wanted word (folded) begins a word of the texts, or the code."""
    return begins(known_words(code, texts), wanted)


def known_words(code: str, texts: Iterable[str]) -> list[str]:
    """The folded code and the folded words of the texts."""
    return [folded(code), *(word for text in texts for word in words_of(text))]


def begins(known: Sequence[str], wanted: Iterable[str]) -> bool:
    """True where each wanted word begins a known one."""
    return all(any(word.startswith(each) for word in known) for each in wanted)


def info_of(resource: Json, origin: str, *, hierarchical: bool, count: int) -> SystemInfo:
    """What a CodeSystem resource says of the system as a whole."""
    defined = (*resource.get("property", ()), *resource.get("filter", ()))
    used = {p["code"] for c in _nested(resource.get("concept", ())) for p in c.get("property", ())}
    return SystemInfo(
        url=str(resource.get("url") or ""),
        version=resource.get("version"),
        name=str(resource.get("name") or resource.get("title") or resource.get("url") or ""),
        title=resource.get("title"),
        status=str(resource.get("status", "active")),
        content=str(resource.get("content", "complete")),
        case_sensitive=resource.get("caseSensitive") is not False,
        hierarchical=hierarchical,
        count=count,
        language=resource.get("language"),
        properties=frozenset({str(each["code"]) for each in defined if "code" in each} | used),
        value_set=resource.get("valueSet"),
        origin=origin,
        date=str(resource.get("date", "")),
    )


def _nested(concepts: Iterable[Json]) -> Iterator[Json]:
    waiting = list(concepts)
    while waiting:
        concept = waiting.pop()
        waiting += concept.get("concept", ())
        yield concept


def _concepts(resource: Json) -> Iterator[tuple[str, Concept]]:
    """The concepts in document order, with what is above each, by nesting and by parent and child properties."""
    order: dict[str, Json] = {}
    parents: dict[str, dict[str, None]] = {}
    waiting: list[tuple[Json, str | None]] = [(c, None) for c in reversed(resource.get("concept", ()))]
    while waiting:
        json, above = waiting.pop()
        code = json["code"]
        order.setdefault(code, json)
        if above is not None:
            parents.setdefault(code, {})[above] = None
        for each in json.get("property", ()):
            if each["code"] == "parent":
                parents.setdefault(code, {})[_code_of(each)] = None
            elif each["code"] == "child":
                parents.setdefault(_code_of(each), {})[code] = None
        waiting += [(c, code) for c in reversed(json.get("concept", ()))]
    for code, json in order.items():
        yield code, _concept(json, tuple(parents.get(code, ())), ancestors_of(code, parents))


def ancestors_of(code: str, parents: Mapping[str, Iterable[str]]) -> frozenset[str]:
    """All codes above `code`, at any distance; a cycle ends where it closes."""
    found: set[str] = set()
    waiting = list(parents.get(code, ()))
    while waiting:
        above = waiting.pop()
        if above not in found:
            found.add(above)
            waiting += parents.get(above, ())
    found.discard(code)
    return frozenset(found)


def _code_of(json: Json) -> str:
    value = json.get("valueCode", json.get("valueString", json.get("valueCoding", {})))
    return str(value.get("code", "") if isinstance(value, dict) else value)


def _concept(json: Json, parents: tuple[str, ...], ancestors: frozenset[str]) -> Concept:
    return Concept(
        json["code"],
        json.get("display"),
        json.get("definition"),
        tuple(Designation.of(each) for each in json.get("designation", ())),
        tuple(_properties(json.get("property", ()))),
        parents,
        ancestors,
    )


def _properties(rows: Iterable[Json]) -> Iterator[Property]:
    for row in rows:
        kind = next((name for name in row if name.startswith("value")), None)
        if kind is not None and row["code"] not in ("parent", "child"):
            yield Property(row["code"], kind, row[kind])
