"""Profiles for tests: differentials as short rows, and the cases that break them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from fhirserver.outcome import Issue
from fhirserver.r4.elements import Elements
from fhirserver.terminology import Terminology
from fhirserver.validation import Validator
from fhirserver.validation.profiled import Policy
from fhirserver.validation.profiles import Profiles
from tests.unit.validation.kit import Json

CANONICAL = "https://fhirserver.example/StructureDefinition/"
R4 = "http://hl7.org/fhir/StructureDefinition/"
Rows = dict[str, Json]
"""Place -> ElementDefinition. "identifier:cpf.system" is a child of a slice; "" is the root."""


def profile(name: str, type: str, rows: Rows, base: str = "", **more: Any) -> Json:
    """A StructureDefinition with a differential. `base`: canonical of the profile below it; empty: the type."""
    return {
        "resourceType": "StructureDefinition",
        "url": CANONICAL + name,
        "name": name,
        "status": "active",
        "kind": "complex-type"
        if type[0].islower() or type in ("Extension", "Identifier", "Quantity")
        else "resource",
        "type": type,
        "abstract": False,
        "baseDefinition": base or R4 + type,
        "derivation": "constraint",
        "differential": {"element": [row(type, place, definition) for place, definition in rows.items()]},
    } | more


def row(type: str, place: str, definition: Json) -> Json:
    """One element of a differential."""
    steps = [type, *place.split(".")] if place else [type]
    found: Json = {"id": ".".join(steps), "path": ".".join(step.partition(":")[0] for step in steps)}
    if ":" in steps[-1]:
        found["sliceName"] = steps[-1].partition(":")[2]
    return found | definition


def sliced(kind: str, path: str, rules: str = "open", **more: Any) -> Json:
    """An element with slicing."""
    return {"slicing": {"discriminator": [{"type": kind, "path": path}], "rules": rules} | more}


def extension(name: str, code: str, context: str = "Patient", kind: str = "element", **more: Any) -> Json:
    """The definition of a simple extension with a value of the type `code`. `kind`: of its context."""
    url = CANONICAL + name
    value: Json = {"min": 1, "type": [{"code": code}]}
    rows: Rows = {"": more, "extension": {"max": "0"}, "url": {"fixedUri": url}, "value[x]": value}
    return profile(name, "Extension", rows, context=[{"type": kind, "expression": context}])


@dataclass(frozen=True)
class ProfileCase:
    """A profile (rows), changes of the base that keep to it, and changes that break it. `also`: what that entails."""

    name: str
    base: str
    rows: Rows
    good: Json
    bad: Json
    issue: str
    code: str
    expression: str
    severity: str = "error"
    also: tuple[tuple[str, str, str, tuple[str]], ...] = ()


@cache
def elements() -> Elements:
    return Elements.load()


@cache
def terminology() -> Terminology:
    return Terminology.of_shipped()


def validator(*definitions: Json, policy: Policy | None = None) -> Validator:
    """A validator that knows R4's profiles and these."""
    profiles = Profiles.of(definitions, elements=elements(), terminology=terminology())
    return Validator(profiles=profiles, policy=policy)


def found(issues: list[Issue]) -> set[tuple[str, str, str]]:
    """(severity, code, expression) of each issue."""
    return {(issue.severity, issue.code, issue.expression[0]) for issue in issues}
