"""Which invariants of R4 are enforced, where, and which are not and why. A test compares the tables.

Source: the constraints of the StructureDefinitions, in r4/tables/elements.json
"""

from __future__ import annotations

from collections.abc import Mapping

from fhirserver.validation import rules_clinical, rules_definitions, rules_structures, rules_types
from fhirserver.validation.rules import Test

TESTS: Mapping[str, Test] = (
    rules_types.TESTS | rules_clinical.TESTS | rules_definitions.TESTS | rules_structures.TESTS
)
"""Invariant key, followed by its path where the key has several meanings -> predicate of the JSON value."""

MOVED: Mapping[str, str] = {"sdf-8": "StructureDefinition", "sdf-8a": "StructureDefinition"}
"""Rules that need more than the element they stand at are run, and reported, at this path."""

BUILT_IN: Mapping[str, str] = {
    "ele-1": "elements: an object with nothing but an id is refused",
    "ref-1": "references: a fragment must name a contained resource",
    "dom-2": "validator: contained resources",
    "dom-3": "validator: contained resources",
    "dom-4": "validator: contained resources",
    "dom-5": "validator: contained resources",
    "txt-1": "narrative",
    "txt-2": "narrative",
}
"""Rules that the structure of the validator enforces by itself."""

_NAME_KEYS = """
adf-0 cid-0 cmd-0 cpb-0 cpd-0 csd-0 ees-0 esc-0 evd-0 evi-0 evv-0 gdf-0 ig-0 lib-0 mea-0 msd-0 nsd-0 opd-0
pdf-0 que-0 red-0 rsd-0 rvs-0 sdf-0 smp-0 spd-0 tcp-0 tst-0 vsd-0
"""
_NAME = "a warning: the name should suit code generators"
_PLACEHOLDER = "R4 tests the system 'something', which no resource uses: the rule never applies"
_HL7_ONLY = "holds for definitions published by HL7 under hl7.org/fhir only"

NOT_ENFORCED: Mapping[str, str] = {
    **dict.fromkeys(_NAME_KEYS.split(), _NAME),
    **dict.fromkeys(("ppc-2", "ppc-3", "ppc-4", "ppc-5"), _PLACEHOLDER),
    **dict.fromkeys(("sdf-19", "sdf-22"), _HL7_ONLY),
    "con-3": "a warning: a problem-list item should have a clinical status",
    "dom-6": "a warning: a resource should have a narrative",
    "eld-20": "a warning: element names should be simple",
    "eld-21": "a warning: constraints should have an expression",
    "nor-1": "a warning: an order should hold a diet, a supplement or a formula",
}
"""Rules that no write is refused for, with the reason."""


def test_of(key: str, path: str) -> Test | None:
    """The predicate for an invariant at a path, None where none is run there."""
    if MOVED.get(key, path) != path:
        return None
    return TESTS.get(f"{key} {path}") or TESTS.get(key)


def moved_to(path: str) -> list[str]:
    """The keys of the invariants that are run at `path` although they are declared elsewhere."""
    return [key for key, place in MOVED.items() if place == path]
