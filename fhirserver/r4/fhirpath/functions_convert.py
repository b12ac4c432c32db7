"""Conversions between the System types, and the functions of the clock.

Source: hl7.org/fhirpath/N1/#conversion, #utility-functions
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from fhirserver.r4.fhirpath.functions import Function, eager
from fhirserver.r4.fhirpath.quantities import Quantity, common, parse_quantity
from fhirserver.r4.fhirpath.state import Items, State
from fhirserver.r4.fhirpath.temporal import Temporal, parse_temporal
from fhirserver.r4.fhirpath.values import EMPTY, boolean, made, single, system

_INTEGER = re.compile(r"[+-]?\d{1,10}", re.ASCII)
_DECIMAL = re.compile(r"[+-]?\d{1,200}(?:\.\d{1,200})?", re.ASCII)
_TRUE = frozenset({"true", "t", "yes", "y", "1", "1.0"})
_FALSE = frozenset({"false", "f", "no", "n", "0", "0.0"})


def _to_boolean(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, Decimal)):
        return bool(value) if value in (0, 1) else None
    if isinstance(value, str):
        text = value.lower()
        return True if text in _TRUE else False if text in _FALSE else None
    return None


def _to_integer(value: Any) -> int | None:
    if isinstance(value, (bool, int)):
        return int(value)
    return int(value) if isinstance(value, str) and _INTEGER.fullmatch(value) else None


def _to_decimal(value: Any) -> Decimal | None:
    if isinstance(value, (bool, int, Decimal)):
        return Decimal(value)
    return Decimal(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else None


def to_text(value: Any) -> str | None:
    """A System value as toString() writes it, None for what has no such form."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    return str(value) if isinstance(value, (str, int, Quantity, Temporal)) else None


def _to_quantity(value: Any) -> Quantity | None:
    if isinstance(value, Quantity):
        return value
    if isinstance(value, (bool, int, Decimal)):
        return Quantity(Decimal(value), "1")
    return parse_quantity(value) if isinstance(value, str) else None


def _to_date(value: Any) -> Temporal | None:
    if isinstance(value, str):
        value = parse_temporal(value.partition("T")[0]) if parse_temporal(value) else None
    if not isinstance(value, Temporal) or value.kind == "Time":
        return None
    return Temporal("Date", value.parts[:3])


def _to_date_time(value: Any) -> Temporal | None:
    if isinstance(value, str):
        value = parse_temporal(value, "DateTime")
    if not isinstance(value, Temporal) or value.kind == "Time":
        return None
    return Temporal("DateTime", value.parts, value.offset, value.digits)


def _to_time(value: Any) -> Temporal | None:
    if isinstance(value, str):
        return parse_temporal(value, "Time")
    return value if isinstance(value, Temporal) and value.kind == "Time" else None


def _conversion(convert: Callable[[Any], Any], name: str) -> dict[str, Function]:
    def to(_state: State, items: Items) -> Items:
        item = single(items, f"to{name}()")
        return EMPTY if item is None else made(convert(system(item)))

    def converts(_state: State, items: Items) -> Items:
        item = single(items, f"convertsTo{name}()")
        return EMPTY if item is None else boolean(convert(system(item)) is not None)

    return {f"to{name}": eager(0, 0, to), f"convertsTo{name}": eager(0, 0, converts)}


def _quantity(test: bool) -> Function:
    """toQuantity(unit) and convertsToQuantity(unit): with a unit, only what compares with it."""

    def run(_state: State, items: Items, unit: Items = EMPTY) -> Items:
        item, wanted = single(items, "toQuantity()"), single(unit, "toQuantity()")
        if item is None:
            return EMPTY
        found = _to_quantity(system(item))
        if found is not None and wanted is not None:
            found = _in_unit(found, str(system(wanted)))
        return boolean(found is not None) if test else made(found)

    return eager(0, 1, run)


def _in_unit(quantity: Quantity, unit: str) -> Quantity | None:
    if quantity.unit == unit:
        return quantity
    values = common(quantity, Quantity(Decimal(1), unit))
    return Quantity(values[0] / values[1], unit) if values is not None else None


def _now(state: State, _items: Items) -> Items:
    return made(parse_temporal(state.now().isoformat(timespec="milliseconds")))


def _today(state: State, _items: Items) -> Items:
    return made(parse_temporal(state.now().date().isoformat()))


def _time_of_day(state: State, _items: Items) -> Items:
    return made(parse_temporal(state.now().strftime("T%H:%M:%S")))


FUNCTIONS: Mapping[str, Function] = {
    **_conversion(_to_boolean, "Boolean"),
    **_conversion(_to_integer, "Integer"),
    **_conversion(_to_decimal, "Decimal"),
    **_conversion(to_text, "String"),
    **_conversion(_to_date, "Date"),
    **_conversion(_to_date_time, "DateTime"),
    **_conversion(_to_time, "Time"),
    "toQuantity": _quantity(False),
    "convertsToQuantity": _quantity(True),
    "now": eager(0, 0, _now),
    "today": eager(0, 0, _today),
    "timeOfDay": eager(0, 0, _time_of_day),
}
