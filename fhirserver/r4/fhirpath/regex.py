r"""Regular expressions that always end: matched by simulating an automaton, in time proportional to the text.

Python's `re` tries one way after the other and may try exponentially many; it serves only where the shape of
the expression bounds that. Known is what FHIR's definitions use: literals, classes, groups, alternation,
greedy and lazy repetition, anchors, word boundaries. `.` matches line breaks too, \d and \w are ASCII.
Source: hl7.org/fhirpath/N1/#matchesregex--string--boolean
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

from fhirserver.r4.fhirpath.regex_tree import (
    Assertion,
    Character,
    Choice,
    Group,
    Node,
    Repeat,
    Sequence,
    Unmatchable,
    parse,
)

MAX_STATES = 8_000
"""Size of an automaton; {1,1000} counts a thousand times what it repeats."""
_MAX_TRIES = 1_000_000
"""Steps that `re` may need in the worst case before the automaton takes its place."""

# An instruction: (test of a character, next), (None, alternatives) or (assertion, next).
_Instruction: TypeAlias = tuple[Callable[[str], object] | str | None, tuple[int, ...]]


@lru_cache(maxsize=512)
def compile_pattern(text: str) -> Pattern:
    """The pattern of a regular expression. Raises Unmatchable."""
    return Pattern(parse(text))


class Pattern:
    """A compiled regular expression."""

    def __init__(self, node: Node) -> None:
        program = _Program()
        program.add(node)
        program.emit(None, ())
        self._code = program.code
        self.backtracking: re.Pattern[str] | None = None
        """The expression for `re`, None where repetition nests so that trying may take exponential time."""
        self._longest = -1
        widths = _widths(node)
        if widths is not None:
            self.backtracking = re.compile(_text(node), re.DOTALL)
            self._longest = _longest(widths)

    def search(self, value: str, spend: Callable[[int], None]) -> bool:
        """Whether the expression matches some part of the value."""
        if len(value) <= self._longest:
            spend(1 + len(value) // 64)
            return self.backtracking is not None and self.backtracking.search(value) is not None
        return self.automaton(value, spend, whole=False)

    def fullmatch(self, value: str, spend: Callable[[int], None]) -> bool:
        """Whether the expression matches the whole value."""
        if len(value) <= self._longest:
            spend(1 + len(value) // 64)
            return self.backtracking is not None and self.backtracking.fullmatch(value) is not None
        return self.automaton(value, spend, whole=True)

    def automaton(self, value: str, spend: Callable[[int], None], *, whole: bool) -> bool:
        """The match by simulation alone: steps grow with the length of the value and of the expression."""
        code, last = self._code, len(self._code) - 1
        active = self._reach((0,), value, 0)
        for position, character in enumerate(value):
            if last in active and not whole:
                return True
            spend(1 + len(active) // 8)
            ahead = []
            for index in active:
                test, then = code[index]
                if test is not None and not isinstance(test, str) and test(character):
                    ahead.append(then[0])
            if not whole:
                ahead.append(0)
            active = self._reach(tuple(ahead), value, position + 1)
            if not active:
                return False
        return last in active

    def _reach(self, starts: tuple[int, ...], value: str, position: int) -> set[int]:
        """The instructions that are reached without reading a character."""
        seen: set[int] = set()
        waiting = list(starts)
        while waiting:
            index = waiting.pop()
            if index in seen:
                continue
            seen.add(index)
            test, then = self._code[index]
            if test is None or (isinstance(test, str) and _holds(test, value, position)):
                waiting.extend(then)
        return seen


def _longest(widths: list[int]) -> int:
    """The length of the texts for which trying every way stays within _MAX_TRIES, -1 where there is none."""
    low, high = -1, _MAX_TRIES
    while low < high:
        middle = (low + high + 1) // 2
        tries = middle + 1
        for width in widths:
            tries *= min(width, middle) + 1
        low, high = (middle, high) if tries <= _MAX_TRIES else (low, middle - 1)
    return low


def _holds(kind: str, value: str, position: int) -> bool:
    if kind == "^":
        return position == 0
    if kind == "$":
        return position == len(value)
    before = position > 0 and _is_word(value[position - 1])
    after = position < len(value) and _is_word(value[position])
    return (before != after) == (kind == "b")


def _is_word(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character == "_")


@dataclass(slots=True)
class _Program:
    """The automaton while it grows."""

    code: list[_Instruction] = field(default_factory=list)

    def emit(self, test: Callable[[str], object] | str | None, then: tuple[int, ...]) -> int:
        if len(self.code) >= MAX_STATES:
            raise Unmatchable("it repeats too much")
        self.code.append((test, then))
        return len(self.code) - 1

    def add(self, node: Node) -> None:
        here = len(self.code)
        match node:
            case Character(text):
                self.emit(_tester(text), (here + 1,))
            case Assertion(kind):
                self.emit(kind, (here + 1,))
            case Sequence(parts):
                for part in parts:
                    self.add(part)
            case Group(inner, _):
                self.add(inner)
            case Choice(parts):
                self._choice(parts)
            case Repeat(inner, least, most, _):
                self._repeat(inner, least, most)

    def _choice(self, parts: tuple[Node, ...]) -> None:
        fork = self.emit(None, ())
        starts, ends = [], []
        for part in parts:
            starts.append(len(self.code))
            self.add(part)
            ends.append(self.emit(None, ()))
        self.code[fork] = (None, tuple(starts))
        for end in ends:
            self.code[end] = (None, (len(self.code),))

    def _repeat(self, inner: Node, least: int, most: int | None) -> None:
        for _ in range(least):
            self.add(inner)
        if most is None:
            fork = self.emit(None, ())
            self.add(inner)
            self.emit(None, (fork,))
            self.code[fork] = (None, (fork + 1, len(self.code)))
            return
        forks = []
        for _ in range(most - least):
            forks.append(self.emit(None, ()))
            self.add(inner)
        for fork in forks:
            self.code[fork] = (None, (fork + 1, len(self.code)))


@lru_cache(maxsize=512)
def _tester(text: str) -> Callable[[str], object]:
    return re.compile(text, re.DOTALL).match


def _text(node: Node) -> str:
    """The expression as `re` writes it."""
    match node:
        case Character(text):
            return text
        case Assertion(kind):
            return {"^": r"\A", "$": r"\Z"}.get(kind, f"(?a:\\{kind})")
        case Sequence(parts):
            return "".join(_text(part) for part in parts)
        case Choice(parts):
            return "|".join(_text(part) for part in parts)
        case Group(inner, opening):
            return f"{opening}{_text(inner)})"
    most = "" if node.most is None else node.most
    return f"(?:{_text(node.inner)}){{{node.least},{most}}}" + ("?" if node.lazy else "")


def _widths(node: Node, repeated: bool = False) -> list[int] | None:
    """How often each repetition and choice may go; None where a repetition holds another or a choice."""
    match node:
        case Character() | Assertion():
            return []
        case Group(inner, _):
            return _widths(inner, repeated)
        case Repeat(inner, _, most, _):
            below = None if repeated else _widths(inner, most != 1)
            return None if below is None else [10**9 if most is None else most, *below]
    if isinstance(node, Choice) and repeated:
        return None
    found = [len(node.parts)] if isinstance(node, Choice) else []
    for part in node.parts:
        below = _widths(part, repeated)
        if below is None:
            return None
        found += below
    return found
