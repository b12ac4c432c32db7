"""FHIRPath text to a small syntax tree.

One parser for everything in the server that speaks FHIRPath: search parameters (resolved in paths_resolve),
FHIRPath Patch, invariants. It knows the whole grammar of expressions; what an evaluator supports is the
evaluator's business. Source: hl7.org/fhirpath/N1/#grammar (precedence as in the ANTLR grammar there).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from fhirserver.outcome import BadRequest

MAX_LENGTH = 8192
MAX_DEPTH = 60


class PathSyntaxError(BadRequest):
    """A text that is not a FHIRPath expression, or one beyond the limits of length and nesting."""


@dataclass(frozen=True, slots=True)
class Member:
    """`source.name`.

    Without a source, a name relative to the focus (or a type name at the start of a path).
    """

    source: Node | None
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """`source.function(arguments)`; type arguments of as/is/ofType arrive as Member."""

    source: Node | None
    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """`source[index]`."""

    source: Node
    index: Node


@dataclass(frozen=True, slots=True)
class Binary:
    """`left operator right`, the operator as written ('|', 'and', '=', '+', 'in' ...)."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Unary:
    """`-operand` or `+operand`."""

    operator: str
    operand: Node


@dataclass(frozen=True, slots=True)
class TypeTest:
    """`operand is type` and `operand as type`; `type` as written, qualified or not."""

    operator: str
    operand: Node
    type: str


@dataclass(frozen=True, slots=True)
class Literal:
    """A literal. `kind`: string, integer, decimal, boolean, date, empty or quantity (value, unit)."""

    kind: str
    value: str | int | Decimal | bool | tuple[Decimal, str] | None


@dataclass(frozen=True, slots=True)
class This:
    """`$this`, `$index` or `$total`, by `name` without the dollar sign."""

    name: str


@dataclass(frozen=True, slots=True)
class Variable:
    """`%resource`, `%context` and the like, by `name` without the percent sign."""

    name: str


Node: TypeAlias = Member | Call | Index | Binary | Unary | TypeTest | Literal | This | Variable

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/)
    |(?P<date>@(?:\d{4}(?:-\d\d(?:-\d\d)?)?(?:T(?:\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?(?:Z|[+-]\d\d:\d\d)?)?)?
        |T\d\d(?::\d\d(?::\d\d(?:\.\d+)?)?)?))
    |(?P<number>\d+(?:\.\d+)?)
    |(?P<string>'(?:[^'\\]|\\.)*')
    |(?P<delimited>`(?:[^`\\]|\\.)*`)
    |(?P<variable>%(?:[A-Za-z_][A-Za-z0-9_-]*|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`))
    |(?P<this>\$[a-z]+)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<symbol><=|>=|!=|!~|[()\[\]{}.,|=~<>+*/&-])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}
_CALENDAR = frozenset({"year", "month", "week", "day", "hour", "minute", "second", "millisecond"})

# Binary operators, loosest first; `is` and `as` sit between '|' and '+' and are handled there.
_LEVELS: tuple[tuple[str, ...], ...] = (
    ("implies",),
    ("or", "xor"),
    ("and",),
    ("in", "contains"),
    ("=", "~", "!=", "!~"),
    ("<=", "<", ">", ">="),
    ("|",),
    ("is", "as"),
    ("+", "-", "&"),
    ("*", "/", "div", "mod"),
)


def parse_path(text: str) -> Node:
    """The syntax tree of one FHIRPath expression.

    Raises PathSyntaxError (code fhirpath-syntax) for anything that is not one whole expression.
    Source: hl7.org/fhirpath/N1/#grammar
    """
    if len(text) > MAX_LENGTH:
        raise PathSyntaxError(
            f"A FHIRPath expression may have {MAX_LENGTH} characters.", code="fhirpath-syntax"
        )
    parser = _Parser(_tokens(text))
    node = parser.expression(0)
    parser.expect("end", "")
    return node


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise PathSyntaxError(f"Unexpected character at position {position + 1}.", code="fhirpath-syntax")
        if match.lastgroup != "space":
            tokens.append((match.lastgroup or "", match.group()))
        position = match.end()
    tokens.append(("end", ""))
    return tokens


def _unquote(text: str) -> str:
    def replace(match: re.Match[str]) -> str:
        code = match.group(1)
        return chr(int(code[1:], 16)) if len(code) == 5 else _ESCAPES.get(code, code)

    return _ESCAPE.sub(replace, text[1:-1])


class _Parser:
    """Precedence climbing over the tokens.

    `depth` bounds nesting so that hostile text cannot exhaust the stack.
    """

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens = tokens
        self.position = 0
        self.depth = 0

    def peek(self, *texts: str) -> bool:
        kind, text = self.tokens[self.position]
        return kind in ("symbol", "name") and text in texts

    def take(self) -> tuple[str, str]:
        token = self.tokens[self.position]
        self.position += 1
        return token

    def expect(self, kind: str, text: str) -> str:
        found = self.tokens[self.position]
        if found[0] != kind or (text and found[1] != text):
            wanted = text or ("the end" if kind == "end" else kind)
            raise PathSyntaxError(f"FHIRPath: {wanted} is missing.", code="fhirpath-syntax")
        self.position += 1
        return found[1]

    def expression(self, level: int) -> Node:
        if level == 0:
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise PathSyntaxError("FHIRPath: nested too deep.", code="fhirpath-syntax")
        if level == len(_LEVELS):
            return self.unary()
        left = self.expression(level + 1)
        while self.peek(*_LEVELS[level]):
            operator = self.take()[1]
            if operator in ("is", "as"):
                left = TypeTest(operator, left, self.type_name())
            else:
                left = Binary(operator, left, self.expression(level + 1))
        if level == 0:
            self.depth -= 1
        return left

    def unary(self) -> Node:
        if self.peek("+", "-"):
            return Unary(self.take()[1], self.postfix())
        return self.postfix()

    def postfix(self) -> Node:
        node = self.term()
        while True:
            if self.peek("."):
                self.take()
                node = self.invocation(node)
            elif self.peek("["):
                self.take()
                node = Index(node, self.expression(0))
                self.expect("symbol", "]")
            else:
                return node

    def invocation(self, source: Node | None) -> Node:
        kind, text = self.take()
        if kind == "this":
            return This(text[1:])
        if kind not in ("name", "delimited"):
            raise PathSyntaxError("FHIRPath: a name is missing.", code="fhirpath-syntax")
        if kind == "delimited":
            return Member(source, _unquote(text))
        if not self.peek("("):
            return Member(source, text)
        self.take()
        arguments: list[Node] = []
        while not self.peek(")"):
            if arguments:
                self.expect("symbol", ",")
            arguments.append(self.expression(0))
        self.take()
        return Call(source, text, tuple(arguments))

    def term(self) -> Node:
        kind, text = self.tokens[self.position]
        if kind == "name" and text not in ("true", "false"):
            return self.invocation(None)
        if kind in ("delimited", "this"):
            return self.invocation(None)
        self.position += 1
        if kind == "symbol" and text == "(":
            node = self.expression(0)
            self.expect("symbol", ")")
            return node
        if kind == "symbol" and text == "{":
            self.expect("symbol", "}")
            return Literal("empty", None)
        return self.literal(kind, text)

    def literal(self, kind: str, text: str) -> Node:
        if kind == "name":
            return Literal("boolean", text == "true")
        if kind == "string":
            return Literal("string", _unquote(text))
        if kind == "date":
            return Literal("date", text[1:])
        if kind == "variable":
            return Variable(_unquote(text[1:]) if text[1] in "'`" else text[1:])
        if kind == "number":
            follows, unit = self.tokens[self.position]
            if follows == "string":
                return Literal("quantity", (Decimal(text), _unquote(self.take()[1])))
            if follows == "name" and unit.removesuffix("s") in _CALENDAR:
                return Literal("quantity", (Decimal(text), self.take()[1].removesuffix("s")))
            return Literal("decimal", Decimal(text)) if "." in text else Literal("integer", int(text))
        raise PathSyntaxError("FHIRPath: a value or a path is missing.", code="fhirpath-syntax")

    def type_name(self) -> str:
        names = [self.type_part()]
        while self.peek("."):
            self.take()
            names.append(self.type_part())
        return ".".join(names)

    def type_part(self) -> str:
        kind, text = self.take()
        if kind not in ("name", "delimited"):
            raise PathSyntaxError("FHIRPath: the name of a type is missing.", code="fhirpath-syntax")
        return text if kind == "name" else _unquote(text)
