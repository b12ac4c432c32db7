"""Required bindings: the code must be one of the value set. Reads r4/tables/valuesets.json.

Four value sets have no list in the definitions. Currencies, media types and UCUM units are checked by the
form of the code, so that a valid one is never refused; the LOINC answer list LL379-9 asks for a coded value
only. Source: hl7.org/fhir/R4/terminologies.html#required
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from fhirserver.outcome import IssueCode
from fhirserver.r4 import elements
from fhirserver.validation.problems import Check, Problem, Problems, Scope, wrong_type

TABLE = elements.TABLE.with_name("valuesets.json")
NAMED = 40
"""Up to so many allowed codes are listed in a refusal."""

CURRENCY = re.compile(r"[A-Z]{3}")
NAME = r"[A-Za-z0-9!#$&^_.+-]+"
MEDIA_TYPE = re.compile(rf"{NAME}/{NAME}(?:\s*;.*)?|xml|json|ttl")
UNIT = re.compile(r"[!-~]+")

Forms = Mapping[str, tuple[str, re.Pattern[str], str]]
FORMS: Forms = {
    "currencies": ("urn:iso:std:iso:4217", CURRENCY, "three capital letters of ISO 4217, such as BRL"),
    "mimetypes": ("urn:ietf:bcp:13", MEDIA_TYPE, "a media type such as application/pdf"),
    "ucum-units": ("http://unitsofmeasure.org", UNIT, "a UCUM unit, with system http://unitsofmeasure.org"),
}


class ValueSets:
    """The value sets of required bindings by canonical URL."""

    def __init__(self, table: Mapping[str, Mapping[str, list[str]] | None]) -> None:
        self._table = table

    @classmethod
    def load(cls, table: Path = TABLE) -> ValueSets:
        """The value sets of R4 as shipped with this package."""
        return cls(orjson.loads(table.read_bytes()))

    def code_check(self, canonical: str) -> Check:
        """A check for an element of type code, bound to the value set `canonical`."""
        name = canonical.partition("|")[0].removeprefix(elements.VALUE_SETS)
        found = self._table[name]
        if found is not None:
            return _listed(frozenset(code for codes in found.values() for code in codes))
        _, form, words = FORMS[name]
        return _formed(form.fullmatch, words)

    def concept_rule(self, canonical: str) -> tuple[Callable[[Any], bool], str]:
        """For a bound CodeableConcept or Coding: a predicate of one Coding, and words for the refusal."""
        name = canonical.partition("|")[0].removeprefix(elements.VALUE_SETS)
        found = self._table[name]
        if found is not None:
            allowed = frozenset((system, code) for system, codes in found.items() for code in codes)
            words = "one of " + ", ".join(f"{system}|{code}" for system, code in sorted(allowed)[:NAMED])
            return lambda coding: (coding.get("system"), coding.get("code")) in allowed, words
        if name not in FORMS:
            return lambda coding: "code" in coding, f"a code from {canonical}"
        system, form, words = FORMS[name]
        return (
            lambda coding: (
                coding.get("system") == system and form.fullmatch(coding.get("code", "")) is not None
            ),
            words,
        )


def concept_check(check: Check, matches: Callable[[Any], bool], words: str) -> Check:
    """`check` for a concept one of whose codings must match; without any, an extension must say why."""

    def bound(value: Any, scope: Scope) -> Problems | None:
        problems = check(value, scope)
        if problems is not None:
            return problems
        codings = value.get("coding", ())
        if any(matches(coding) for coding in codings) or (not codings and "extension" in value):
            return None
        return _not_in_value_set(f"No coding of this concept is in the required value set: expected {words}.")

    return bound


@cache
def _listed(codes: frozenset[str]) -> Check:
    words = (
        f"Expected one of {', '.join(sorted(codes))}."
        if len(codes) <= NAMED
        else "It is not in the value set."
    )

    def check(value: Any, scope: Scope) -> Problems | None:
        if type(value) is str and value in codes:
            return None
        if type(value) is not str:
            return wrong_type(value, str)
        return _not_in_value_set(f"This code is not in the required value set. {words}")

    return check


def _formed(matches: Callable[[str], object], words: str) -> Check:
    def check(value: Any, scope: Scope) -> Problems | None:
        if type(value) is str and matches(value) is not None:
            return None
        if type(value) is not str:
            return wrong_type(value, str)
        return _not_in_value_set(f"This code is not in the required value set: expected {words}.")

    return check


def _not_in_value_set(text: str) -> Problems:
    return [Problem("code-not-in-value-set", IssueCode.CODE_INVALID, text)]
