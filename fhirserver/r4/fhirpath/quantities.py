"""Quantities: a number with a UCUM code or the name of a calendar unit, compared across units of one kind.

Converted are the units that clinical data compares, with metric prefixes; two codes beyond them are comparable
when they are the same. Source: hl7.org/fhirpath/N1/#quantity, ucum.org/ucum
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

CALENDAR = frozenset({"year", "month", "week", "day", "hour", "minute", "second", "millisecond"})
# The calendar units that stand for the same as a UCUM code; years and months have no fixed length.
_DEFINITE = {"week": "wk", "day": "d", "hour": "h", "minute": "min", "second": "s", "millisecond": "ms"}
_PREFIXES = {
    "k": "1e3", "h": "1e2", "da": "1e1", "d": "1e-1", "c": "1e-2", "m": "1e-3", "u": "1e-6", "n": "1e-9",
    "p": "1e-12", "f": "1e-15", "M": "1e6", "G": "1e9",
}  # fmt: skip
# Unit -> (dimension, factor to the base unit of the dimension, takes prefixes).
_ATOMS = {
    "m": ("length", "1", True),
    "[in_i]": ("length", "0.0254", False),
    "[ft_i]": ("length", "0.3048", False),
    "[yd_i]": ("length", "0.9144", False),
    "[mi_i]": ("length", "1609.344", False),
    "g": ("mass", "1", True),
    "t": ("mass", "1e6", False),
    "[lb_av]": ("mass", "453.59237", False),
    "[oz_av]": ("mass", "28.349523125", False),
    "L": ("volume", "1", True),
    "l": ("volume", "1", True),
    "s": ("time", "1", True),
    "min": ("time", "60", False),
    "h": ("time", "3600", False),
    "d": ("time", "86400", False),
    "wk": ("time", "604800", False),
    "mol": ("amount", "1", True),
    "Pa": ("pressure", "1", True),
    "m[Hg]": ("pressure", "133322.387415", True),
    "mm[Hg]": ("pressure", "133.322387415", False),
    "Hz": ("frequency", "1", True),
    "J": ("energy", "1", True),
    "cal": ("energy", "4.184", True),
    "1": ("", "1", False),
    "%": ("", "0.01", False),
    "10*": ("", "10", False),
    "10^": ("", "10", False),
    "K": ("temperature", "1", True),
}
_TERM = re.compile(r"(/?)((?:[^./{}]|\{[^}]*\})+)\.?")
_POWER = re.compile(r"(.*?[^\d+-]|1)([+-]?\d{1,2})?", re.ASCII)
_NUMBER = re.compile(r"\s*([+-]?\d+(?:\.\d+)?)\s*(?:'([^']*)'|([a-z]+))?\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Quantity:
    """`unit`: a UCUM code, or the name of a calendar unit in the singular."""

    value: Decimal
    unit: str

    def __str__(self) -> str:
        return f"{self.value} {self.unit}" if self.unit in CALENDAR else f"{self.value} '{self.unit}'"


def parse_quantity(text: str) -> Quantity | None:
    """The quantity of "4 days", "10 'mg'" or a bare number; None for anything else."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    if match[3] is not None:
        name = match[3].removesuffix("s")
        return Quantity(Decimal(match[1]), name) if name in CALENDAR else None
    return Quantity(Decimal(match[1]), "1" if match[2] is None else match[2])


def common(left: Quantity, right: Quantity) -> tuple[Decimal, Decimal] | None:
    """Both values in one unit, None where the units cannot be compared."""
    if left.unit == right.unit:
        return left.value, right.value
    one, other = canonical(left), canonical(right)
    return (one[1], other[1]) if one[0] == other[0] else None


def canonical(quantity: Quantity) -> tuple[str, Decimal]:
    """Dimension and value in its base unit; a unit that is not converted is a dimension of its own."""
    code = _DEFINITE.get(quantity.unit, quantity.unit)
    known = _unit(code)
    return (code, quantity.value) if known is None else (known[0], quantity.value * known[1])


@lru_cache(maxsize=1024)
def _unit(code: str) -> tuple[str, Decimal] | None:
    """Dimension and factor of a UCUM code: atoms with prefixes and exponents, joined by . and /."""
    powers: Counter[str] = Counter()
    factor = Decimal(1)
    for slash, term in _TERM.findall(code):
        match = _POWER.fullmatch(term)
        atom = _atom(match[1]) if match else None
        if match is None or atom is None:
            return None
        power = int(match[2] or 1) * (-1 if slash else 1)
        powers[atom[0]] += power
        factor *= atom[1] ** power
    if "".join(slash + term for slash, term in _TERM.findall(code)) != code.replace(".", ""):
        return None
    return " ".join(f"{name}{power}" for name, power in sorted(powers.items()) if power and name), factor


def _atom(code: str) -> tuple[str, Decimal] | None:
    known = _ATOMS.get(code)
    if known is not None:
        return known[0], Decimal(known[1])
    for size in (2, 1):
        prefix, unit = _PREFIXES.get(code[:size]), _ATOMS.get(code[size:])
        if prefix is not None and unit is not None and unit[2]:
            return unit[0], Decimal(prefix) * Decimal(unit[1])
    return None
