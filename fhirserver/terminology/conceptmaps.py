"""Concept maps and translation. Source: hl7.org/fhir/R4/conceptmap.html, conceptmap-operation-translate.html."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fhirserver.outcome import Unprocessable
from fhirserver.terminology.canonical import split_canonical
from fhirserver.terminology.concepts import Json

NO_MATCH = ("unmatched", "disjoint")
_REVERSED = {
    "wider": "narrower", "narrower": "wider", "subsumes": "specializes", "specializes": "subsumes",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One mapping. `products`, `depends_on`: the JSON of those parts of the target."""

    source_system: str | None
    source_version: str | None
    source_code: str
    source_display: str | None
    target_system: str | None
    target_version: str | None
    target_code: str | None
    target_display: str | None
    equivalence: str
    products: tuple[Json, ...] = ()
    depends_on: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True)
class Unmapped:
    """What a group says of codes that it does not map."""

    source_system: str | None
    target_system: str | None
    mode: str
    code: str | None
    display: str | None
    url: str | None


@dataclass(frozen=True, slots=True)
class ConceptMap:
    """A concept map. `source`, `target`: canonicals of its value sets, where it names them."""

    url: str
    version: str | None
    source: str | None
    target: str | None
    rows: tuple[Row, ...]
    unmapped: tuple[Unmapped, ...] = ()
    stored_id: str | None = None

    @property
    def canonical(self) -> str:
        """`url|version`, or the url alone."""
        return f"{self.url}|{self.version}" if self.version else self.url


@dataclass(frozen=True, slots=True)
class Match:
    """One translation. `map`: canonical of the map that it comes from."""

    equivalence: str
    system: str | None
    version: str | None
    code: str | None
    display: str | None
    map: str
    products: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a translation asks for. `dependencies`: element url -> codes given for it."""

    system: str | None
    code: str
    target_system: str | None = None
    reverse: bool = False
    dependencies: tuple[tuple[str, frozenset[str]], ...] = ()


def parse_concept_map(resource: Json, stored_id: str | None = None) -> ConceptMap:
    """The map in a ConceptMap resource. Raises Unprocessable where its groups break their rules."""
    groups = resource.get("group", ())
    try:
        rows = tuple(row for group in groups for row in _rows(group))
        unmapped = tuple(_unmapped(group) for group in groups if "unmapped" in group)
    except (KeyError, TypeError, AttributeError):
        raise Unprocessable(
            "A group of a concept map holds elements, and these hold targets.",
            code="concept-map-invalid",
            expression="ConceptMap.group",
        ) from None
    return ConceptMap(
        str(resource.get("url") or ""),
        resource.get("version"),
        resource.get("sourceCanonical", resource.get("sourceUri")),
        resource.get("targetCanonical", resource.get("targetUri")),
        rows,
        unmapped,
        stored_id,
    )


def _rows(group: Json) -> Iterator[Row]:
    for element in group.get("element", ()):
        if "code" not in element:  # R4 allows it; it maps nothing
            continue
        for target in element.get("target", ()):
            yield Row(
                group.get("source"),
                group.get("sourceVersion"),
                element["code"],
                element.get("display"),
                group.get("target"),
                group.get("targetVersion"),
                target.get("code"),
                target.get("display"),
                target.get("equivalence", "relatedto"),
                tuple(target.get("product", ())),
                tuple(target.get("dependsOn", ())),
            )


def _unmapped(group: Json) -> Unmapped:
    rule = group["unmapped"]
    return Unmapped(
        group.get("source"),
        group.get("target"),
        rule["mode"],
        rule.get("code"),
        rule.get("display"),
        rule.get("url"),
    )


def translate(map: ConceptMap, wanted: Wanted) -> tuple[list[Match], list[str]]:
    """What `map` makes of a code, and the canonicals of the maps that it hands an unmapped code to."""
    if wanted.reverse:
        return [_back(map, row) for row in map.rows if _is_target(row, wanted)], []
    rows = [row for row in map.rows if _is_source(row, wanted)]
    matches = [_forth(map, row) for row in rows if _depends(row, wanted)]
    if rows:
        return matches, []
    others: list[str] = []
    for rule in map.unmapped:
        if not _fits(rule.source_system, wanted.system) or not _fits(
            rule.target_system, wanted.target_system
        ):
            continue
        match rule.mode:
            case "provided":
                matches.append(
                    Match("equivalent", rule.target_system, None, wanted.code, None, map.canonical)
                )
            case "fixed":
                matches.append(
                    Match("inexact", rule.target_system, None, rule.code, rule.display, map.canonical)
                )
            case "other-map" if rule.url is not None:
                others.append(rule.url)
    return matches, others


def _fits(system: str | None, wanted: str | None) -> bool:
    return wanted is None or system is None or split_canonical(system)[0] == split_canonical(wanted)[0]


def _is_source(row: Row, wanted: Wanted) -> bool:
    return (
        row.source_code == wanted.code
        and _fits(row.source_system, wanted.system)
        and _fits(row.target_system, wanted.target_system)
    )


def _is_target(row: Row, wanted: Wanted) -> bool:
    return (
        row.target_code == wanted.code
        and row.equivalence not in NO_MATCH
        and _fits(row.target_system, wanted.system)
        and _fits(row.source_system, wanted.target_system)
    )


def _depends(row: Row, wanted: Wanted) -> bool:
    """True unless a dependency was given that contradicts one of the row's."""
    given = dict(wanted.dependencies)
    return all(
        each.get("property") not in given or each.get("value") in given[each["property"]]
        for each in row.depends_on
    )


def _forth(map: ConceptMap, row: Row) -> Match:
    return Match(
        row.equivalence,
        row.target_system,
        row.target_version,
        row.target_code,
        row.target_display,
        map.canonical,
        row.products,
    )


def _back(map: ConceptMap, row: Row) -> Match:
    return Match(
        _REVERSED.get(row.equivalence, row.equivalence),
        row.source_system,
        row.source_version,
        row.source_code,
        row.source_display,
        map.canonical,
    )
