"""A value set as it is composed. Source: hl7.org/fhir/R4/valueset.html#compositions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fhirserver.outcome import Unprocessable
from fhirserver.terminology.concepts import Designation, Json
from fhirserver.terminology.filters import Filter

MOST_PARTS = 500
"""Most includes and excludes of a value set, most filters of one of them, and most value sets that it imports."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A code that a value set lists, with the texts that it gives it."""

    code: str
    display: str | None = None
    designations: tuple[Designation, ...] = ()


@dataclass(frozen=True, slots=True)
class Include:
    """One include or exclude. `concepts`: the listed codes, None where the whole system (or `filters`) is meant."""

    system: str | None
    version: str | None
    concepts: tuple[Listed, ...] | None
    filters: tuple[Filter, ...]
    value_sets: tuple[str, ...]

    @property
    def codes(self) -> frozenset[str] | None:
        """The listed codes."""
        return None if self.concepts is None else frozenset(each.code for each in self.concepts)


@dataclass(frozen=True, slots=True)
class ValueSet:
    """A value set. `inactive`: compose.inactive. `stored_id`: logical id where a client stored it."""

    url: str
    version: str | None
    includes: tuple[Include, ...]
    excludes: tuple[Include, ...] = ()
    inactive: bool | None = None
    resource: Json | None = None
    stored_id: str | None = None

    @property
    def canonical(self) -> str:
        """`url|version`, or the url alone."""
        return f"{self.url}|{self.version}" if self.version else self.url

    def parts(self) -> Iterator[Include]:
        """All includes and excludes."""
        yield from self.includes
        yield from self.excludes


def whole_system(url: str, system: str, version: str | None) -> ValueSet:
    """The value set `url` of all codes of a code system, whose version is that of the system."""
    return ValueSet(url, version, (Include(system, version, None, (), ()),))


def parse_value_set(resource: Json, stored_id: str | None = None) -> ValueSet:
    """The value set in a ValueSet resource; one with an expansion only is what the expansion lists.

    Raises Unprocessable where compose is missing or breaks its rules.
    """
    compose = resource.get("compose")
    url, version = str(resource.get("url") or ""), resource.get("version")
    if compose is None:
        includes = tuple(_expanded(resource.get("expansion")))
        return ValueSet(url, version, includes, (), True, resource, stored_id)
    if not isinstance(compose, dict) or not compose.get("include"):
        raise _broken("it needs compose.include, or an expansion.", "compose.include")
    parts = [*compose["include"], *compose.get("exclude", ())]
    if len(parts) > MOST_PARTS or sum(len(p.get("filter", ())) for p in parts) > MOST_PARTS:
        raise _broken(f"it may have at most {MOST_PARTS} includes, excludes and filters.", "compose")
    return ValueSet(
        url,
        version,
        tuple(_part(part, "include") for part in compose["include"]),
        tuple(_part(part, "exclude") for part in compose.get("exclude", ())),
        compose.get("inactive"),
        resource,
        stored_id,
    )


def _part(part: Json, where: str) -> Include:
    concepts, filters = part.get("concept"), part.get("filter", ())
    system, value_sets = part.get("system"), part.get("valueSet", ())
    if system is None and (concepts or filters or not value_sets):
        raise _broken(
            f"compose.{where} needs a system for its concepts or filters, or a value set.", f"compose.{where}"
        )
    if concepts and filters:
        raise _broken(f"compose.{where} has either concepts or filters.", f"compose.{where}")
    try:
        return Include(
            system,
            part.get("version"),
            None if concepts is None else tuple(_listed(each) for each in concepts),
            tuple(Filter(each["property"], each["op"], each["value"]) for each in filters),
            tuple(value_sets),
        )
    except (KeyError, TypeError, AttributeError):
        raise _broken(
            "a concept has a code; a filter has a property, an op and a value.", f"compose.{where}"
        ) from None


def _listed(json: Json) -> Listed:
    designations = tuple(Designation.of(each) for each in json.get("designation", ()))
    return Listed(json["code"], json.get("display"), designations)


def _expanded(expansion: Json | None) -> Iterator[Include]:
    """What an expansion lists, by system, abstract groups left out."""
    if not isinstance(expansion, dict):
        raise _broken("it needs compose, or an expansion.", "compose")
    found: dict[tuple[str, str | None], dict[str, Listed]] = {}
    waiting = list(reversed(expansion.get("contains", ())))
    while waiting:
        entry = waiting.pop()
        waiting += reversed(entry.get("contains", ()))
        if "system" in entry and "code" in entry and not entry.get("abstract"):
            listed = found.setdefault((entry["system"], entry.get("version")), {})
            listed.setdefault(entry["code"], _listed(entry))
    for (system, version), listed in found.items():
        yield Include(system, version, tuple(listed.values()), (), ())


def _broken(rule: str, path: str) -> Unprocessable:
    return Unprocessable(
        f"The value set cannot be used: {rule}", code="value-set-invalid", expression=f"ValueSet.{path}"
    )
