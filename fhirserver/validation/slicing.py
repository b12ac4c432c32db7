"""Slices: which items of a repeating element belong to which slice, and whether each slice has its due.

Source: hl7.org/fhir/R4/profiling.html#slicing
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fhirserver.outcome import IssueCode
from fhirserver.r4.profiletree import Node
from fhirserver.validation.discriminators import SliceTest, Teller
from fhirserver.validation.problems import Check, Problem, Problems, Scope, within

if TYPE_CHECKING:
    from fhirserver.validation.overlay import Surroundings

DEFAULT = "@default"
Items = Sequence[tuple[int, Any]]
"""Items with their places in the array."""


@dataclass(frozen=True, slots=True)
class Part:
    """One slice. `sorter`: of its own slices. `key`: the one string that tells it, if there is such a one."""

    name: str
    test: SliceTest
    check: Check | None
    minimum: int
    maximum: int | None
    sorter: Sorter | None
    key: str | None = None


class Sorter:
    """Sorts items into slices and checks each by its own. `rules`: open, closed or openAtEnd."""

    def __init__(
        self, parts: Sequence[Part], default: Part | None, rules: str, ordered: bool, key: str
    ) -> None:
        self._parts = parts
        self._default = default
        self._rules = rules
        self._ordered = ordered
        self._key = key
        self._by_key: Mapping[str, int] | None = None
        if key and all(part.key is not None for part in parts):
            self._by_key = {part.key or "": number for number, part in enumerate(parts)}
        self._needed = any(part.minimum for part in parts)

    def check(self, items: Sequence[Any], scope: Scope) -> Problems | None:
        """The problems of all items, their paths starting with the index."""
        return self.sort(list(enumerate(items)), scope)

    def absent(self, segment: str) -> Problems | None:
        """The problems where the element is not there at all."""
        return within(segment, self._counts([0] * len(self._parts))) or None if self._needed else None

    def sort(self, items: Items, scope: Scope) -> Problems | None:
        """The problems of these items."""
        parts = self._parts
        counts = [0] * len(parts)
        found: Problems = []
        nested: dict[int, list[tuple[int, Any]]] = {}
        last, ended = 0, False
        for index, item in items:
            number = self._find(item, scope)
            if number < 0:
                ended = True
                found += self._unsliced(index, item, scope)
                continue
            part = parts[number]
            counts[number] += 1
            if self._ordered and number < last:
                text = f"The slice {part.name} comes too late; its place is before {parts[last].name}."
                found.append(Problem("slice-order", IssueCode.STRUCTURE, text, [f"[{index}]"]))
            elif ended and self._rules == "openAtEnd":
                text = f"The slice {part.name} stands after what belongs to no slice."
                found.append(Problem("slice-order", IssueCode.STRUCTURE, text, [f"[{index}]"]))
            last = max(last, number)
            if part.check is not None:
                problems = part.check(item, scope)
                if problems is not None:
                    found += within(f"[{index}]", problems)
            if part.sorter is not None:
                nested.setdefault(number, []).append((index, item))
        for number, part in enumerate(parts):
            if part.sorter is not None and counts[number]:
                found += part.sorter.sort(nested[number], scope) or []
        found += self._counts(counts)
        return found or None

    def _find(self, item: Any, scope: Scope) -> int:
        if self._by_key is not None:
            value = item.get(self._key) if type(item) is dict else None
            return self._by_key.get(value, -1) if type(value) is str else -1
        for number, part in enumerate(self._parts):
            if part.test(item, scope):
                return number
        return -1

    def _unsliced(self, index: int, item: Any, scope: Scope) -> Problems:
        if self._default is not None:
            check = self._default.check
            return within(f"[{index}]", check(item, scope) or []) if check is not None else []
        if self._rules != "closed":
            return []
        names = ", ".join(part.name for part in self._parts)
        text = f"This item belongs to none of the slices {names}, and the profile allows no others."
        return [Problem("slice-closed", IssueCode.STRUCTURE, text, [f"[{index}]"])]

    def _counts(self, counts: Sequence[int]) -> Problems:
        found: Problems = []
        for part, count in zip(self._parts, counts, strict=True):
            if count < part.minimum:
                text = f"The profile requires at least {part.minimum} in the slice {part.name}."
                found.append(Problem("slice-missing", IssueCode.REQUIRED, text))
            if part.maximum is not None and count > part.maximum:
                text = f"The profile allows at most {part.maximum} in the slice {part.name}."
                found.append(Problem("slice-too-many", IssueCode.STRUCTURE, text))
        return found


def make_sorter(
    node: Node, code: str, value: Callable[[Node, str], Check | None], around: Surroundings, notes: list[str]
) -> Sorter | None:
    """The sorter of a sliced element. `value`: compiles the check of an item. `notes`: takes what cannot be told."""
    slicing = node.definition.get("slicing", {})
    teller = Teller(around, slicing.get("discriminator", ()))
    parts: list[Part] = []
    default: Part | None = None
    keys: set[str] = set()
    for slice_node in node.slices.values():
        most = slice_node.definition["max"]
        check = value(slice_node, code)
        nested = make_sorter(slice_node, code, value, around, notes) if slice_node.slices else None
        if slice_node.slice.rpartition("/")[2] == DEFAULT:
            default = Part(DEFAULT, _never, check, 0, None, None)
            continue
        told = teller.tell(slice_node)
        if told is None:
            notes.append(
                f"The slice {slice_node.slice} of {node.name} cannot be told from others and is not checked."
            )
            continue
        keys.add(told.place)
        maximum = None if most == "*" else int(most)
        parts.append(
            Part(slice_node.slice, told.test, check, slice_node.definition["min"], maximum, nested, told.key)
        )
    if not parts and default is None:
        return None
    key = keys.pop() if len(keys) == 1 else ""
    return Sorter(parts, default, slicing.get("rules", "open"), bool(slicing.get("ordered")), key)


def _never(item: Any, scope: Scope) -> bool:
    return False
