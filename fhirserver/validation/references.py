"""Reference.reference: its form, the type it points to, that a fragment names a contained resource (ref-1).

Source: hl7.org/fhir/R4/references.html#literal
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from fhirserver.outcome import IssueCode
from fhirserver.validation.primitives import ID, NO_SPACE, OID, check_uri
from fhirserver.validation.problems import Check, Problem, Problems, Scope, within, wrong_value

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
REST = re.compile(r"(?:^|/)(?P<type>[A-Z][A-Za-z]*)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?$")
CONDITIONAL = re.compile(r"(?P<type>[A-Z][A-Za-z]*)\?\S+$")
UUID_ANY_CASE = re.compile(r"urn:uuid:[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

FORM = "Expected Type/id, an absolute URL, urn:uuid: or urn:oid:, or # and the id of a contained resource."


def reference_check(targets: Iterable[str], resource_types: frozenset[str]) -> Check:
    """A check for Reference.reference. `targets`: the allowed resource types, empty for all."""
    allowed = frozenset(targets) or resource_types
    is_id = ID.fullmatch

    def slow(value: Any, scope: Scope) -> Problems | None:
        problems = check_uri(value, scope)
        if problems is not None:
            return problems
        if value[0] == "#":
            return _fragment(value[1:], allowed, scope)
        if SCHEME.match(value):
            return _absolute(value, allowed, resource_types)
        match = REST.match(value) or (CONDITIONAL.match(value) if scope.conditional else None)
        if match is None or match["type"] not in resource_types:
            return wrong_value("invalid-reference", FORM)
        return None if match["type"] in allowed else _wrong_target(allowed)

    def check(value: Any, scope: Scope) -> Problems | None:
        if type(value) is str:
            kind, _, rest = value.partition("/")
            if kind in allowed and is_id(rest) is not None:
                return None
        return slow(value, scope)

    return check


def target_check(
    allowed: frozenset[str], conforms: Callable[[Any, Scope], bool] | None, resource_types: frozenset[str]
) -> Check:
    """A check of a whole Reference for a profile: what type it points to, and where the target is at hand, that it fits.

    `conforms`: whether a resource conforms to one of the profiles that are allowed; None where the type is enough.
    """
    literal = reference_check(allowed, resource_types)

    def check(value: Any, scope: Scope) -> Problems | None:
        reference = value.get("reference") if isinstance(value, dict) else None
        if not isinstance(reference, str) or not reference:
            kind = value.get("type") if isinstance(value, dict) else None
            wrong = isinstance(kind, str) and kind in resource_types and kind not in allowed
            return within(".type", _wrong_target(allowed)) if wrong else None
        problems = literal(reference, scope)
        if problems is None and conforms is not None:
            target = scope.target(reference)
            if target is not None and not conforms(target, scope):
                text = "The resource that this reference points to does not conform to a profile that is allowed here."
                problems = [Problem("wrong-target-profile", IssueCode.STRUCTURE, text)]
        return within(".reference", problems) if problems is not None else None

    return check


def type_check(targets: Iterable[str], resource_types: frozenset[str]) -> Check:
    """A check for Reference.type: a resource type that the element allows, or the URL of a logical model."""
    allowed = frozenset(targets) or resource_types

    def check(value: Any, scope: Scope) -> Problems | None:
        problems = check_uri(value, scope)
        if problems is not None or value in allowed or SCHEME.match(value):
            return problems
        if value in resource_types:
            return _wrong_target(allowed)
        return wrong_value("invalid-reference-type", "Expected the name of a resource type.")

    return check


def types_agree(reference: Any) -> bool:
    """False where Reference.type contradicts the type in the literal reference."""
    kind = reference.get("type")
    if kind is None or SCHEME.match(kind):
        return True
    literal = REST.search(reference.get("reference", ""))
    return literal is None or literal["type"] == kind


def literal_type(reference: Any) -> str | None:
    """The resource type named in a literal reference, None if it names none."""
    literal = REST.search(reference.get("reference", ""))
    return literal["type"] if literal else reference.get("type")


def _fragment(id: str, allowed: frozenset[str], scope: Scope) -> Problems | None:
    if not id:
        if scope.inside is None:
            return wrong_value(
                "invalid-reference", "# alone stands for the container, in contained resources only."
            )
        scope.used.add(scope.inside)
        return None
    if id not in scope.contained:
        return [
            Problem(
                "invariant-ref-1",
                IssueCode.INVARIANT,
                "No contained resource has the id that follows #. (ref-1)",
            )
        ]
    scope.used.add(id)
    return None if scope.contained[id] in allowed else _wrong_target(allowed)


def _absolute(value: str, allowed: frozenset[str], resource_types: frozenset[str]) -> Problems | None:
    if NO_SPACE.fullmatch(value) is None:
        return wrong_value("invalid-reference", FORM)
    if value.startswith("urn:"):
        if (value.startswith("urn:uuid:") and not UUID_ANY_CASE.fullmatch(value)) or (
            value.startswith("urn:oid:") and not OID.fullmatch(value)
        ):
            return wrong_value("invalid-reference", FORM)
        return None
    if value.startswith(("http:", "https:")):
        literal = REST.search(value)
        if literal and literal["type"] in resource_types and literal["type"] not in allowed:
            return _wrong_target(allowed)
    return None


def _wrong_target(allowed: frozenset[str]) -> Problems:
    text = f"A reference here may point to {', '.join(sorted(allowed))} only."
    return [Problem("wrong-reference-target", IssueCode.VALUE, text)]
