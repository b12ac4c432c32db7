"""Number parameters: implicit precision on the search side, the exact value on the stored side.

Stored: `ix.<code>` = {lo, hi}, closed, lo = hi for a plain number. Source: hl7.org/fhir/R4/search.html#number
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from fhirserver.outcome import InvalidSearchValue
from fhirserver.search.types.escapes import unescape
from fhirserver.search.types.ranges import Condition, Prefix, number_condition, split_prefix

Interval: TypeAlias = tuple[float, float]
_NUMBER = re.compile(r"[-+]?(\d{1,40})(?:\.(\d{1,40}))?(?:[eE]([-+]?\d{1,3}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class NumberValue:
    """One value: prefix, the number as written, and [lo, hi), what it covers at the precision of its text."""

    prefix: Prefix
    value: float
    lo: float
    hi: float

    def condition(self) -> Condition:
        """What must hold for a stored interval."""
        return number_condition(self.prefix, self.value, self.lo, self.hi)


def parse(text: str) -> NumberValue:
    """A search text: prefix and number. Raises InvalidSearchValue (search-value-number)."""
    prefix, rest = split_prefix(unescape(text))
    return NumberValue(prefix, *precision_range(rest))


def precision_range(text: str) -> tuple[float, float, float]:
    """Value, lo and hi of a number's text: 100 is [99.5, 100.5), 100.00 is [99.995, 100.005).

    A number with an exponent and one digit before it is read one digit finer, as the specification's example
    has it: 1e2 is [95, 105). Raises InvalidSearchValue (search-value-number).
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise InvalidSearchValue(
            "A number to search for is written like 5, -5.40 or 1e2.", code="search-value-number"
        )
    whole, fraction, exponent = match.groups()
    number = Decimal(text)
    last = -len(fraction or "") + int(exponent or 0)
    if exponent is not None and not fraction and len(whole) == 1:
        last -= 1
    half = Decimal(5).scaleb(last - 1)
    value, lo, hi = float(number), float(number - half), float(number + half)
    if not (math.isfinite(lo) and math.isfinite(hi)):
        raise InvalidSearchValue("The number is too large to search for.", code="search-value-number")
    return value, lo, hi


def _number(value: Any) -> float | None:
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None
    return None


def index(type: str, value: Any) -> Interval | None:
    """The closed interval of one value of a FHIR type.

    A number, a Quantity with its comparator, or a Range.
    """
    number = _number(value)
    if number is not None:
        return number, number
    if not isinstance(value, dict):
        return None
    if type == "Range":
        return _range(value)
    number = _number(value.get("value"))
    if number is None:
        return None
    comparator = value.get("comparator")
    if comparator in ("<", "<="):
        return -math.inf, number
    return (number, math.inf) if comparator in (">", ">=") else (number, number)


def _range(value: dict[str, Any]) -> Interval | None:
    low, high = value.get("low"), value.get("high")
    lo = _number(low.get("value")) if isinstance(low, dict) else None
    hi = _number(high.get("value")) if isinstance(high, dict) else None
    if lo is None and hi is None:
        return None
    return -math.inf if lo is None else lo, math.inf if hi is None else hi


def sort_value(lo: float, hi: float) -> float:
    """The number that stands for an interval in a sorted list.

    Its low end, or the high one when that is open.
    """
    return lo if lo != -math.inf else hi


def sort_key(number: float) -> str:
    """The order-preserving key of a double."""
    bits: int = struct.unpack(">Q", struct.pack(">d", number + 0.0))[0]
    return f"{bits ^ (0xFFFFFFFFFFFFFFFF if bits >> 63 else 1 << 63):016x}"
