"""Functions on numbers.

Source: hl7.org/fhirpath/N1/#math
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_UP, Decimal, DecimalException
from typing import Any

from fhirserver.r4.fhirpath.functions import Function, eager
from fhirserver.r4.fhirpath.quantities import Quantity
from fhirserver.r4.fhirpath.state import Items, State, failed
from fhirserver.r4.fhirpath.values import EMPTY, decimal, made, single, system

_MAX_PLACES = 28


def _math(name: str, apply: Callable[..., Any], arguments: int = 0, optional: bool = False) -> Function:
    """A function of numbers; empty where one is empty or the result is no number."""

    def run(state: State, items: Items, *rest: Items) -> Items:
        state.spend(10)
        given = [single(collection, name) for collection in (items, *rest)]
        if any(item is None for item in given):
            return EMPTY
        values = [system(item) for item in given if item is not None]
        if any(type(value) not in _NUMBERS for value in values):
            raise failed(f"{name} takes numbers.")
        try:
            found = apply(*values)
        except (DecimalException, OverflowError, ZeroDivisionError):
            return EMPTY
        return made(decimal(found) if isinstance(found, Decimal) else found)

    return eager(0 if optional else arguments, arguments, run)


_NUMBERS = (int, Decimal)


def _abs(state: State, items: Items) -> Items:
    item = single(items, "abs()")
    if item is None:
        return EMPTY
    value = system(item)
    if isinstance(value, Quantity):
        return made(Quantity(abs(value.value), value.unit))
    if type(value) not in _NUMBERS:
        raise failed("abs() takes a number or a quantity.")
    return made(abs(value))


def _rounded(mode: str) -> Callable[[int | Decimal], int]:
    return lambda value: int(Decimal(value).to_integral_value(rounding=mode))


def _round(value: int | Decimal, places: Any = 0) -> int | Decimal:
    if type(places) is not int or not 0 <= places <= _MAX_PLACES:
        raise failed(f"round() takes 0 to {_MAX_PLACES} digits.")
    if isinstance(value, int):
        return value
    return value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)


def _power(value: int | Decimal, exponent: int | Decimal) -> int | Decimal:
    found = Decimal(value) ** Decimal(exponent)
    whole = isinstance(value, int) and isinstance(exponent, int) and exponent >= 0
    return int(decimal(found)) if whole and found.adjusted() < _MAX_PLACES else found


FUNCTIONS: Mapping[str, Function] = {
    "abs": eager(0, 0, _abs),
    "ceiling": _math("ceiling()", _rounded(ROUND_CEILING)),
    "floor": _math("floor()", _rounded(ROUND_FLOOR)),
    "truncate": _math("truncate()", _rounded(ROUND_DOWN)),
    "round": _math("round()", _round, 1, optional=True),
    "exp": _math("exp()", lambda value: Decimal(value).exp()),
    "ln": _math("ln()", lambda value: Decimal(value).ln()),
    "log": _math("log()", lambda value, base: _log(Decimal(value), Decimal(base)), 1),
    "power": _math("power()", _power, 1),
    "sqrt": _math("sqrt()", lambda value: Decimal(value).sqrt()),
}


def _log(value: Decimal, base: Decimal) -> Decimal:
    found = value.ln() / base.ln()
    near = found.to_integral_value()
    return near if abs(found - near) < Decimal("1e-24") else found
