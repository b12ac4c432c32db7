"""The closures that overlays are made of: what a profile asks of one value, of an element, of a list.

Each is a check of the JSON object that holds the element; the type has checked it before, so what has another shape
than the type allows is passed over here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fhirserver.outcome import IssueCode, OutcomeError
from fhirserver.r4.fhirpath.evaluate import Invariant
from fhirserver.r4.profiletree import Node
from fhirserver.validation.problems import LIMIT, Check, Problem, Problems, Scope, has_errors, within
from fhirserver.validation.slicing import Sorter

Json = dict[str, Any]
_NOTHING: Json = {}


def all_of(checks: Sequence[Check]) -> Check | None:
    """Every check, their problems together; None of none."""
    if not checks:
        return None
    if len(checks) == 1:
        return checks[0]

    def check(value: Any, scope: Scope) -> Problems | None:
        found: Problems | None = None
        for one in checks:
            problems = one(value, scope)
            if problems is not None:
                found = problems if found is None else found + problems
        return found

    return check


def either(checks: Sequence[Check], profiles: Sequence[str]) -> Check:
    """At least one of the checks finds no error."""
    text = f"The value conforms to none of {', '.join(profiles)}."

    def check(value: Any, scope: Scope) -> Problems | None:
        if any(not has_errors(one(value, scope)) for one in checks):
            return None
        return [Problem("no-profile-fits", IssueCode.STRUCTURE, text)]

    return check


def of_type(allowed: frozenset[str]) -> Check:
    """A resource inside another is of one of these types."""
    text = f"The profile allows {', '.join(sorted(allowed))} here."

    def check(value: Any, scope: Scope) -> Problems | None:
        if not isinstance(value, dict) or value.get("resourceType") in allowed:
            return None
        return [Problem("wrong-resource-type", IssueCode.STRUCTURE, text)]

    return check


def standing_alone(check: Check) -> Check:
    """The check of a resource inside another, for which invariants see itself as %resource."""

    def checked(value: Any, scope: Scope) -> Problems | None:
        outer, scope.resource = scope.resource, value
        try:
            return check(value, scope)
        finally:
            scope.resource = outer

    return checked


def aggregated(allowed: frozenset[str]) -> Check:
    """type.aggregation: whether a reference may point into the container, into the Bundle around, or out of both."""
    contained = "contained" in allowed
    outside = bool({"referenced", "bundled"} & allowed)
    bundled = "bundled" in allowed and "referenced" not in allowed

    def check(value: Any, scope: Scope) -> Problems | None:
        reference = value.get("reference") if isinstance(value, dict) else None
        if not isinstance(reference, str):
            return None
        if reference.startswith("#"):
            return None if contained else _aggregated_otherwise("must not point to a contained resource")
        if not outside:
            return _aggregated_otherwise("must point to a contained resource")
        if bundled and scope.bundle is not None and scope.target(reference) is None:
            return _aggregated_otherwise("must point to a resource of the same Bundle")
        return None

    return check


def _aggregated_otherwise(words: str) -> Problems:
    return [Problem("wrong-aggregation", IssueCode.VALUE, f"A reference here {words}.", [".reference"])]


def rule_check(rule: Json, holds: Invariant) -> Check:
    """An invariant. An empty result counts as broken: it shall be true."""
    key = rule["key"]
    text = f"{rule.get('human', 'An invariant of the profile does not hold').rstrip('.')}. ({key})"
    severity = "error" if rule.get("severity") == "error" else "warning"

    def check(value: Any, scope: Scope) -> Problems | None:
        if not scope.sound:
            return None  # what the type refuses may keep an expression from making sense
        try:
            if holds(value, scope.resource, scope.root):
                return None
        except OutcomeError as error:
            words = f"Invariant {key} cannot be evaluated on this element: {error.issues[0].text}"
            return [Problem("invariant-not-evaluated", IssueCode.PROCESSING, words, severity="warning")]
        return [Problem(f"invariant-{key}", IssueCode.INVARIANT, text, severity=severity)]

    return check


def object_steps(steps: Sequence[Check]) -> Check:
    """The checks of an object, one for each element that matters."""

    def check(value: Any, scope: Scope) -> Problems | None:
        if type(value) is not dict:
            return None  # the type has refused it
        found: Problems | None = None
        for step in steps:
            problems = step(value, scope)
            if problems is not None:
                found = problems if found is None else found + problems
                if len(found) >= LIMIT:
                    return found
        return found

    return check


def _segment(child: Node) -> str:
    return "." + child.name.removesuffix("[x]")


def forbidden(child: Node, names: Sequence[str]) -> Check:
    """An element whose maximum is 0."""
    every = (*names, *(f"_{name}" for name in names))
    segment = _segment(child)

    def check(value: Any, scope: Scope) -> Problems | None:
        for name in every:
            if name in value:
                text = "The profile does not allow this element."
                return [Problem("element-not-allowed", IssueCode.STRUCTURE, text, [segment])]
        return None

    return check


def not_allowed(child: Node) -> Check:
    """A type of a choice whose slice has the maximum 0."""
    text = f"The profile does not allow this type of {child.name}."
    return lambda value, scope: [Problem("type-not-allowed", IssueCode.STRUCTURE, text)]


def missing(child: Node, segment: str) -> Problems:
    """The refusal of an element that the profile requires."""
    return [Problem("missing-element", IssueCode.REQUIRED, f"The profile requires {child.name}.", [segment])]


def single_step(child: Node, name: str, minimum: int, check: Check | None, beside: Check | None) -> Check:
    """An element that does not repeat. `beside`: of the object beside a primitive."""
    segment, companion = _segment(child), f"_{name}"

    def step(parent: Any, scope: Scope) -> Problems | None:
        value = parent.get(name)
        if value is None:
            if minimum and companion not in parent:
                return missing(child, segment)
        elif check is not None:
            problems = check(value, scope)
            if problems is not None:
                return within(segment, problems)
        if beside is not None:
            problems = beside(parent.get(companion, _NOTHING), scope)
            if problems is not None and (value is not None or companion in parent):
                return within(segment, problems)
        return None

    return step


def choice_step(
    child: Node,
    names: Sequence[str],
    branches: Mapping[str, tuple[Check | None, Check | None]],
    minimum: int,
    wanted: Sequence[tuple[str, Sequence[str]]],
) -> Check:
    """value[x] and its like. `branches`: JSON name -> checks. `wanted`: slices that must be there, with the names that fill them."""
    segment = _segment(child)
    text = f"The profile allows {child.name} as {', '.join(branches)} only."
    where = {key: name for name in names for key in (name, f"_{name}")}

    def step(parent: Any, scope: Scope) -> Problems | None:
        given = [where[key] for key in parent if key in where]
        found: Problems = []
        for name in dict.fromkeys(given):
            branch = branches.get(name)
            if branch is None:
                found.append(Problem("type-not-allowed", IssueCode.STRUCTURE, text, [segment]))
                continue
            check, beside = branch
            if check is not None and name in parent:
                found += within(segment, check(parent[name], scope) or [])
            if beside is not None:
                found += within(segment, beside(parent.get(f"_{name}", _NOTHING), scope) or [])
        if minimum and not given:
            found += missing(child, segment)
        for slice_name, ways in wanted:
            if (given or not minimum) and not any(name in ways for name in given):
                words = f"The profile requires {child.name} in its slice {slice_name}."
                found.append(Problem("slice-missing", IssueCode.REQUIRED, words, [segment]))
        return found or None

    return step


def list_step(
    child: Node,
    name: str,
    minimum: int,
    maximum: int | None,
    check: Check | None,
    beside: Check | None,
    sorter: Sorter | None,
) -> Check:
    """A repeating element."""
    segment, companion = _segment(child), f"_{name}"

    def step(parent: Any, scope: Scope) -> Problems | None:
        items = parent.get(name)
        if items is None:
            items = parent.get(companion)
            if items is None:
                if minimum:
                    return missing(child, segment)
                return sorter.absent(segment) if sorter is not None else None
            items = [None] * len(items) if type(items) is list else items
        if type(items) is not list:
            return None
        found: Problems | None = None
        if check is not None:
            for index, item in enumerate(items):
                problems = check(item, scope) if item is not None else None
                if problems is not None:
                    found = (found or []) + within(segment, within(f"[{index}]", problems))
        if beside is not None:
            found = _beside(beside, parent.get(companion), segment, scope, found)
        if sorter is not None:
            problems = sorter.check(items, scope)
            if problems is not None:
                found = (found or []) + within(segment, problems)
        if len(items) < minimum:
            text = f"The profile requires at least {minimum} of {child.name}."
            found = [*(found or []), Problem("too-few-elements", IssueCode.REQUIRED, text, [segment])]
        if maximum is not None and len(items) > maximum:
            text = f"The profile allows at most {maximum} of {child.name}."
            found = [*(found or []), Problem("too-many-elements", IssueCode.STRUCTURE, text, [segment])]
        return found

    return step


def _beside(
    beside: Check, companions: Any, segment: str, scope: Scope, found: Problems | None
) -> Problems | None:
    if type(companions) is not list:
        return found
    for index, companion in enumerate(companions):
        problems = beside(companion if companion is not None else _NOTHING, scope)
        if problems is not None:
            found = (found or []) + within(segment, within(f"[{index}]", problems))
    return found
