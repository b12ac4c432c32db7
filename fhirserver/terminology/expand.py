"""The codes of a value set. Source: hl7.org/fhir/R4/valueset-operation-expand.html.

A value set over one code system is one selection of that system, page by page, however large. Any other is put
together in memory, part by part, up to a bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fhirserver.outcome import TooCostly, Unprocessable
from fhirserver.terminology.concepts import Concept, Designation, SystemInfo
from fhirserver.terminology.service import Terminology
from fhirserver.terminology.systems import Branch, Selection, System, has_words
from fhirserver.terminology.valuesets import MOST_PARTS, Include, Listed, ValueSet
from fhirserver.terminology.versions import Versions


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked of an expansion.

    `words`: folded words to filter by. `offset`, `count`: the page, None for everything. `most`: bound on the codes
    of an answer, and of what is put together in memory. `without`: systems to leave out, as (url, version or None).
    """

    words: tuple[str, ...] = ()
    offset: int = 0
    count: int | None = None
    active: bool = False
    selectable: bool = False
    without: tuple[tuple[str, str | None], ...] = ()
    versions: Versions = field(default_factory=Versions)
    most: int = 10_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One code of an expansion. `listed`: what the value set itself says of it."""

    system: str
    version: str | None
    concept: Concept
    listed: Listed | None = None

    def display(self, language: str | None) -> str | None:
        """The text to show: the value set's own before the code system's."""
        if language:
            for each in (self.own(), self.concept):
                found = each.display_in(language)
                if found is not None and found != each.display:
                    return found
        return self.own().display or self.concept.display

    def own(self) -> Concept:
        """The texts of the value set, as a concept."""
        if self.listed is None:
            return Concept(self.concept.code)
        return Concept(self.listed.code, self.listed.display, designations=self.listed.designations)

    def designations(self) -> tuple[Designation, ...]:
        """Those of the value set, then those of the code system."""
        return (*self.own().designations, *self.concept.designations)


@dataclass(frozen=True, slots=True)
class Expansion:
    """A page of a value set. `total`: number of all its codes, None where not counted.

    `used`: the code systems that it was made from. `hierarchical`: whether one of them has a hierarchy.
    """

    entries: Sequence[Entry]
    total: int | None
    used: Sequence[SystemInfo]
    hierarchical: bool


async def expand(terminology: Terminology, value_set: ValueSet, options: Options) -> Expansion:
    """The page of `value_set` that `options` ask for.

    Raises TooCostly where it is too large, Unprocessable where a part of it is unknown, NotSupported for filters.
    """
    work = _Work(terminology, options)
    single = await work.single(value_set)
    if single is not None:
        return await _paged(single, options)
    entries = list((await work.all_of(value_set)).values())
    if options.words:
        entries = [e for e in entries if has_words(e.concept.code, _texts(e), options.words)]
    end = None if options.count is None else options.offset + options.count
    hierarchical = any(info.hierarchical for info in work.used.values())
    return Expansion(entries[options.offset : end], len(entries), list(work.used.values()), hierarchical)


def _texts(entry: Entry) -> Iterable[str]:
    return (*entry.own().texts(), *entry.concept.texts())


@dataclass(frozen=True, slots=True)
class _Single:
    """A value set that is one selection of one system."""

    system: System
    selection: Selection


async def _paged(single: _Single, options: Options) -> Expansion:
    info = single.system.info
    limit = options.most if options.count is None else min(options.count, options.most)
    found = await single.system.select(single.selection, options.offset, limit)
    if options.count is None and (found.total is None or found.total > options.offset + options.most):
        raise too_large(options.most)
    entries = [Entry(info.url, info.version, concept) for concept in found.concepts]
    return Expansion(entries, found.total, [info], info.hierarchical)


def too_large(most: int) -> TooCostly:
    """The error of an expansion over the bound."""
    return TooCostly(
        f"The value set has more than {most} codes. Ask for a page with count and offset, narrow it with filter, "
        "or validate codes one by one.",
        code="expansion-too-large",
    )


@dataclass(slots=True)
class _Work:
    """One expansion under way. `used`: canonical -> the systems that it was made from.

    `imported`: canonical -> the codes of an imported value set, None while they are looked for.
    """

    terminology: Terminology
    options: Options
    used: dict[str, SystemInfo] = field(default_factory=dict)
    imported: dict[str, dict[tuple[str, str], Entry] | None] = field(default_factory=dict)

    async def single(self, value_set: ValueSet) -> _Single | None:
        """The value set as one selection, None where it is more than that."""
        parts = list(value_set.parts())
        named = {(p.system, self.options.versions.of(p.system or "", p.version)) for p in parts}
        if len(named) != 1 or any(p.value_sets or p.system is None for p in parts):
            return None
        if any(p.concepts is not None for p in value_set.includes):
            return None  # a list has an order and texts of its own
        include = value_set.includes[0]
        system = await self.system(include)
        if system is None or self._left_out(system.info.url, system.info.version):
            return None
        for part in parts:
            for each in part.filters:
                each.check(system.info)
        active = self.options.active or value_set.inactive is False
        selection = Selection(
            tuple(Branch(p.codes, p.filters) for p in value_set.includes),
            tuple(Branch(p.codes, p.filters) for p in value_set.excludes),
            None,
            self.options.words,
            active,
            self.options.selectable,
        )
        return _Single(system, selection)

    async def system(self, part: Include) -> System | None:
        """The code system of a part, None where the server has nothing of it."""
        url = part.system or ""
        version = self.options.versions.of(url, part.version)
        found = await self.terminology.system(url, version)
        if found is None or found.info.content == "not-present":
            return None
        self.used[found.info.canonical] = found.info
        return found

    async def all_of(self, value_set: ValueSet) -> dict[tuple[str, str], Entry]:
        """All its codes by (system, code), in order."""
        found: dict[tuple[str, str], Entry] = {}
        for part in value_set.includes:
            for key, entry in (await self._part(part)).items():
                found.setdefault(key, entry)
            if len(found) > self.options.most:
                raise too_large(self.options.most)
        for part in value_set.excludes:
            for key in await self._part(part, among=found):
                found.pop(key, None)
        active = self.options.active or value_set.inactive is False
        return {
            key: entry
            for key, entry in found.items()
            if not (active and entry.concept.inactive)
            and not (self.options.selectable and entry.concept.abstract)
            and not self._left_out(entry.system, entry.version)
        }

    async def _part(
        self, part: Include, among: Mapping[tuple[str, str], Entry] | None = None
    ) -> dict[tuple[str, str], Entry]:
        """The codes of an include or exclude. `among`: only those are of interest."""
        for canonical in part.value_sets:
            inside = await self._imported(canonical)
            among = inside if among is None else {k: v for k, v in among.items() if k in inside}
        if part.system is None:
            return dict(among or {})
        within = None if among is None else frozenset(c for system, c in among if system == part.system)
        if part.concepts is not None:
            return await self._listed(part, part.system, within)
        system = await self.system(part)
        if system is None:
            raise unknown_system(part.system)
        for each in part.filters:
            each.check(system.info)
        selection = Selection((Branch(None, part.filters),), within=within)
        found = await system.select(selection, 0, self.options.most + 1)
        if len(found.concepts) > self.options.most:
            raise too_large(self.options.most)
        return {(part.system, c.code): Entry(part.system, system.info.version, c) for c in found.concepts}

    async def _imported(self, canonical: str) -> dict[tuple[str, str], Entry]:
        """The codes of an imported value set."""
        if canonical not in self.imported:
            if len(self.imported) >= MOST_PARTS:
                raise TooCostly(
                    f"The value set imports more than {MOST_PARTS} others.", code="expansion-too-large"
                )
            found = await self.terminology.value_set(canonical)
            if found is None:
                raise Unprocessable(
                    "The value set imports another one that this server does not have.",
                    code="value-set-unknown",
                    expression="ValueSet.compose.include.valueSet",
                )
            self.imported[canonical] = None
            self.imported[canonical] = await self.all_of(found)
        inside = self.imported[canonical]
        if inside is None:
            raise Unprocessable("The value set imports itself.", code="value-set-circular")
        return inside

    async def _listed(
        self, part: Include, url: str, within: frozenset[str] | None
    ) -> dict[tuple[str, str], Entry]:
        """The listed codes in their order; also where the server does not know the code system."""
        listed = [each for each in part.concepts or () if within is None or each.code in within]
        system = await self.system(part)
        known: Mapping[str, Concept] = {}
        version = part.version
        if system is not None:
            known = await system.find([each.code for each in listed])
            version = system.info.version
        return {
            (url, each.code): Entry(url, version, known.get(each.code) or Concept(each.code), each)
            for each in listed
        }

    def _left_out(self, url: str, version: str | None) -> bool:
        return any(url == system and v in (None, version) for system, v in self.options.without)


def unknown_system(url: str) -> Unprocessable:
    """The error of a code system without content here."""
    return Unprocessable(
        "The value set draws on a code system whose content this server does not have; import it "
        "(`fhirserver terminology import`) or store it as a CodeSystem.",
        code="code-system-unknown",
        expression="ValueSet.compose.include.system",
    )
