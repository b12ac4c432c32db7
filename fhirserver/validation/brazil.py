"""What Brazil adds to the checks of data types: check digits (CAD-01) and codes of municipalities (CAD-06).

An identifier of an unknown system is never checked, nor one that is no longer in use. Values are checked in any
mask and under any alias; what is stored stays as it came. Source: docs/explanation/brazilian-identifiers.md
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from fhirserver.outcome import CANONICAL, RULE_SYSTEM, IssueCode
from fhirserver.r4.dates import DAY, date_range
from fhirserver.r4.identifiers import is_municipality, kind_of
from fhirserver.validation.problems import Check, Problem, Problems, Scope

MUNICIPALITY = f"{CANONICAL}/br/StructureDefinition/municipio-ibge"
_PAST = frozenset({"old", "temp"})

Clock = Callable[[], datetime]


def identifier_check(check: Check, clock: Clock) -> Check:
    """`check` of an Identifier, then its check digits."""

    def checked(value: Any, scope: Scope) -> Problems | None:
        problems = check(value, scope)
        if problems is not None:
            return problems
        system = value.get("system")
        kind = kind_of(system) if system is not None else None
        if kind is None or kind.is_right is None or "value" not in value or kind.is_right(value["value"]):
            return None
        if value.get("use") in _PAST or _has_ended(value.get("period"), clock):
            return None
        text = f"The check digits of this {kind.name} are wrong; look at the document once more."
        return [Problem("CAD-01", IssueCode.VALUE, text, [".value"], system=RULE_SYSTEM)]

    return checked


def address_check(check: Check, _clock: Clock) -> Check:
    """`check` of an Address, then the code of its municipality."""

    def checked(value: Any, scope: Scope) -> Problems | None:
        problems = check(value, scope)
        if problems is not None or "extension" not in value:
            return problems
        found = [
            Problem(
                "CAD-06",
                IssueCode.VALUE,
                "IBGE has no municipality of this code: seven digits, the last one a check digit.",
                [".value", f".extension[{index}]"],
                system=RULE_SYSTEM,
            )
            for index, extension in enumerate(value["extension"])
            if extension.get("url") == MUNICIPALITY and not is_municipality(extension.get("valueCode", ""))
        ]
        return found or None

    return checked


def _has_ended(period: Any, clock: Clock) -> bool:
    """Whether a period ended before this moment; a day without a time lasts until its end everywhere."""
    if not isinstance(period, dict) or "end" not in period:
        return False
    end = date_range(period["end"])[1]
    slack = 0 if "T" in period["end"] else DAY
    return end + slack <= int(clock().timestamp() * 1_000_000)


CHECKS: Mapping[str, Callable[[Check, Clock], Check]] = MappingProxyType(
    {"Identifier": identifier_check, "Address": address_check}
)
"""Data type -> what wraps its check."""
