"""The validator: whole resources, contained ones, and those in Bundles and Parameters.

Source: hl7.org/fhir/R4/validation.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from fhirserver.outcome import Invalid, Issue, IssueCode
from fhirserver.r4.elements import Elements
from fhirserver.validation.bindings import ValueSets
from fhirserver.validation.compile import Compiler
from fhirserver.validation.problems import LIMIT, Check, Problem, Problems, Scope, structure, wrong_type
from fhirserver.validation.profiled import Asked, Policy, Profiled
from fhirserver.validation.profiles import Profiles

NONE: Mapping[str, str] = MappingProxyType({})


class Validator:
    """Checks resources against the R4 definitions and profiles; a type is compiled when it is first seen.

    `elements`, `value_sets`: the definitions; the shipped R4 tables where none are given. `profiles`: those that
    are known; None checks types only. `policy`: which profiles a resource must conform to. `clock`: the present.
    """

    def __init__(
        self,
        elements: Elements | None = None,
        value_sets: ValueSets | None = None,
        profiles: Profiles | None = None,
        policy: Policy | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._elements = elements or (profiles.elements if profiles is not None else Elements.load())
        self._profiled = Profiled(profiles, policy or Policy()) if profiles is not None else None
        self._compiler = Compiler(
            self._elements,
            value_sets or ValueSets.load(),
            self._nested_check,
            self._contained_check,
            clock,
            self._profiled.extensions if self._profiled is not None else None,
        )
        self._checks: dict[str, Check] = {}

    def validate(
        self,
        resource: Any,
        type: str | None = None,
        *,
        conditional_references: bool = False,
        profiles: Sequence[str] = (),
        thorough: bool = False,
        plain: bool = False,
    ) -> list[Issue]:
        """Every problem of `resource` (parsed JSON), at most 100; an empty list means that it is valid.

        `type`: the resourceType that is expected. `conditional_references`: the resource is an entry of a
        transaction, where a reference may be a search (`Patient?identifier=x`) that is resolved later.
        `profiles`: canonicals that it must conform to, besides those of the policy. `thorough`: check every profile
        that is claimed or assigned, and say what is not wrong but could be better. `plain`: by the type alone.
        Issues with severity warning or information come only where profiles are known.
        """
        asked = Asked(conditional_references, thorough, tuple(profiles), None, plain)
        problems = self._whole(resource, type, asked)
        if problems is None:
            return []
        root = resource.get("resourceType") if isinstance(resource, dict) else None
        name = root if isinstance(root, str) and root in self._elements.resource_types else type or "Resource"
        return [problem.issue(name) for problem in problems[:LIMIT]]

    def require(self, resource: Any, type: str | None = None) -> None:
        """Raise Invalid, with every issue, where `resource` has errors. For writes."""
        issues = self.validate(resource, type)
        if issues and any(issue.severity == "error" for issue in issues):
            raise Invalid(issues=sorted(issues, key=lambda issue: issue.severity != "error"))

    def knows(self, canonical: str) -> bool:
        """Whether a resource can be validated against the profile."""
        return self._profiled is not None and self._profiled.profiles.knows(canonical)

    def left_out(self, resource: Any, profiles: Sequence[str] = ()) -> list[Issue]:
        """The must-support elements of `profiles`, and of those it claims, that `resource` does not have."""
        return self._profiled.left_out(resource, profiles) if self._profiled is not None else []

    def _check_of(self, type: str) -> Check:
        check = self._checks.get(type)
        if check is None:
            check = self._checks[type] = self._compiler.resource_check(type)
        return check

    def _whole(self, resource: Any, type: str | None, asked: Asked) -> Problems | None:
        """Check a resource that stands for itself: its contained resources and references belong together."""
        problems = self._type_problems(resource, type)
        if problems is not None:
            return problems
        name = resource["resourceType"]
        conditional = asked.conditional
        if name == "Bundle" and resource.get("type") == "transaction":
            conditional = True
        if "contained" not in resource:
            scope = Scope(NONE, set(), None, conditional)
            if self._profiled is not None:
                self._profiled.prepare(scope, name, resource, asked)
            problems = self._check_of(name)(resource, scope)
        else:
            scope = Scope(_contained_types(resource["contained"]), set(), None, conditional)
            if self._profiled is not None:
                self._profiled.prepare(scope, name, resource, asked)
            problems = _with_contained(resource, scope, self._check_of(name)(resource, scope))
        if self._profiled is not None:
            return self._profiled.check(name, resource, scope, problems, asked.profiles)
        return problems

    def _nested_check(self, value: Any, scope: Scope) -> Problems | None:
        """A resource in Bundle.entry or Parameters.parameter."""
        return self._whole(
            value, None, Asked(scope.conditional, scope.thorough, (), scope.bundle, scope.plain)
        )

    def _contained_check(self, value: Any, scope: Scope) -> Problems | None:
        """A contained resource: part of the one around it, without versions or contents of its own."""
        problems = self._type_problems(value, None)
        if problems is not None:
            return problems
        outer, id_ = scope.inside, value.get("id")
        scope.inside = id_ if isinstance(id_, str) else ""
        problems = self._check_of(value["resourceType"])(value, scope)
        scope.inside = outer
        own = _rules_of_contained(value)
        problems = (problems or []) + own if own else problems
        if self._profiled is not None and scope.profiled:
            return self._profiled.check_contained(value, scope, problems)
        return problems

    def _type_problems(self, value: Any, type: str | None) -> Problems | None:
        if not isinstance(value, dict):
            return wrong_type(value, dict)
        found = value.get("resourceType")
        if found is None:
            return [
                Problem("missing-element", IssueCode.REQUIRED, "resourceType is required.", [".resourceType"])
            ]
        if not isinstance(found, str) or found not in self._elements.resource_types:
            return structure(
                "unknown-resource-type", "resourceType is not a resource type of R4.", ".resourceType"
            )
        if type is not None and found != type:
            return structure("wrong-resource-type", f"A {type} is expected here.", ".resourceType")
        return None


def _contained_types(contained: Any) -> dict[str, str]:
    """Id -> type of the contained resources, as far as they can be told."""
    if not isinstance(contained, list):
        return {}
    return {
        resource["id"]: str(resource.get("resourceType"))
        for resource in contained
        if isinstance(resource, dict) and isinstance(resource.get("id"), str)
    }


def _rules_of_contained(value: dict[str, Any]) -> Problems:
    found: Problems = []
    if "id" not in value:
        found.append(
            Problem("missing-element", IssueCode.REQUIRED, "A contained resource needs an id.", [".id"])
        )
    if "contained" in value:
        found.append(
            _invariant("dom-2", "A contained resource SHALL NOT contain resources itself.", ".contained")
        )
    meta = value.get("meta")
    if isinstance(meta, dict):
        if "versionId" in meta or "lastUpdated" in meta:
            text = "A contained resource SHALL NOT have a meta.versionId or a meta.lastUpdated."
            found.append(_invariant("dom-4", text, ".meta"))
        if "security" in meta:
            text = "A contained resource SHALL NOT have a security label."
            found.append(_invariant("dom-5", text, ".meta"))
    return found


def _with_contained(resource: dict[str, Any], scope: Scope, problems: Problems | None) -> Problems | None:
    """Add what shows at the end: contained resources that share an id, or that nothing refers to (dom-3)."""
    contained = resource["contained"]
    if not isinstance(contained, list):
        return problems
    found: Problems = []
    seen: set[str] = set()
    mentioned: set[str] | None = None
    for index, item in enumerate(contained[: 10 * LIMIT]):
        name = item.get("id") if isinstance(item, dict) else None
        if not isinstance(name, str):
            continue
        if name in seen:
            text = "Another contained resource has the same id."
            found.append(
                Problem("duplicate-contained-id", IssueCode.DUPLICATE, text, [".id", f".contained[{index}]"])
            )
        seen.add(name)
        if name in scope.used:
            continue
        if mentioned is None:
            mentioned = _fragments(resource)
        if name not in mentioned and "" not in _fragments(item):
            text = "A contained resource SHALL be referred to from the resource around it, or refer to it."
            found.append(_invariant("dom-3", text, f".contained[{index}]"))
    return (problems or []) + found if found else problems


def _fragments(resource: Any) -> set[str]:
    """What follows # in the strings below `resource`: canonical, uri and url may name contained resources."""
    found: set[str] = set()
    stack = [resource]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
        elif isinstance(value, str) and value.startswith("#"):
            found.add(value[1:])
    return found


def _invariant(key: str, text: str, *path: str) -> Problem:
    return Problem(f"invariant-{key}", IssueCode.INVARIANT, f"{text} ({key})", list(path))
