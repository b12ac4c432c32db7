"""The operators: three-valued logic, comparison, membership, union and arithmetic.

Each takes the two collections and returns one. Source: hl7.org/fhirpath/N1/#operations
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from fhirserver.r4.fhirpath import temporal
from fhirserver.r4.fhirpath.quantities import Quantity, common
from fhirserver.r4.fhirpath.state import MAX_STRING, Items, State, failed
from fhirserver.r4.fhirpath.temporal import Temporal
from fhirserver.r4.fhirpath.values import (
    EMPTY,
    FALSE,
    TEMPORAL,
    TRUE,
    boolean,
    decimal,
    equal,
    equal_collections,
    equivalent,
    identity,
    made,
    number_or_quantity,
    order,
    single,
    system,
)

Operator = Callable[[State, Items, Items], Items]


def distinct(state: State, items: Items) -> Items:
    """The items without those that repeat an earlier one."""
    state.spend(len(items))
    seen: set[Any] = set()
    found: Items = []
    for item in items:
        key = identity(item, state.spend)
        if key not in seen:
            seen.add(key)
            found.append(item)
    return found


def _union(state: State, left: Items, right: Items) -> Items:
    return distinct(state, left + right) if left or right else EMPTY


def _equals(state: State, left: Items, right: Items) -> Items:
    if len(left) == 1 and len(right) == 1:  # two plain strings, the commonest case by far
        one, other = left[0], right[0]
        texts = type(one.value) is str and type(other.value) is str
        if texts and one.type not in TEMPORAL and other.type not in TEMPORAL:
            return TRUE if one.value == other.value else FALSE
    state.spend(len(left))
    return boolean(equal_collections(left, right, state.spend))


def _differs(state: State, left: Items, right: Items) -> Items:
    state.spend(len(left))
    same = equal_collections(left, right, state.spend)
    return boolean(None if same is None else not same)


def _same(state: State, left: Items, right: Items) -> bool:
    """`~`: the same items in any order."""
    if len(left) != len(right):
        return False
    state.spend(len(left) * len(right))
    rest = list(right)
    for item in left:
        for index, other in enumerate(rest):
            if equivalent(item, other, state.spend):
                del rest[index]
                break
        else:
            return False
    return True


def _order(operator: str, test: Callable[[int], bool]) -> Operator:
    def compare(_state: State, left: Items, right: Items) -> Items:
        one, other = single(left, operator), single(right, operator)
        if one is None or other is None:
            return EMPTY
        found = order(one, other, operator)
        return EMPTY if found is None else boolean(test(found))

    return compare


def _contains(state: State, items: Items, wanted: Items) -> Items:
    item = single(wanted, "in or contains")
    if item is None:
        return EMPTY
    state.spend(len(items))
    return boolean(any(equal(item, other, state.spend) is True for other in items))


def _arithmetic(operator: str) -> Operator:
    calculate = _CALCULATIONS[operator]

    def run(_state: State, left: Items, right: Items) -> Items:
        one, other = single(left, operator), single(right, operator)
        if one is None or other is None:
            return EMPTY
        try:
            return made(calculate(system(one), system(other)))
        except (InvalidOperation, OverflowError) as error:
            raise failed(f"{operator} gives a number that is too large.") from error

    return run


def _add(left: Any, right: Any) -> Any:
    if isinstance(left, str) and isinstance(right, str):
        return _bounded(left + right)
    if isinstance(left, Temporal) and isinstance(right, Quantity):
        return temporal.add(left, right.value, right.unit)
    if isinstance(left, Quantity) and isinstance(right, Quantity):
        values = _alike(left, right)
        return None if values is None else Quantity(values[0] + values[1], values[2])
    return _numbers("+", left, right)


def _subtract(left: Any, right: Any) -> Any:
    if isinstance(left, Temporal) and isinstance(right, Quantity):
        return temporal.add(left, -right.value, right.unit)
    if isinstance(left, Quantity) and isinstance(right, Quantity):
        values = _alike(left, right)
        return None if values is None else Quantity(values[0] - values[1], values[2])
    return _numbers("-", left, right)


def _multiply(left: Any, right: Any) -> Any:
    if isinstance(left, Quantity) or isinstance(right, Quantity):
        one, other = _of_one(left), _of_one(right)
        if one is None or other is None:
            raise failed("* multiplies numbers and quantities.")
        if "1" not in (one.unit, other.unit):
            unit = f"{one.unit}2" if one.unit == other.unit else f"{one.unit}.{other.unit}"
        else:
            unit = other.unit if one.unit == "1" else one.unit
        return Quantity(one.value * other.value, unit)
    return _numbers("*", left, right)


def _divide(left: Any, right: Any) -> Any:
    if isinstance(left, Quantity) or isinstance(right, Quantity):
        one, other = _of_one(left), _of_one(right)
        if one is None or other is None:
            raise failed("/ divides numbers and quantities.")
        if other.value == 0:
            return None
        values = common(one, other)
        if values is not None:
            return Quantity(values[0] / values[1], "1")
        return Quantity(
            one.value / other.value, one.unit if other.unit == "1" else f"{one.unit}/{other.unit}"
        )
    return _numbers("/", left, right)


def _numbers(operator: str, left: Any, right: Any) -> Any:
    for value in (left, right):
        if not number_or_quantity(value) or isinstance(value, Quantity):
            raise failed(f"{operator} does not fit its operands.")
    if operator in ("/", "div", "mod") and right == 0:
        return None
    match operator:
        case "+":
            return _checked(left + right)
        case "-":
            return _checked(left - right)
        case "*":
            return _checked(left * right)
        case "/":
            return _checked(Decimal(left) / Decimal(right))
        case "div":
            return int(decimal(Decimal(left) / Decimal(right)))
    remainder = Decimal(left) % Decimal(right)
    return int(remainder) if isinstance(left, int) and isinstance(right, int) else remainder


def _checked(number: int | Decimal) -> int | Decimal:
    if isinstance(number, Decimal):
        return decimal(number)
    if number.bit_length() > 1024:
        raise OverflowError
    return number


def _alike(left: Quantity, right: Quantity) -> tuple[Decimal, Decimal, str] | None:
    """Both values in the unit of the left one."""
    values = common(left, right)
    if values is None:
        return None
    if left.unit == right.unit or values[0] == 0:
        return *values, left.unit
    factor = left.value / values[0]
    return left.value, values[1] * factor, left.unit


def _of_one(value: Any) -> Quantity | None:
    if isinstance(value, Quantity):
        return value
    return Quantity(Decimal(value), "1") if number_or_quantity(value) else None


def _bounded(text: str) -> str:
    if len(text) > MAX_STRING:
        raise failed(f"a string grows beyond {MAX_STRING} characters.")
    return text


def _concatenate(_state: State, left: Items, right: Items) -> Items:
    texts = []
    for items in (left, right):
        item = single(items, "&")
        value = "" if item is None else system(item)
        if not isinstance(value, str):
            raise failed("& joins strings.")
        texts.append(value)
    return made(_bounded("".join(texts)))


_CALCULATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "+": _add,
    "-": _subtract,
    "*": _multiply,
    "/": _divide,
    "div": lambda left, right: _numbers("div", left, right),
    "mod": lambda left, right: _numbers("mod", left, right),
}

OPERATORS: Mapping[str, Operator] = {
    "|": _union,
    "=": _equals,
    "!=": _differs,
    "~": lambda state, left, right: boolean(_same(state, left, right)),
    "!~": lambda state, left, right: boolean(not _same(state, left, right)),
    "<": _order("<", lambda found: found < 0),
    ">": _order(">", lambda found: found > 0),
    "<=": _order("<=", lambda found: found <= 0),
    ">=": _order(">=", lambda found: found >= 0),
    "in": lambda state, left, right: _contains(state, right, left),
    "contains": _contains,
    "&": _concatenate,
    **{operator: _arithmetic(operator) for operator in _CALCULATIONS},
}
"""Operators that evaluate both sides. `and`, `or`, `xor` and `implies` are in LOGIC."""


def conjunction(left: bool | None, right: bool | None) -> bool | None:
    """`and`."""
    if left is False or right is False:
        return False
    return None if left is None or right is None else True


def disjunction(left: bool | None, right: bool | None) -> bool | None:
    """`or`."""
    if left is True or right is True:
        return True
    return None if left is None or right is None else False


def exclusive(left: bool | None, right: bool | None) -> bool | None:
    """`xor`."""
    return None if left is None or right is None else left != right


def implication(left: bool | None, right: bool | None) -> bool | None:
    """`implies`."""
    if left is False or right is True:
        return True
    return None if left is None or right is None else right


# Operator -> (function, the left value that decides alone).
LOGIC: Mapping[str, tuple[Callable[[bool | None, bool | None], bool | None], bool | None]] = {
    "and": (conjunction, False),
    "or": (disjunction, True),
    "implies": (implication, False),
    "xor": (exclusive, None),
}
