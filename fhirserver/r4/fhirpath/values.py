"""Items as values of the System types; equality, equivalence, order and identity of values.

Source: hl7.org/fhirpath/N1/#equality, hl7.org/fhir/R4/fhirpath.html#types
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeAlias

from fhirserver.r4.fhirpath import quantities, temporal
from fhirserver.r4.fhirpath.model import QUANTITIES, Item
from fhirserver.r4.fhirpath.quantities import Quantity
from fhirserver.r4.fhirpath.state import Items, failed
from fhirserver.r4.fhirpath.temporal import Temporal, parse_temporal

TRUE = [Item(True, "System.Boolean")]
FALSE = [Item(False, "System.Boolean")]
EMPTY: Items = []
_MAX_EXPONENT = 400
BIG = 2**1000
TEMPORAL = {"date": "Date", "dateTime": "DateTime", "instant": "DateTime", "time": "Time"}
_SYSTEM = {
    bool: "System.Boolean",
    int: "System.Integer",
    Decimal: "System.Decimal",
    str: "System.String",
    Quantity: "System.Quantity",
}


def boolean(value: bool | None) -> Items:
    """The collection that holds a truth value; None is empty."""
    return EMPTY if value is None else TRUE if value else FALSE


def made(value: Any) -> Items:
    """The collection that holds one System value; None is empty."""
    if value is None:
        return EMPTY
    kind = _SYSTEM.get(type(value))
    return [Item(value, kind or f"System.{value.kind}")]


def system(item: Item) -> Any:
    """The System value of an item: bool, int, Decimal, str, Temporal, Quantity; JSON for complex types.

    A FHIR value that is not what its type says stays as it is, a string that is no date for instance.
    """
    value = item.value
    kind = item.type
    if type(value) is str:
        known = TEMPORAL.get(kind)
        return (parse_temporal(value, known) or value) if known else value
    if kind.startswith("System."):
        return value
    if type(value) is bool:
        return value
    if isinstance(value, (int, float, Decimal)):
        return (
            value if isinstance(value, int) and kind != "decimal" and -BIG < value < BIG else decimal(value)
        )
    if type(value) is dict and kind in QUANTITIES:
        number = value.get("value")
        if isinstance(number, (int, float, Decimal)) and not isinstance(number, bool):
            unit = value.get("code") or value.get("unit") or "1"
            return Quantity(decimal(number), unit if isinstance(unit, str) else "1")
    return value


def decimal(number: Any) -> Decimal:
    """A JSON number as Decimal. Raises PathError beyond what arithmetic can bear."""
    found = number if isinstance(number, Decimal) else Decimal(str(number))
    if not found.is_finite() or abs(found.adjusted()) > _MAX_EXPONENT:
        raise failed("a number is too large or too small to calculate with.")
    return found


def single(items: Items, what: str) -> Item | None:
    """The only item, None for an empty collection. Raises PathError for more."""
    if not items:
        return None
    if len(items) > 1:
        raise failed(f"{what} takes a single item.")
    return items[0]


def truth(items: Items, what: str) -> bool | None:
    """A collection as truth value: a single item that is no boolean counts as true. Raises PathError for more."""
    if not items:
        return None
    if len(items) > 1:
        raise failed(f"{what} takes a single item.")
    value = items[0].value
    return value if type(value) is bool else True


def number_or_quantity(value: Any) -> bool:
    """Whether a System value can be calculated with."""
    return isinstance(value, (int, Decimal, Quantity)) and not isinstance(value, bool)


Spend: TypeAlias = Callable[[int], None]
"""Takes steps from the budget: comparing objects takes one for each of their values."""


def equal(left: Item, right: Item, spend: Spend) -> bool | None:
    """Whether two items are equal; None where their precision leaves it open or units do not compare."""
    one, other = system(left), system(right)
    if isinstance(one, dict) and isinstance(other, dict):
        return bool(_frozen(one, spend) == _frozen(other, spend))
    if isinstance(one, Temporal) and isinstance(other, Temporal):
        if (one.kind == "Time") != (other.kind == "Time"):
            return False
        order = temporal.compare(one, other)
        return None if order is None else order == 0
    if isinstance(one, Quantity) or isinstance(other, Quantity):
        pair = _as_quantities(one, other)
        if pair is None:
            return False
        values = quantities.common(*pair)
        return None if values is None else bool(values[0] == values[1])
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def equal_collections(left: Items, right: Items, spend: Spend) -> bool | None:
    """`=`: the same items in the same order; None when a side is empty or an item is undecided."""
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    found: bool | None = True
    for one, other in zip(left, right, strict=True):
        same = equal(one, other, spend)
        if same is False:
            return False
        if same is None:
            found = None
    return found


def equivalent(left: Item, right: Item, spend: Spend) -> bool:
    """`~` of two items: case and white space, trailing precision and order within do not count."""
    one, other = system(left), system(right)
    if isinstance(one, str) and isinstance(other, str):
        return " ".join(one.lower().split()) == " ".join(other.lower().split())
    if isinstance(one, (int, Decimal)) and isinstance(other, (int, Decimal)):
        return _same_number(one, other)
    if isinstance(one, Temporal) and isinstance(other, Temporal):
        return equal(left, right, spend) is True
    pair = _as_quantities(one, other)
    if pair is not None:
        values = quantities.common(*_definite(pair))
        return values is not None and _same_number(*values)
    if isinstance(one, dict) and isinstance(other, dict):
        return bool(_loose(one, spend) == _loose(other, spend))
    return bool(one == other)


def order(left: Item, right: Item, operator: str) -> int | None:
    """-1, 0 or 1 for `<` and the like; None where it is open. Raises PathError for what has no order."""
    one, other = system(left), system(right)
    if isinstance(one, Temporal) and isinstance(other, Temporal):
        return temporal.compare(one, other)
    if isinstance(one, Temporal) and isinstance(other, str):
        other = parse_temporal(other, one.kind)
        return temporal.compare(one, other) if other else None
    if isinstance(one, str) and isinstance(other, Temporal):
        one = parse_temporal(one, other.kind)
        return temporal.compare(one, other) if one else None
    if isinstance(one, Quantity) or isinstance(other, Quantity):
        pair = _as_quantities(one, other)
        if pair is not None:
            values = quantities.common(*pair)
            return None if values is None else (values[0] > values[1]) - (values[0] < values[1])
    elif (isinstance(one, str) and isinstance(other, str)) or (
        number_or_quantity(one) and number_or_quantity(other)
    ):
        return int(one > other) - int(one < other)
    raise failed(f"{operator} compares two numbers, strings, quantities, dates or times.")


def identity(item: Item, spend: Spend) -> Any:
    """A hashable key, the same for equal items: what distinct(), union and intersect() go by."""
    value = system(item)
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, (int, Decimal)):
        return ("number", Decimal(value))
    if isinstance(value, Quantity):
        return ("quantity", *quantities.canonical(value))
    if isinstance(value, (dict, list)):
        return ("json", _frozen(value, spend))
    if value is None:
        return ("extra", _frozen(item.extra, spend))
    return value


def _frozen(value: Any, spend: Spend) -> Any:
    if isinstance(value, dict):
        spend(len(value))
        return frozenset((name, _frozen(below, spend)) for name, below in value.items())
    if isinstance(value, list):
        spend(len(value))
        return tuple(_frozen(below, spend) for below in value)
    return (type(value) is bool, value)


def _loose(value: Any, spend: Spend) -> Any:
    if isinstance(value, dict):
        spend(len(value))
        return {name: _loose(below, spend) for name, below in value.items() if name != "id"}
    if isinstance(value, list):
        spend(len(value))
        return sorted((_loose(below, spend) for below in value), key=str)
    return " ".join(value.lower().split()) if isinstance(value, str) else value


def _same_number(left: int | Decimal, right: int | Decimal) -> bool:
    """Equal when rounded to the precision of the less precise one."""
    one, other = Decimal(left).normalize(), Decimal(right).normalize()
    places = min(-int(one.as_tuple().exponent), -int(other.as_tuple().exponent))
    return round(one, max(places, 0)) == round(other, max(places, 0))


def _as_quantities(left: Any, right: Any) -> tuple[Quantity, Quantity] | None:
    one, other = _as_quantity(left), _as_quantity(right)
    return (one, other) if one is not None and other is not None else None


def _as_quantity(value: Any) -> Quantity | None:
    if isinstance(value, Quantity):
        return value
    return Quantity(Decimal(value), "1") if number_or_quantity(value) else None


def _definite(pair: tuple[Quantity, Quantity]) -> tuple[Quantity, Quantity]:
    """For equivalence a calendar year is a UCUM year, a month a UCUM month."""
    names = {"year": "a", "month": "mo"}
    one, other = pair
    return Quantity(one.value, names.get(one.unit, one.unit)), Quantity(
        other.value, names.get(other.unit, other.unit)
    )
