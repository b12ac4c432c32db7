"""Filters of ValueSet.compose: what they are, and whether a concept passes one.

Source: hl7.org/fhir/R4/valueset.html#compositions, hl7.org/fhir/R4/valueset-filter-operator.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fhirserver.outcome import NotSupported
from fhirserver.terminology.concepts import Concept, SystemInfo
from fhirserver.terminology.patterns import safe_pattern

OPERATORS = (
    "=", "is-a", "descendent-of", "is-not-a", "regex", "in", "not-in", "generalizes", "exists",
)  # fmt: skip
HIERARCHICAL = ("is-a", "descendent-of", "is-not-a", "generalizes")
_ANY_SYSTEM = frozenset(
    ("concept", "code", "display", "definition", "parent", "child", "status", "inactive", "notSelectable")
)
_CONCEPT = ("concept", "code")


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter: a property (or concept, code, parent ...), an operator, a value."""

    name: str
    op: str
    value: str

    @property
    def related(self) -> str | None:
        """The code whose own place in the hierarchy the filter needs to know, if any."""
        return self.value if self.op == "generalizes" or (self.name, self.op) == ("child", "=") else None

    @property
    def values(self) -> frozenset[str]:
        """The values of in and not-in."""
        return frozenset(part.strip() for part in self.value.split(","))

    def check(self, info: SystemInfo) -> None:
        """Refuse what cannot be evaluated for a code system. Raises NotSupported."""
        if self.op not in OPERATORS:
            raise NotSupported(
                f"A filter has an operator that is none of {', '.join(OPERATORS)}.", code="filter-operator"
            )
        if self.op in HIERARCHICAL and self.name not in _CONCEPT:
            raise NotSupported(
                f"{self.op} is a filter on the property concept.", code="filter-property-unknown"
            )
        if self.name not in _ANY_SYSTEM and self.name not in info.properties:
            raise NotSupported(
                "A filter names a property that the code system does not define.",
                code="filter-property-unknown",
            )
        if self.op == "regex":
            safe_pattern(self.value)
        if self.op == "exists" and self.value not in ("true", "false"):
            raise NotSupported("exists takes true or false.", code="filter-value")

    def passes(self, concept: Concept, related: Mapping[str, Concept]) -> bool:
        """True where `concept` passes. `related`: the concept of `self.related`, where the system has it."""
        match self.op:
            case "is-a":
                return concept.code == self.value or self.value in concept.ancestors
            case "descendent-of":
                return self.value in concept.ancestors
            case "is-not-a":
                return concept.code != self.value and self.value not in concept.ancestors
            case "generalizes":
                other = related.get(self.value)
                return other is not None and (concept.code == other.code or concept.code in other.ancestors)
        values = self._values_of(concept, related)
        match self.op:
            case "=":
                return self.value in values
            case "in":
                return not self.values.isdisjoint(values)
            case "not-in":
                return self.values.isdisjoint(values)
            case "exists":
                return bool(values) == (self.value == "true")
        pattern = safe_pattern(self.value)
        return any(pattern.fullmatch(value) is not None for value in values)

    def _values_of(self, concept: Concept, related: Mapping[str, Concept]) -> list[str]:
        match self.name:
            case "concept" | "code":
                return [concept.code]
            case "display" | "definition":
                text = concept.display if self.name == "display" else concept.definition
                return [text] if text is not None else []
            case "parent":
                return list(concept.parents)
            case "child":
                other = related.get(self.value)
                return [self.value] if other is not None and concept.code in other.parents else []
            case "inactive":
                return ["true" if concept.inactive else "false"]
        return [p.text for p in concept.properties if p.code == self.name]
