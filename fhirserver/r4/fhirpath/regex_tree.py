r"""The syntax of regular expressions, as far as they are known here: a small tree, and the parser that makes it.

Source: hl7.org/fhirpath/N1/#matchesregex--string--boolean
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

MAX_GROUPS = 50
"""How deep groups may nest."""
_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": " \\t\\n\\r\\f\\v"}
_CONTROLS = {"n": "\\n", "r": "\\r", "t": "\\t", "f": "\\f", "v": "\\v", "0": "\\0"}


class Unmatchable(ValueError):
    """An expression that is broken, too large, or uses look-around, back-references or properties."""


@dataclass(frozen=True, slots=True)
class Character:
    """One character out of a set. `text`: the set as `re` writes it."""

    text: str


@dataclass(frozen=True, slots=True)
class Assertion:
    """An anchor or a word boundary: `^`, `$`, `b` or `B`."""

    kind: str


@dataclass(frozen=True, slots=True)
class Sequence:
    """One part after the other."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the parts."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """A group. `opening`: how `re` writes its start."""

    inner: Node
    opening: str


@dataclass(frozen=True, slots=True)
class Repeat:
    """`most` None is without bound."""

    inner: Node
    least: int
    most: int | None
    lazy: bool


Node: TypeAlias = Character | Assertion | Sequence | Choice | Group | Repeat


def parse(text: str) -> Node:
    """The tree of a regular expression. Raises Unmatchable."""
    parser = _Parser(text)
    node = parser.choice(0)
    if parser.position < len(text):
        raise Unmatchable("a closing parenthesis is too many")
    return node


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

    def choice(self, depth: int) -> Node:
        if depth > MAX_GROUPS:
            raise Unmatchable("groups nest too deep")
        parts = [self.sequence(depth)]
        while self.peek() == "|":
            self.take()
            parts.append(self.sequence(depth))
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def sequence(self, depth: int) -> Node:
        parts: list[Node] = []
        while self.peek() not in ("", "|", ")"):
            parts.append(self.repeated(self.atom(depth)))
        return Sequence(tuple(parts))

    def repeated(self, atom: Node) -> Node:
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
        if isinstance(atom, Assertion):
            raise Unmatchable("an anchor is repeated")
        lazy = self.peek() == "?"
        if lazy:
            self.take()
        if self.peek() in ("*", "+", "?") and self.peek():
            raise Unmatchable("a repetition is repeated")
        return Repeat(atom, bounds[0], bounds[1], lazy)

    def atom(self, depth: int) -> Node:
        character = self.take()
        match character:
            case "(":
                return self.group(depth)
            case "[":
                return Character(self.character_class())
            case ".":
                return Character(".")
            case "^" | "$":
                return Assertion(character)
            case "*" | "+" | "?":
                raise Unmatchable("nothing stands before a repetition")
            case "\\":
                if self.peek() in ("b", "B"):
                    return Assertion(self.take())
                return Character(f"[{self.escape()}]")
        return Character(f"[{re.escape(character)}]" if character != "^" else r"\^")

    def group(self, depth: int) -> Node:
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
        return Group(inner, opening)

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
