"""What a prefix means for a stored interval, as data: the database layer turns it into its own language.

A Condition is a disjunction of conjunctions of bounds on the stored fields `lo` and `hi`. Dates are stored
half open [lo, hi); numbers and quantities closed [lo, hi], lo = hi for a plain value (their precision is that
of the search value alone). Source: hl7.org/fhir/R4/search.html#prefix
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from fhirserver.r4.dates import DAY

Prefix: TypeAlias = Literal["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]
PREFIXES: tuple[Prefix, ...] = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
# Stored dates up to this width are indexed as {lo, hi}, longer ones as {wl, wh}; see
# date_condition(narrow=True).
NARROW = DAY

Comparison: TypeAlias = Literal["lt", "le", "gt", "ge"]
_PREFIX = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)(?=[-+0-9.])")


@dataclass(frozen=True, slots=True)
class Bound:
    """`field` comparison `value`, where field is lo or hi of one stored interval."""

    field: Literal["lo", "hi"]
    comparison: Comparison
    value: float


# Any of the alternatives, each of which must hold whole on one and the same stored interval.
Condition: TypeAlias = tuple[tuple[Bound, ...], ...]


def split_prefix(text: str) -> tuple[Prefix, str]:
    """The prefix of a number, date or quantity and the text after it; no prefix is eq."""
    match = _PREFIX.match(text)
    if match is None:
        return "eq", text
    return match.group(1), text[2:]  # type: ignore[return-value]  # the pattern lists the prefixes


def date_condition(prefix: Prefix, lo: int, hi: int, *, now: int, narrow: bool = False) -> Condition:
    """The condition on stored half-open intervals for a search interval [lo, hi), microseconds.

    `now`: for ap, which widens by a tenth of the distance to the present. `narrow`: the stored intervals are
    known to be at most NARROW wide; then bounds on `lo` are added that follow from the others, so that one
    index scan over `lo` is closed on both sides.
    """
    if prefix == "ap":
        gap = abs(now - lo) // 10
        lo, hi = lo - gap, hi + gap
    rules: dict[str, Condition] = {
        "eq": ((Bound("lo", "ge", lo), Bound("lo", "lt", hi), Bound("hi", "le", hi)),),
        "ne": ((Bound("lo", "lt", lo),), (Bound("hi", "gt", hi),)),
        "gt": ((Bound("hi", "gt", hi),),),
        "lt": ((Bound("lo", "lt", lo),),),
        "ge": ((Bound("lo", "ge", lo),), (Bound("hi", "gt", hi),)),
        "le": ((Bound("hi", "le", hi),), (Bound("lo", "lt", lo),)),
        "sa": ((Bound("lo", "ge", hi),),),
        "eb": ((Bound("hi", "le", lo),),),
        "ap": ((Bound("lo", "lt", hi), Bound("hi", "gt", lo)),),
    }
    condition = rules[prefix]
    return tuple(_narrowed(bounds) for bounds in condition) if narrow else condition


def _narrowed(bounds: tuple[Bound, ...]) -> tuple[Bound, ...]:
    extra = []
    for bound in bounds:
        if bound.field == "hi" and bound.comparison == "gt":
            extra.append(Bound("lo", "gt", bound.value - NARROW))
        elif bound.field == "hi" and len(bounds) == 1:
            extra.append(Bound("lo", "lt", bound.value))
    return (*extra, *bounds)


def number_condition(prefix: Prefix, value: float, lo: float, hi: float) -> Condition:
    """The condition on stored closed intervals for a number.

    `value`: as written; [lo, hi) its implicit precision, which only eq and ne heed. ap takes a tenth of the
    value.
    """
    if prefix == "ap":
        margin = abs(value) / 10
        return ((Bound("lo", "le", max(hi, value + margin)), Bound("hi", "ge", min(lo, value - margin))),)
    rules: dict[str, Condition] = {
        "eq": ((Bound("lo", "ge", lo), Bound("lo", "lt", hi), Bound("hi", "lt", hi)),),
        "ne": ((Bound("lo", "lt", lo),), (Bound("hi", "ge", hi),)),
        "gt": ((Bound("hi", "gt", value),),),
        "lt": ((Bound("lo", "lt", value),),),
        "ge": ((Bound("hi", "ge", value),),),
        "le": ((Bound("lo", "le", value),),),
        "sa": ((Bound("lo", "gt", value),),),
        "eb": ((Bound("hi", "lt", value),),),
    }
    return rules[prefix]


def holds(condition: Condition, lo: float, hi: float) -> bool:
    """Whether a stored interval fulfils the condition.

    What the database must answer, for tests and explanations.
    """
    return any(all(_compare(b, lo, hi) for b in bounds) for bounds in condition)


def _compare(bound: Bound, lo: float, hi: float) -> bool:
    stored = lo if bound.field == "lo" else hi
    match bound.comparison:
        case "lt":
            return stored < bound.value
        case "le":
            return stored <= bound.value
        case "gt":
            return stored > bound.value
        case "ge":
            return stored >= bound.value
