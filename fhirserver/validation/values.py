"""What a profile says of one value: fixed, pattern, least and greatest value, length, and binding.

Source: hl7.org/fhir/R4/elementdefinition.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from fhirserver.outcome import IssueCode, Unprocessable
from fhirserver.terminology.membership import Memberships, Verdict
from fhirserver.validation.moments import after
from fhirserver.validation.problems import Check, Problem, Problems, Scope

Json = Mapping[str, Any]
Test = Callable[[Any], bool]
MISSING = object()
CODED = ("code", "Coding", "CodeableConcept", "Quantity", "string", "uri")
SEVERITIES = {
    "required": "error",
    "extensible": "warning",
    "preferred": "information",
    "example": "information",
}


def typed(definition: Json, start: str) -> Any:
    """The value of fixed[x], pattern[x], minValue[x] ..., MISSING where there is none."""
    size = len(start)
    for name, value in definition.items():
        if name.startswith(start) and name[size : size + 1].isupper():
            return value
    return MISSING


def equals(expected: Any) -> Test:
    """fixed[x]: exactly this value."""
    if isinstance(expected, (dict, list)):
        return lambda value: value == expected
    kind = bool if isinstance(expected, bool) else object
    return lambda value: value == expected and (kind is object or isinstance(value, kind))


def matches(pattern: Any) -> Test:
    """pattern[x]: at least what the pattern holds; each item of an array of it is matched by some item."""
    if isinstance(pattern, dict):
        parts = [(name, matches(part)) for name, part in pattern.items()]
        return lambda value: (
            isinstance(value, dict) and all(name in value and test(value[name]) for name, test in parts)
        )
    if isinstance(pattern, list):
        tests = [matches(part) for part in pattern]
        return lambda value: (
            isinstance(value, list) and all(any(test(item) for item in value) for test in tests)
        )
    return equals(pattern)


def value_checks(definition: Json, known: Json) -> list[Check]:
    """The checks of one value that `definition` asks for beyond what is `known` to hold."""
    checks = []
    fixed, pattern = typed(definition, "fixed"), typed(definition, "pattern")
    if fixed is not MISSING and fixed != typed(known, "fixed"):
        checks.append(_value_check(equals(fixed), "fixed-value", f"The value is fixed{_shown(fixed)}."))
    if pattern is not MISSING and pattern != typed(known, "pattern"):
        text = f"The value does not match the pattern of the profile{_shown(pattern)}."
        checks.append(_value_check(matches(pattern), "pattern-value", text))
    for start, code in (("minValue", "min-value"), ("maxValue", "max-value")):
        bound = typed(definition, start)
        if bound is not MISSING and bound != typed(known, start):
            words = "at least" if start == "minValue" else "at most"
            checks.append(_value_check(_bounded(bound, start), code, f"Expected {words}{_shown(bound)}."))
    length = definition.get("maxLength")
    if length is not None and length != known.get("maxLength"):
        text = f"At most {length} characters are allowed here."
        checks.append(_value_check(_shorter(length), "max-length", text, IssueCode.TOO_LONG))
    return checks


def binding_check(binding: Json, terminology: Memberships) -> Check | None:
    """The check of a coded value against a value set, with the severity that the strength asks for."""
    canonical, strength = binding.get("valueSet"), binding.get("strength")
    severity = SEVERITIES.get(strength or "")
    if not canonical or severity is None:
        return None
    code = "code-not-in-value-set" if strength == "required" else "code-outside-value-set"
    words = {
        "required": f"No code of this value is in the required value set {canonical}.",
        "extensible": f"If a code of {canonical} fits, it must be used; this one is not among them.",
    }.get(strength or "", f"A code of {canonical} would be better here.")

    def check(value: Any, scope: Scope) -> Problems | None:
        if severity == "information" and not scope.thorough:
            return None
        coded = codings(value)
        verdicts = [terminology.member(canonical, system, c).verdict for system, c in coded]
        if Verdict.YES in verdicts:
            return None
        if Verdict.UNKNOWN in verdicts:
            scope.cannot_tell(canonical)
            return None
        if not coded and (severity != "error" or not isinstance(value, dict) or "extension" in value):
            return None
        return [Problem(code, IssueCode.CODE_INVALID, words, severity=severity)]

    return check


def is_member(binding: Json, terminology: Memberships) -> Test:
    """Whether a coded value is in the value set, for slices; what cannot be told is not."""
    canonical = binding["valueSet"]
    return lambda value: any(
        terminology.member(canonical, system, code).verdict is Verdict.YES for system, code in codings(value)
    )


def codings(value: Any) -> list[tuple[str | None, str]]:
    """(system, code) of a code, Coding, CodeableConcept or Quantity."""
    if isinstance(value, str):
        return [(None, value)]
    if not isinstance(value, dict):
        return []
    found = value.get("coding", [value])
    if not isinstance(found, list):
        return []
    return [
        (c.get("system") or "", c["code"])
        for c in found
        if isinstance(c, dict) and isinstance(c.get("code"), str)
    ]


def _value_check(test: Test, code: str, text: str, issue_code: IssueCode = IssueCode.VALUE) -> Check:
    def check(value: Any, scope: Scope) -> Problems | None:
        return None if test(value) else [Problem(code, issue_code, text)]

    return check


def _shorter(length: int) -> Test:
    return lambda value: not isinstance(value, str) or len(value) <= length


def _bounded(bound: Any, start: str) -> Test:
    """Numbers, dates and times, quantities of the bound's own unit; what cannot be compared holds."""
    if isinstance(bound, bool) or not isinstance(bound, (int, float, Decimal, str, dict)):
        text = f"{start}[x] is a number, a date or time, or a quantity."
        raise Unprocessable(text, code="profile-malformed")
    low = start == "minValue"
    if isinstance(bound, dict):
        unit = (bound.get("system"), bound.get("code"))
        inner = _bounded(bound.get("value", 0), start)
        return lambda value: (
            not isinstance(value, dict)
            or (value.get("system"), value.get("code")) != unit
            or inner(value.get("value"))
        )
    if isinstance(bound, str):
        if bound[:3].isdigit():
            return lambda value: (
                not isinstance(value, str) or not (after(bound, value) if low else after(value, bound))
            )
        return lambda value: not isinstance(value, str) or (value >= bound if low else value <= bound)

    def number(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
            return True
        exact = Decimal(str(value)) if isinstance(value, float) else value
        limit = Decimal(str(bound)) if isinstance(bound, float) else bound
        return exact >= limit if low else exact <= limit

    return number


def _shown(value: Any) -> str:
    """The value of the definition in words, where it is short."""
    if isinstance(value, dict):
        coding = (value.get("coding") or [value])[0]
        if isinstance(coding, dict) and "code" in coding:
            return f" {coding.get('system', '')}|{coding['code']}"
        return f" {value['value']}" if "value" in value else ""
    return f" {value}" if len(str(value)) < 200 else ""
