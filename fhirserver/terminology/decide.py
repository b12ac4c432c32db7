"""Whether one code is in a value set, at once, as far as single codes can be looked up.

Three answers: a Hit, None (it is not), or the exception Unknown. Source: hl7.org/fhir/R4/valueset.html#compositions
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from fhirserver.outcome import NotSupported
from fhirserver.terminology.concepts import Concept
from fhirserver.terminology.systems import Pointwise
from fhirserver.terminology.valuesets import Include, Listed, ValueSet


class Unknown(Exception):
    """It cannot be told; the text is the stable word for why (see Membership.reason)."""


@dataclass(frozen=True, slots=True)
class Hit:
    """The code that was found. `concept`: as its system knows it. `listed`: as the value set lists it."""

    system: str
    version: str | None
    concept: Concept | None
    listed: Listed | None

    def texts(self) -> tuple[str, ...]:
        """All texts that the value set and the code system give the code."""
        own = () if self.listed is None else tuple(d.value for d in self.listed.designations)
        first = () if self.listed is None or self.listed.display is None else (self.listed.display,)
        return (*first, *(() if self.concept is None else self.concept.texts()), *own)

    def display(self, language: str | None = None) -> str | None:
        """The text to show."""
        if self.listed is not None:
            listed = Concept(self.listed.code, self.listed.display, designations=self.listed.designations)
            found = listed.display_in(language)
            if found is not None and (found != self.listed.display or not language):
                return found
        found = None if self.concept is None else self.concept.display_in(language)
        return found if found is not None or self.listed is None else self.listed.display


class View(Protocol):
    """Value sets and code systems that are at hand."""

    def value_set(self, canonical: str) -> ValueSet:
        """The value set. Raises Unknown."""
        ...

    def system(self, url: str, version: str | None) -> Pointwise:
        """The code system. Raises Unknown."""
        ...


def decide(view: View, value_set: ValueSet, system: str | None, code: str) -> Hit | None:
    """The hit where `code` of `system` (None: of any) is in the value set. Raises Unknown."""
    return _Decision(view, code).of(value_set, system)


@dataclass(slots=True)
class _Decision:
    """One code under decision. `known`: what was found of imported value sets; `under_way`: those being looked at."""

    view: View
    code: str
    known: dict[tuple[str, str | None], Hit | Unknown | None] = field(default_factory=dict)
    under_way: set[str] = field(default_factory=set)

    def of(self, value_set: ValueSet, system: str | None) -> Hit | None:
        hit = self._first(value_set.includes, system)
        if hit is None:
            return None
        out = self._first(value_set.excludes, hit.system)
        return hit if out is None and not (value_set.inactive is False and _inactive(hit)) else None

    def _first(self, parts: tuple[Include, ...], system: str | None) -> Hit | None:
        unknown: Unknown | None = None
        for part in parts:
            try:
                hit = self._within(part, system)
            except Unknown as reason:
                unknown = reason
            else:
                if hit is not None:
                    return hit
        if unknown is not None:
            raise unknown
        return None

    def _within(self, part: Include, system: str | None) -> Hit | None:
        if part.system is not None and system not in (None, part.system):
            return None
        hit = None if part.system is None else _in_system(self.view, part, part.system, self.code)
        if part.system is not None and hit is None:
            return None
        for canonical in part.value_sets:
            found = self._imported(canonical, part.system or system)
            if found is None:
                return None
            hit, system = hit or found, found.system
        return hit

    def _imported(self, canonical: str, system: str | None) -> Hit | None:
        key = (canonical, system)
        if key not in self.known:
            if canonical in self.under_way:
                raise Unknown("value-set-circular")
            self.under_way.add(canonical)
            try:
                self.known[key] = self.of(self.view.value_set(canonical), system)
            except Unknown as reason:
                self.known[key] = reason
            self.under_way.discard(canonical)
        found = self.known[key]
        if isinstance(found, Unknown):
            raise found
        return found


def _inactive(hit: Hit) -> bool:
    return hit.concept is not None and hit.concept.inactive


def _in_system(view: View, part: Include, url: str, code: str) -> Hit | None:
    listed = None
    if part.concepts is not None:
        listed = next((each for each in part.concepts if each.code == code), None)
        if listed is None:
            return None
    try:
        system = view.system(url, part.version)
        concept = system.get(code)
    except Unknown:
        if listed is None:
            raise
        return Hit(url, part.version, None, listed)
    if concept is None:
        if listed is not None:
            return Hit(url, part.version, None, listed)
        if system.info.content == "complete":
            return None
        raise Unknown("system-incomplete")
    try:
        for each in part.filters:
            each.check(system.info)
        related = {f.value: c for f in part.filters if f.related and (c := system.get(f.value)) is not None}
        passes = all(each.passes(concept, related) for each in part.filters)
    except NotSupported as error:
        raise Unknown(error.issues[0].code) from None
    return Hit(url, system.info.version, concept, listed) if passes else None
