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

MAX_STATES = 8_000
"""Size of an automaton; {1,1000} counts a thousand times what it repeats."""
MAX_GROUPS = 50
"""How deep groups may nest."""
_MAX_TRIES = 1_000_000
"""Steps that `re` may need in the worst case before the automaton takes its place."""

_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": " \\t\\n\\r\\f\\v"}
_CONTROLS = {"n": "\\n", "r": "\\r", "t": "\\t", "f": "\\f", "v": "\\v", "0": "\\0"}


class Unmatchable(ValueError):
    """An expression that is broken, too large, or uses look-around, back-references or properties."""


@dataclass(frozen=True, slots=True)
class _Character:
    """One character out of a set. `text`: the set as `re` writes it."""

    text: str


@dataclass(frozen=True, slots=True)
class _Assertion:
    """An anchor or a word boundary: `^`, `$`, `b` or `B`."""

    kind: str


@dataclass(frozen=True, slots=True)
class _Sequence:
    parts: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Choice:
    parts: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Group:
    """A group. `opening`: how `re` writes its start."""

    inner: _Node
    opening: str


@dataclass(frozen=True, slots=True)
class _Repeat:
    """`most` None is without bound."""

    inner: _Node
    least: int
    most: int | None
    lazy: bool


_Node: TypeAlias = _Character | _Assertion | _Sequence | _Choice | _Group | _Repeat
# An instruction: (test of a character, next), (None, alternatives) or (assertion, next).
_Instruction: TypeAlias = tuple[Callable[[str], object] | str | None, tuple[int, ...]]


@lru_cache(maxsize=512)
def compile_pattern(text: str) -> Pattern:
    """The pattern of a regular expression. Raises Unmatchable."""
    parser = _Parser(text)
    node = parser.choice(0)
    if parser.position < len(text):
        raise Unmatchable("a closing parenthesis is too many")
    return Pattern(node)


class Pattern:
    """A compiled regular expression."""

    def __init__(self, node: _Node) -> None:
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

    def add(self, node: _Node) -> None:
        here = len(self.code)
        match node:
            case _Character(text):
                self.emit(_tester(text), (here + 1,))
            case _Assertion(kind):
                self.emit(kind, (here + 1,))
            case _Sequence(parts):
                for part in parts:
                    self.add(part)
            case _Group(inner, _):
                self.add(inner)
            case _Choice(parts):
                self._choice(parts)
            case _Repeat(inner, least, most, _):
                self._repeat(inner, least, most)

    def _choice(self, parts: tuple[_Node, ...]) -> None:
        fork = self.emit(None, ())
        starts, ends = [], []
        for part in parts:
            starts.append(len(self.code))
            self.add(part)
            ends.append(self.emit(None, ()))
        self.code[fork] = (None, tuple(starts))
        for end in ends:
            self.code[end] = (None, (len(self.code),))

    def _repeat(self, inner: _Node, least: int, most: int | None) -> None:
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


def _text(node: _Node) -> str:
    """The expression as `re` writes it."""
    match node:
        case _Character(text):
            return text
        case _Assertion(kind):
            return {"^": r"\A", "$": r"\Z"}.get(kind, f"(?a:\\{kind})")
        case _Sequence(parts):
            return "".join(_text(part) for part in parts)
        case _Choice(parts):
            return "|".join(_text(part) for part in parts)
        case _Group(inner, opening):
            return f"{opening}{_text(inner)})"
    most = "" if node.most is None else node.most
    return f"(?:{_text(node.inner)}){{{node.least},{most}}}" + ("?" if node.lazy else "")


def _widths(node: _Node, repeated: bool = False) -> list[int] | None:
    """How often each repetition and choice may go; None where a repetition holds another or a choice."""
    match node:
        case _Character() | _Assertion():
            return []
        case _Group(inner, _):
            return _widths(inner, repeated)
        case _Repeat(inner, _, most, _):
            below = None if repeated else _widths(inner, most != 1)
            return None if below is None else [10**9 if most is None else most, *below]
    if isinstance(node, _Choice) and repeated:
        return None
    found = [len(node.parts)] if isinstance(node, _Choice) else []
    for part in node.parts:
        below = _widths(part, repeated)
        if below is None:
            return None
        found += below
    return found


class _Parser:
    """Recursive descent over the text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def peek(self) -> str:
        return self.text[self.position : self.position + 1]

    def take(self) -> str:
        character = self.peek()
        if not character:
            raise Unmatchable("it ends too early")
        self.position += 1
        return character

    def choice(self, depth: int) -> _Node:
        if depth > MAX_GROUPS:
            raise Unmatchable("groups nest too deep")
        parts = [self.sequence(depth)]
        while self.peek() == "|":
            self.take()
            parts.append(self.sequence(depth))
        return parts[0] if len(parts) == 1 else _Choice(tuple(parts))

    def sequence(self, depth: int) -> _Node:
        parts: list[_Node] = []
        while self.peek() not in ("", "|", ")"):
            parts.append(self.repeated(self.atom(depth)))
        return _Sequence(tuple(parts))

    def repeated(self, atom: _Node) -> _Node:
        bounds = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(self.peek())
        if bounds is not None:
            self.take()
        else:
            counted = re.compile(r"\{(\d{1,5})(?:(,)(\d{0,5}))?\}").match(self.text, self.position)
            if counted is None:
                return atom
            self.position = counted.end()
            least = int(counted[1])
            bounds = (least, least if not counted[2] else int(counted[3]) if counted[3] else None)
            if bounds[1] is not None and bounds[1] < least:
                raise Unmatchable("a repetition has its bounds in the wrong order")
        if isinstance(atom, _Assertion):
            raise Unmatchable("an anchor is repeated")
        lazy = self.peek() == "?"
        if lazy:
            self.take()
        if self.peek() in ("*", "+", "?") and self.peek():
            raise Unmatchable("a repetition is repeated")
        return _Repeat(atom, bounds[0], bounds[1], lazy)

    def atom(self, depth: int) -> _Node:
        character = self.take()
        match character:
            case "(":
                return self.group(depth)
            case "[":
                return _Character(self.character_class())
            case ".":
                return _Character(".")
            case "^" | "$":
                return _Assertion(character)
            case "*" | "+" | "?":
                raise Unmatchable("nothing stands before a repetition")
            case "\\":
                if self.peek() in ("b", "B"):
                    return _Assertion(self.take())
                return _Character(f"[{self.escape()}]")
        return _Character(f"[{re.escape(character)}]" if character != "^" else r"\^")

    def group(self, depth: int) -> _Node:
        opening = "("
        if self.peek() == "?":
            found = re.compile(r"\?(?::|P?<([A-Za-z]\w*)>)", re.ASCII).match(self.text, self.position)
            if found is None:
                raise Unmatchable("look-around and flags are not known")
            self.position = found.end()
            opening = f"(?P<{found[1]}>" if found[1] else "(?:"
        inner = self.choice(depth + 1)
        if self.peek() != ")":
            raise Unmatchable("a closing parenthesis is missing")
        self.take()
        return _Group(inner, opening)

    def escape(self) -> str:
        """An escaped character or class, as it stands inside [ ]."""
        character = self.take()
        if character in _CLASSES:
            return _CLASSES[character]
        if character in "DWS":
            return {"D": "\\x00-/:-\\U0010ffff", "W": "\\x00-/:-@\\[-\\^`{-\\U0010ffff"}.get(
                character, "\\x00-\\x08\\x0e-\\x1f!-\\U0010ffff"
            )
        if character in _CONTROLS:
            return _CONTROLS[character]
        if character in "xu":
            size = 2 if character == "x" else 4
            digits = self.text[self.position : self.position + size]
            if re.fullmatch(r"[0-9A-Fa-f]+", digits) is None or len(digits) < size:
                raise Unmatchable("an escape lacks its digits")
            self.position += size
            return re.escape(chr(int(digits, 16)))
        if character.isalnum():
            raise Unmatchable("back-references and properties are not known")
        return re.escape(character) if character != "^" else "\\^"

    def character_class(self) -> str:
        text = "["
        if self.peek() == "^":
            text += self.take()
        first = True
        while first or self.peek() != "]":
            character = self.take()
            first = False
            if character == "\\":
                text += self.escape()
            elif character == "-":
                text += "-" if self._is_range(text) else r"\-"
            elif character in "[]^&~|#":
                text += "\\" + character
            else:
                text += character
        self.take()
        try:
            re.compile(text + "]")
        except re.error as error:
            raise Unmatchable("a class is broken") from error
        return text + "]"

    def _is_range(self, text: str) -> bool:
        return self.peek() != "]" and len(text.removeprefix("[").removeprefix("^")) > 0
