"""The commonest invariants as predicates of plain JSON, without items: what every write of a profile runs.

Covered are elements that are no choice, exists, empty, where, all, count, not, matches, startsWith, upper, lower, comparison with
a literal, and the logical operators. What is not covered is not compiled; data that would matter beyond the JSON values
(a primitive with only an extension, another JSON type than the element's) raises Undecided, and the evaluator decides.
Source: hl7.org/fhirpath/N1
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fhirserver.r4.elements import Elements
from fhirserver.r4.fhirpath.operators import LOGIC
from fhirserver.r4.fhirpath.regex import compile_pattern
from fhirserver.r4.fhirpath.regex_tree import Unmatchable
from fhirserver.r4.paths import Binary, Call, Literal, Member, Node, This

Values = list[Any]
Truth = Callable[[Any], "bool | None"]
TEXTS = frozenset({"string", "code", "uri", "url", "canonical", "id", "markdown", "oid", "uuid"})
NAMES = frozenset({"uri", "url", "canonical", "code", "oid"})
"""Texts that name systems and concepts, of which there are few: what an expression says of one is remembered."""
_REMEMBERED = 256
_MOST_STEPS = 10_000
_COMPARED: dict[str, Callable[[int, int], bool]] = {
    "=": lambda one, other: one == other,
    "!=": lambda one, other: one != other,
    "<": lambda one, other: one < other,
    ">": lambda one, other: one > other,
    "<=": lambda one, other: one <= other,
    ">=": lambda one, other: one >= other,
}


class Undecided(Exception):
    """Raised where plain JSON is not enough."""


class _NotCovered(Exception):
    """Raised while compiling what is not covered."""


@dataclass(frozen=True, slots=True)
class _Path:
    """What selects values from the focus. `kind`: their type or backbone path."""

    kind: str
    run: Callable[[Any], Values]


def direct(node: Node, elements: Elements, type: str) -> Truth | None:
    """The predicate of an expression over the JSON of an element of `type`; None for what is not covered.

    It returns None where the expression gives nothing, and raises Undecided.
    """
    try:
        return _Direct(elements).truth(node, type)
    except _NotCovered:
        return None


class _Direct:
    def __init__(self, elements: Elements) -> None:
        self._elements = elements

    def truth(self, node: Node, focus: str) -> Truth:
        match node:
            case Binary("and" | "or" | "xor" | "implies" as operator, left, right):
                return _logic(operator, self.truth(left, focus), self.truth(right, focus))
            case Binary(operator, left, Literal("integer", int() as number)) if operator in _COMPARED:
                return _counted(operator, self._count(left, focus), number)
            case Binary("=" | "!=" as operator, left, Literal("string", str() as text)):
                return _equal(self._text(left, focus).run, text, wanted=operator == "=")
            case Binary("=" | "!=" as operator, left, Literal("boolean", bool() as wanted)):
                return _flag(self._flags(left, focus), wanted is (operator == "="))
            case Call(source, function, arguments):
                return self._call(source, function, arguments, focus)
        raise _NotCovered

    def _call(self, source: Node | None, function: str, arguments: tuple[Node, ...], focus: str) -> Truth:
        match function, arguments:
            case "not", () if source is not None:
                inner = self.truth(source, focus)
                return lambda value: None if (found := inner(value)) is None else not found
            case "exists", ():
                run = self._path(source, focus).run
                return lambda value: bool(run(value))
            case "empty", ():
                run = self._path(source, focus).run
                return lambda value: not run(value)
            case ("exists" | "all") as name, (condition,):
                path = self._path(source, focus)
                holds, every = self.truth(condition, path.kind), name == "all"
                if every:
                    return lambda value: all(holds(item) is True for item in path.run(value))
                return lambda value: any(holds(item) is True for item in path.run(value))
            case "matches", (Literal("string", str() as expression),):
                return _matched(self._text(source, focus), expression)
            case "startsWith", (Literal("string", str() as start),):
                return _starting(self._text(source, focus).run, start)
        raise _NotCovered

    def _count(self, node: Node, focus: str) -> Callable[[Any], int]:
        match node:
            case Call(source, "count", ()):
                run = self._path(source, focus).run
                return lambda value: len(run(value))
        raise _NotCovered

    def _text(self, node: Node | None, focus: str) -> _Path:
        """A path to texts, perhaps in upper or lower case."""
        match node:
            case Call(source, "upper" | "lower" as name, ()):
                inner = self._text(source, focus)
                change = str.upper if name == "upper" else str.lower
                return _Path(inner.kind, lambda value: [change(_text(text)) for text in inner.run(value)])
        path = self._path(node, focus)
        if path.kind not in TEXTS:
            raise _NotCovered
        return path

    def _flags(self, node: Node, focus: str) -> Callable[[Any], Values]:
        path = self._path(node, focus)
        if path.kind != "boolean":
            raise _NotCovered
        return path.run

    def _path(self, node: Node | None, focus: str) -> _Path:
        match node:
            case None | This("this"):
                return _Path(focus, lambda value: [value])
            case Member(None, name) if name == focus:
                return _Path(focus, lambda value: [value])
            case Member(source, name) if name[:1].islower():
                return self._member(self._path(source, focus), name)
            case Call(source, "where", (condition,)):
                path = self._path(source, focus)
                holds = self.truth(condition, path.kind)
                return _Path(path.kind, lambda value: [i for i in path.run(value) if holds(i) is True])
        raise _NotCovered

    def _member(self, source: _Path, name: str) -> _Path:
        if not source.kind or self._elements.is_primitive(source.kind):
            raise _NotCovered
        try:
            element = self._elements.element(f"{source.kind}.{name}")
        except KeyError as error:  # no such element, or the path of a primitive
            raise _NotCovered from error
        if element.choice:
            raise _NotCovered
        code = element.types[0].code if element.types else ""
        primitive = self._elements.is_primitive(code)
        return _Path(code if primitive else element.path, _step(source.run, name, texts=code in TEXTS))


def _step(source: Callable[[Any], Values], name: str, *, texts: bool) -> Callable[[Any], Values]:
    beside = f"_{name}"

    def run(value: Any) -> Values:
        found: Values = []
        for item in source(value):
            if type(item) is not dict or beside in item:
                raise Undecided
            below = item.get(name)
            if below is None:
                continue
            several = below if type(below) is list else (below,)
            for one in several:
                if one is None or (texts and type(one) is not str):
                    raise Undecided
                found.append(one)
        return found

    return run


def _logic(operator: str, left: Truth, right: Truth) -> Truth:
    combine, decides = LOGIC[operator]

    def truth(value: Any) -> bool | None:
        one = left(value)
        if one is not None and one is decides:
            return combine(one, None)
        return combine(one, right(value))

    return truth


def _counted(operator: str, count: Callable[[Any], int], number: int) -> Truth:
    compare = _COMPARED[operator]
    return lambda value: compare(count(value), number)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise Undecided
    text: str = value
    return text


def _single(texts: Values) -> str | None:
    if not texts:
        return None
    if len(texts) > 1:
        raise Undecided
    return _text(texts[0])


def _equal(run: Callable[[Any], Values], text: str, *, wanted: bool) -> Truth:
    def truth(value: Any) -> bool | None:
        found = _single(run(value))
        return None if found is None else (found == text) is wanted

    return truth


def _flag(run: Callable[[Any], Values], wanted: bool) -> Truth:
    def truth(value: Any) -> bool | None:
        found = run(value)
        if not found:
            return None
        if len(found) > 1 or type(found[0]) is not bool:
            raise Undecided
        return found[0] is wanted

    return truth


def _starting(run: Callable[[Any], Values], start: str) -> Truth:
    def truth(value: Any) -> bool | None:
        found = _single(run(value))
        return None if found is None else found.startswith(start)

    return truth


def _matched(path: _Path, expression: str) -> Truth:
    try:
        search = compile_pattern(expression).search
    except Unmatchable as error:
        raise _NotCovered from error
    run = path.run
    if path.kind in NAMES:
        search = lru_cache(maxsize=_REMEMBERED)(search)

    def truth(value: Any) -> bool | None:
        found = _single(run(value))
        return None if found is None else search(found, _spend)

    return truth


def _spend(steps: int) -> None:
    """A long match is left to the evaluator, which has a budget."""
    if steps > _MOST_STEPS:
        raise Undecided
