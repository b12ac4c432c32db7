"""The ends of what an imprecise value covers.

Source: hl7.org/fhirpath/#lowboundaryprecision-integer
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext

from fhirserver.r4.fhirpath.functions import Function, eager, of_type
from fhirserver.r4.fhirpath.quantities import Quantity, common
from fhirserver.r4.fhirpath.state import Items, State, failed
from fhirserver.r4.fhirpath.temporal import Temporal
from fhirserver.r4.fhirpath.values import EMPTY, boolean, made, single, system

_MAX_PLACES = 31
# Precision as the functions count it (digits) -> number of parts.
_DATE_PARTS = {4: 1, 6: 2, 8: 3, 10: 4, 12: 5, 17: 6}
_TIME_PARTS = {2: 1, 4: 2, 9: 3}
_LAST_MILLISECOND = Decimal("59.999")


def _boundary(name: str, high: bool) -> Function:
    def run(_state: State, items: Items, precision: Items = EMPTY) -> Items:
        item, wanted = single(items, name), single(precision, name)
        if item is None:
            return EMPTY
        places = None if wanted is None else of_type(system(wanted), int, name)
        value = system(item)
        if isinstance(value, Temporal):
            return made(_of_temporal(value, places, high))
        if isinstance(value, Quantity):
            end = _of_number(value.value, places, high)
            return EMPTY if end is None else made(Quantity(end, value.unit))
        if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
            return made(_of_number(Decimal(value), places, high))
        raise failed(f"{name} takes a number, a quantity, a date or a time.")

    return eager(0, 1, run)


def _of_number(value: Decimal, places: int | None, high: bool) -> Decimal | None:
    digits = 8 if places is None else places
    if not 0 <= digits <= _MAX_PLACES:
        return None
    with localcontext(prec=500):
        half = Decimal(5).scaleb(min(int(value.as_tuple().exponent), 0) - 1)
        end = value + half if high else value - half
        return end.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_CEILING if high else ROUND_FLOOR)


def _of_temporal(value: Temporal, places: int | None, high: bool) -> Temporal | None:
    known = _TIME_PARTS if value.kind == "Time" else _DATE_PARTS
    default = {"Time": 9, "Date": 8, "DateTime": 17}[value.kind]
    count = known.get(default if places is None else places)
    if count is None:
        return None
    parts = list(value.parts[:count])
    position = len(parts) + (3 if value.kind == "Time" else 0)
    while len(parts) < count:
        parts.append(_end_of_part(position, parts, high))
        position += 1
    finest = count == max(known.values())
    if finest and high and len(value.parts) == count and not value.digits:
        parts[-1] = Decimal(parts[-1]) + Decimal("0.999")
    offset = value.offset
    if value.kind != "Time" and count > 3 and offset is None:
        offset = -12 * 60 if high else 14 * 60
    return Temporal(value.kind, tuple(parts), offset if count > 3 else None, 3 if finest else 0)


def _end_of_part(position: int, before: list[int | Decimal], high: bool) -> int | Decimal:
    """The first or last month (1), day (2), hour (3), minute (4) or second (5)."""
    if not high:
        return 1 if position < 3 else 0
    if position == 2:
        return monthrange(int(before[0]), int(before[1]))[1]
    return {1: 12, 3: 23, 4: 59}.get(position, _LAST_MILLISECOND)


def _precision(_state: State, items: Items) -> Items:
    item = single(items, "precision()")
    if item is None:
        return EMPTY
    value = system(item)
    if isinstance(value, Temporal):
        known = _TIME_PARTS if value.kind == "Time" else _DATE_PARTS
        return made(next(digits for digits, parts in known.items() if parts == len(value.parts)))
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return made(max(0, -int(Decimal(value).as_tuple().exponent)))
    raise failed("precision() takes a number, a date or a time.")


def _comparable(_state: State, items: Items, other: Items) -> Items:
    pair = [single(collection, "comparable()") for collection in (items, other)]
    values = [system(item) for item in pair if item is not None]
    if len(values) < 2:
        return EMPTY
    one, two = values
    if not isinstance(one, Quantity) or not isinstance(two, Quantity):
        raise failed("comparable() takes quantities.")
    return boolean(common(one, two) is not None)


FUNCTIONS: Mapping[str, Function] = {
    "lowBoundary": _boundary("lowBoundary()", high=False),
    "highBoundary": _boundary("highBoundary()", high=True),
    "precision": eager(0, 0, _precision),
    "comparable": eager(1, 1, _comparable),
}
