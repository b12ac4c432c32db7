"""Quantity parameters: a number, and a unit by system and code or by either of code and unit text.

Stored: `ix.<code>` = {lo, hi, k: ["", "system|code", "|code", "|unit"]}. Units are compared as written, not
converted. Source: hl7.org/fhir/R4/search.html#quantity
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fhirserver.outcome import InvalidSearchValue
from fhirserver.search.types import number
from fhirserver.search.types.escapes import split, unescape
from fhirserver.search.types.ranges import Condition, Prefix, number_condition, split_prefix

_CURRENCY = "urn:iso:std:iso:4217"


@dataclass(frozen=True, slots=True)
class QuantityValue:
    """One value. `key`: the entry to look for in `k`; "" for any unit. The rest as in NumberValue."""

    prefix: Prefix
    value: float
    lo: float
    hi: float
    key: str

    def condition(self) -> Condition:
        """What must hold for the interval of the stored quantity that has `key` among its `k`."""
        return number_condition(self.prefix, self.value, self.lo, self.hi)


def parse(text: str) -> QuantityValue:
    """A search text: `number`, `number|system|code` or `number||code`, the number after an optional prefix.

    Raises InvalidSearchValue (search-value-quantity, search-value-number).
    """
    parts = [unescape(part) for part in split(text, "|")]
    prefix, rest = split_prefix(parts[0])
    if len(parts) not in (1, 3) or (len(parts) == 3 and parts[1] and not parts[2]):
        raise InvalidSearchValue(
            "A quantity to search for is number, number|system|code or number||unit.",
            code="search-value-quantity",
        )
    key = "" if len(parts) == 1 or not parts[2] else f"{parts[1]}|{parts[2]}"
    return QuantityValue(prefix, *number.precision_range(rest), key)


def index(type: str, value: Any) -> dict[str, Any] | None:
    """The stored entry of one value of a FHIR type, None when it has no number."""
    interval = number.index(type, value)
    if interval is None:
        return None
    keys = [""]
    if isinstance(value, dict):
        for part in (value.get("low"), value.get("high")) if type == "Range" else (value,):
            if isinstance(part, dict):
                keys += [key for key in _keys(part) if key not in keys]
    return {"lo": interval[0], "hi": interval[1], "k": keys}


def _keys(value: dict[str, Any]) -> list[str]:
    currency = value.get("currency")
    if currency is not None:
        return [f"{_CURRENCY}|{currency}", f"|{currency}"]
    code, unit, keys = value.get("code"), value.get("unit"), []
    if code is not None:
        if "system" in value:
            keys.append(f"{value['system']}|{code}")
        keys.append(f"|{code}")
    if unit is not None and unit != code:
        keys.append(f"|{unit}")
    return keys
