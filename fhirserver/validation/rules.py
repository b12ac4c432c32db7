"""Small predicates that the invariants are made of. Each is True where the rule holds.

An element exists when its property or its `_x` companion is there; `name[x]` stands for any type of a choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fhirserver.validation.moments import after

Json = dict[str, Any]
Test = Callable[[Any], bool]


def present(name: str) -> Test:
    """The element exists."""
    if not name.endswith("[x]"):
        companion = "_" + name
        return lambda value: name in value or companion in value
    start = name.removesuffix("[x]")
    starts = (start, "_" + start)
    size = len(start)

    def choice(value: Any) -> bool:
        return any(
            key.startswith(starts) and key.removeprefix("_")[size : size + 1].isupper() for key in value
        )

    return choice


def absent(name: str) -> Test:
    """The element does not exist."""
    is_present = present(name)
    return lambda value: not is_present(value)


def some(*names: str) -> Test:
    """At least one of the elements exists."""
    tests = [present(name) for name in names]
    return lambda value: any(test(value) for test in tests)


def count(value: Any, *names: str) -> int:
    """How many values the elements have together."""
    total = 0
    for name in names:
        found = value.get(name, value.get("_" + name))
        total += len(found) if isinstance(found, list) else int(found is not None)
    return total


def needs(name: str, *others: str) -> Test:
    """Where `name` exists, all `others` do."""
    if len(others) == 1 and "[x]" not in name + others[0]:
        other, companion, other_companion = others[0], "_" + name, "_" + others[0]
        return lambda value: (
            (name not in value and companion not in value) or other in value or other_companion in value
        )
    given = present(name)
    tests = [present(other) for other in others]
    return lambda value: not given(value) or all(test(value) for test in tests)


def not_both(first: str, second: str) -> Test:
    """The two elements do not exist together."""
    one, other = present(first), present(second)
    return lambda value: not (one(value) and other(value))


def just_one(first: str, second: str) -> Test:
    """One of the two elements exists and not the other."""
    one, other = present(first), present(second)
    return lambda value: one(value) != other(value)


def only_if(name: str, key: str, *values: Any) -> Test:
    """`name` exists only where the element `key` has one of `values`."""
    given = present(name)
    return lambda value: value.get(key) in values or not given(value)


def required_if(key: str, content: str, *names: str) -> Test:
    """Where `key` has the value `content`, all `names` exist."""
    tests = [present(name) for name in names]
    return lambda value: value.get(key) != content or all(test(value) for test in tests)


def prohibited_if(key: str, content: str, *names: str) -> Test:
    """Where `key` has the value `content`, none of `names` exists."""
    tests = [present(name) for name in names]
    return lambda value: value.get(key) != content or not any(test(value) for test in tests)


def each(name: str, test: Test) -> Test:
    """`test` holds for every item of the repeating element."""
    return lambda value: all(test(item) for item in value.get(name, ()))


def in_order(first: str, second: str) -> Test:
    """The date in `first` is not certainly later than the one in `second`."""

    def test(value: Any) -> bool:
        return first not in value or second not in value or not after(value[first], value[second])

    return test


def distinct(values: Iterable[Any]) -> bool:
    """No two values are equal; None is no value."""
    seen: set[Any] = set()
    for value in values:
        if value is None:
            continue
        if value in seen:
            return False
        seen.add(value)
    return True


def distinct_in(name: str, key: str) -> Test:
    """The items of the repeating element `name` have different values of `key`."""
    return lambda value: distinct(item.get(key) for item in value.get(name, ()))


def coded(concept: Any, system: str, *codes: str) -> bool:
    """A CodeableConcept has a coding of `system` with one of `codes`."""
    return concept is not None and any(
        coding.get("system") == system and coding.get("code") in codes for coding in concept.get("coding", ())
    )
