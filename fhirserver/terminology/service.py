"""Terminology: the one place that knows which code system, value set or concept map a canonical means.

Three sources: what ships (shipped.py), grammars (grammars.py), and behind a `Source` what clients stored and
operators imported. Synchronous questions (`member`) are answered from memory, asynchronous ones from all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fhirserver.outcome import OutcomeError
from fhirserver.terminology.canonical import Candidate, choose, split_canonical
from fhirserver.terminology.conceptmaps import ConceptMap
from fhirserver.terminology.concepts import SystemInfo, folded
from fhirserver.terminology.decide import Hit, Unknown, decide
from fhirserver.terminology.filters import Filter
from fhirserver.terminology.grammars import GRAMMARS
from fhirserver.terminology.membership import Membership, Verdict
from fhirserver.terminology.shipped import Shipped
from fhirserver.terminology.systems import MemorySystem, Pointwise, System
from fhirserver.terminology.ucum import URL as UCUM
from fhirserver.terminology.valuesets import Include, ValueSet, whole_system

_REMEMBERED = 20_000
_IMPLICIT = "?fhir_vs"


@dataclass(frozen=True, slots=True)
class Stored:
    """What clients stored, as far as it is small enough to be kept in memory, by url.

    `stamp`: tells whether any of it changed. `imported`: url of each imported code system -> canonical of the value
    set of all its codes, where it has one. `left_out`: urls of value sets and code systems that were too large.
    """

    stamp: object = None
    code_systems: Mapping[str, Sequence[Candidate[MemorySystem]]] = field(default_factory=dict)
    value_sets: Mapping[str, Sequence[Candidate[ValueSet]]] = field(default_factory=dict)
    imported: Mapping[str, str | None] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()


class Source(Protocol):
    """What clients stored and operators imported. Its answers are current, whoever wrote last."""

    async def code_systems(self, url: str) -> Sequence[Candidate[System]]:
        """The code systems with that url, stored and imported."""
        ...

    async def value_sets(self, url: str) -> Sequence[Candidate[ValueSet]]:
        """The value sets with that url."""
        ...

    async def value_set_at(self, id: str) -> ValueSet | None:
        """The stored value set with that logical id."""
        ...

    async def concept_maps(self, url: str | None = None) -> Sequence[Candidate[ConceptMap]]:
        """The concept maps with that url, or all."""
        ...

    async def systems(self) -> Sequence[SystemInfo]:
        """All code systems."""
        ...

    async def snapshot(self, stamp: object) -> Stored | None:
        """What is there now; None where nothing changed since `stamp`."""
        ...


class Terminology:
    """Finds code systems, value sets and concept maps, and answers what can be answered at once."""

    def __init__(self, shipped: Shipped, source: Source | None = None) -> None:
        self.shipped = shipped
        self.source = source
        self.stored = Stored()
        self._answers: dict[tuple[str, str | None, str], Hit | Unknown | None] = {}

    @classmethod
    def of_shipped(cls) -> Terminology:
        """Terminology without a database: what ships with the server."""
        return cls(Shipped())

    def warm(self) -> None:
        """Read what would make the first question wait: the shipped files and the grammar of UCUM."""
        self.shipped.value_set_urls()
        self.shipped.concept_maps()
        GRAMMARS[UCUM].get("mg")

    async def refresh(self) -> bool:
        """Take up what was stored, imported or deleted meanwhile, by any worker. True where something was."""
        new = None if self.source is None else await self.source.snapshot(self.stored.stamp)
        if new is None:
            return False
        self.stored = new
        self._answers.clear()
        return True

    def member(self, value_set: str, system: str | None, code: str, display: str | None = None) -> Membership:
        """Whether `code` of `system` is in the value set (see `Memberships`)."""
        key = (value_set, system, code)
        if key in self._answers:
            answer = self._answers[key]
        else:
            if len(self._answers) >= _REMEMBERED:
                self._answers.clear()
            answer = self._answers[key] = self._decided(value_set, system, code)
        if isinstance(answer, Unknown):
            return Membership(Verdict.UNKNOWN, str(answer))
        if answer is None:
            return Membership(Verdict.NO)
        texts = answer.texts()
        fits = None if display is None or not texts else folded(display) in {folded(text) for text in texts}
        return Membership(Verdict.YES, "", answer.display(), fits)

    def _decided(self, value_set: str, system: str | None, code: str) -> Hit | Unknown | None:
        view = _InMemory(self)
        try:
            return decide(view, view.value_set(value_set), system, code)
        except Unknown as reason:
            return reason

    async def value_set(self, canonical: str) -> ValueSet | None:
        """The value set that a canonical means; also the implicit ones of code systems."""
        url, version = split_canonical(canonical)
        found = self.shipped.value_sets(url)
        if self.source is not None:
            found += await self.source.value_sets(url)
        if found:
            chosen = choose(found, version)
            return None if chosen is None else chosen.build()
        if self.whole(url) is None:  # perhaps the value set of a system that came since the last look
            await self.refresh()
        return implicit(url, version, self.whole(url))

    async def value_set_at(self, id: str) -> ValueSet | None:
        """The stored value set with that logical id."""
        return None if self.source is None else await self.source.value_set_at(id)

    def whole(self, value_set: str) -> str | None:
        """The url of the code system whose CodeSystem.valueSet is `value_set`."""
        for url, candidates in self.stored.code_systems.items():
            if any(each.build().info.value_set == value_set for each in candidates):
                return url
        imported = (url for url, own in self.stored.imported.items() if own == value_set)
        return next(imported, None) or self.shipped.whole.get(value_set)

    async def system(self, url: str, version: str | None = None) -> System | None:
        """The code system, None where the server has nothing of it (or not that version)."""
        if url in GRAMMARS:
            return GRAMMARS[url]
        found: list[Candidate[System]] = [*self.shipped.code_systems(url)]
        if self.source is not None:
            found += await self.source.code_systems(url)
        chosen = choose(found, version)
        return None if chosen is None else chosen.build()

    async def concept_map(self, canonical: str) -> ConceptMap | None:
        """The concept map that a canonical means."""
        url, version = split_canonical(canonical)
        found = self.shipped.concept_maps(url)
        if self.source is not None:
            found += await self.source.concept_maps(url)
        chosen = choose(found, version)
        return None if chosen is None else chosen.build()

    async def concept_maps(self) -> list[ConceptMap]:
        """Of every url, the concept map that it means."""
        by_url: dict[str, list[Candidate[ConceptMap]]] = {}
        for candidate in self.shipped.concept_maps():
            by_url.setdefault(candidate.build().url, []).append(candidate)
        for candidate in await self.source.concept_maps() if self.source is not None else ():
            by_url.setdefault(candidate.build().url, []).append(candidate)
        chosen = (choose(found, None) for found in by_url.values())
        return [each.build() for each in chosen if each is not None]

    async def systems(self) -> list[SystemInfo]:
        """What is known of every code system, by url and version."""
        found = [GRAMMARS[url].info for url in GRAMMARS]
        found += [
            SystemInfo(head["url"], head.get("version"), head.get("name", ""), content=head["content"])
            for head in self.shipped.system_heads()
        ]
        if self.source is not None:
            found += await self.source.systems()
        return sorted(found, key=lambda info: (info.url, info.version or ""))


def implicit(url: str, version: str | None, whole: str | None) -> ValueSet | None:
    """The value set that needs no resource: all codes of the system `whole`, or `{system}?fhir_vs[=isa/{code}]`."""
    if whole is not None:
        return whole_system(url, whole, version)
    system, mark, rest = url.partition(_IMPLICIT)
    if not mark or not system:
        return None
    if not rest:
        return whole_system(url, system, version)
    code = rest.removeprefix("=isa/")
    if code == rest or not code:
        return None
    return ValueSet(url, version, (Include(system, None, None, (Filter("concept", "is-a", code),), ()),))


@dataclass(frozen=True, slots=True)
class _InMemory:
    """The View of what is in memory."""

    terminology: Terminology

    def value_set(self, canonical: str) -> ValueSet:
        url, version = split_canonical(canonical)
        shipped, stored = self.terminology.shipped, self.terminology.stored
        candidates = [*shipped.value_sets(url), *stored.value_sets.get(url, ())]
        chosen = choose(candidates, version)
        try:
            found = None if chosen is None else chosen.build()
        except OutcomeError:
            raise Unknown("value-set-invalid") from None
        if not candidates:
            found = implicit(url, version, self.terminology.whole(url))
        if found is None:
            raise Unknown("too-large" if url in stored.left_out else "value-set-unknown")
        return found

    def system(self, url: str, version: str | None) -> Pointwise:
        if url in GRAMMARS:
            return GRAMMARS[url]
        shipped, stored = self.terminology.shipped, self.terminology.stored
        if url in stored.imported:
            raise Unknown("system-in-database")
        chosen = choose([*shipped.code_systems(url), *stored.code_systems.get(url, ())], version)
        if chosen is None:
            raise Unknown("too-large" if url in stored.left_out else "system-unknown")
        system = chosen.build()
        if not system.info.count:
            raise Unknown("system-unknown")
        return system
