"""`_filter`: and, or, not, parentheses, comparisons, paths through references with conditions in brackets.

Read into a small syntax tree first, which then becomes an expression for a type. `and` binds tighter than
`or`. `ne` holds for the resources that `eq` does not hold for. Source: hl7.org/fhir/R4/search_filter.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from fhirserver.outcome import BadRequest, InvalidSearchValue, TooCostly
from fhirserver.r4.definitions import SearchParameter
from fhirserver.search.chain import is_canonical, targets_of
from fhirserver.search.expression import (
    And,
    Chain,
    Contains,
    Dates,
    Equals,
    Expression,
    Not,
    Or,
    Starts,
    either,
)
from fhirserver.search.modifiers import condition, field_of, leaf
from fhirserver.search.scope import Scope
from fhirserver.search.types import date, string
from fhirserver.search.types.ranges import Bound

_TOKEN = re.compile(
    r'\s*(?:(?P<open>\()|(?P<close>\))|(?P<begin>\[)|(?P<end>\])|(?P<string>"(?:[^"\\]|\\.)*")|(?P<word>[^\s()\[\]"]+))',
    re.DOTALL,
)
_MOST_TOKENS = 500
_DEEPEST = 20
_COMPARED = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
_TERMINOLOGY: Mapping[str, str] = MappingProxyType({"ss": "above", "sb": "below", "in": "in", "ni": "not-in"})
_OPERATORS = (*_COMPARED, "co", "sw", "ew", "pr", "po", "re", *_TERMINOLOGY)
_MOST_TARGETS = 30


@dataclass(frozen=True, slots=True)
class _Step:
    name: str
    inner: _Node | None = None


@dataclass(frozen=True, slots=True)
class _Compare:
    path: tuple[_Step, ...]
    operator: str
    text: str
    quoted: bool


@dataclass(frozen=True, slots=True)
class _All:
    items: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Any:
    items: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _No:
    item: _Node


_Node: TypeAlias = _Compare | _All | _Any | _No


def parse_filter(scope: Scope, type: str | None, text: str) -> Expression:
    """What `_filter=text` asks of a resource of `type`.

    Raises BadRequest (filter-syntax, filter-operator), UnknownParameter, TooCostly, NotSupported.
    """
    return _expression(scope, type, _Reader(text).read(), 0)


class _Reader:
    """Recursive descent over the tokens of one filter."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        at, text = 0, text.strip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise _syntax("a quoted string is not closed")
            self._tokens.append((match.lastgroup or "", match[match.lastgroup or 0]))
            if len(self._tokens) > _MOST_TOKENS:
                raise TooCostly(f"_filter takes at most {_MOST_TOKENS} words.", code="filter-too-long")
            at = match.end()
        self._at = 0

    def read(self) -> _Node:
        node = self._any(0)
        if self._at < len(self._tokens):
            raise _syntax("something follows its end")
        return node

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("", "")

    def _take(self, kind: str, what: str) -> str:
        found, text = self._peek()
        if found != kind:
            raise _syntax(f"{what} is missing")
        self._at += 1
        return text

    def _any(self, depth: int) -> _Node:
        if depth > _DEEPEST:
            raise TooCostly(f"_filter is nested deeper than {_DEEPEST}.", code="filter-too-deep")
        items = [self._all(depth)]
        while self._peek() == ("word", "or"):
            self._at += 1
            items.append(self._all(depth))
        return items[0] if len(items) == 1 else _Any(tuple(items))

    def _all(self, depth: int) -> _Node:
        items = [self._one(depth)]
        while self._peek() == ("word", "and"):
            self._at += 1
            items.append(self._one(depth))
        return items[0] if len(items) == 1 else _All(tuple(items))

    def _one(self, depth: int) -> _Node:
        kind, text = self._peek()
        if (kind, text) == ("word", "not"):
            self._at += 1
            return _No(self._group(depth))
        return self._group(depth) if kind == "open" else self._compare(depth)

    def _group(self, depth: int) -> _Node:
        self._take("open", "an opening parenthesis")
        node = self._any(depth + 1)
        self._take("close", "a closing parenthesis")
        return node

    def _compare(self, depth: int) -> _Node:
        path = self._path(depth)
        operator = self._take("word", "an operator")
        if operator not in _OPERATORS:
            raise BadRequest(f"The operators of _filter are {', '.join(_OPERATORS)}.", code="filter-operator")
        kind, text = self._peek()
        if kind not in ("word", "string"):
            raise _syntax("a value is missing")
        self._at += 1
        if kind == "string":
            try:
                text = json.loads(text, strict=False)
                text.encode()
            except ValueError:  # a lone surrogate is one, too
                raise _syntax("a quoted string has a wrong escape") from None
        return _Compare(path, operator, text, kind == "string")

    def _path(self, depth: int) -> tuple[_Step, ...]:
        steps: list[_Step] = []
        while True:
            names = self._take("word", "a parameter").split(".")
            names = names[1:] if steps and names[0] == "" else names
            if not all(names):
                raise _syntax("a path has an empty step")
            steps += [_Step(name) for name in names]
            if self._peek()[0] != "begin":
                return tuple(steps)
            self._at += 1
            steps[-1] = _Step(steps[-1].name, self._any(depth + 1))
            self._take("end", "a closing bracket")
            if not self._peek()[1].startswith("."):
                raise _syntax("after a bracket a path goes on with a dot")


def _syntax(what: str) -> BadRequest:
    return BadRequest(
        f"_filter cannot be read: {what}. It is written like: "
        'name co "silva" and (birthdate ge 1990 or gender eq male)',
        code="filter-syntax",
    )


def _expression(scope: Scope, type: str | None, node: _Node, depth: int) -> Expression:
    match node:
        case _All(items):
            return And(tuple(_expression(scope, type, item, depth) for item in items))
        case _Any(items):
            return Or(tuple(_expression(scope, type, item, depth) for item in items))
        case _No(item):
            return Not(_expression(scope, type, item, depth))
        case _Compare(path):
            return _along(scope, type, path, node, depth)


def _along(scope: Scope, type: str | None, path: tuple[_Step, ...], node: _Compare, depth: int) -> Expression:
    code, _, modifier = path[0].name.partition(":")
    parameter = scope.find(type, code)
    if parameter is None:
        raise scope.unknown(type, code)
    if len(path) == 1:
        return _compare(scope, type, parameter, node)
    if parameter.type != "reference":
        raise BadRequest("A path in _filter goes through references only.", code="chain-not-reference")
    if depth >= scope.limits.chain_depth:
        raise TooCostly(f"A path makes at most {scope.limits.chain_depth} hops.", code="chain-too-deep")
    following = path[1].name.partition(":")[0]
    targets = [
        t for t in targets_of(scope, parameter) if following in scope.parameters(t) and modifier in ("", t)
    ]
    if not targets:
        raise scope.unknown(None, following, ())
    if len(targets) > _MOST_TARGETS:
        raise BadRequest(
            "A path in _filter goes to one type; name it, as in subject:Patient.",
            code="chain-target-ambiguous",
        )
    hops = []
    for target in targets:
        item = _along(scope, target, path[1:], node, depth + 1)
        if path[0].inner is not None:
            item = And((_expression(scope, target, path[0].inner, depth + 1), item))
        hops.append(Chain(field_of(code), target, item, is_canonical(parameter)))
    return either(tuple(hops))


def _compare(scope: Scope, type: str | None, parameter: SearchParameter, node: _Compare) -> Expression:
    operator, field = node.operator, field_of(parameter.code)
    text = re.sub(r"([\\,$])", r"\\\1", node.text) if node.quoted else node.text
    if operator == "pr":
        if node.text not in ("true", "false"):
            raise InvalidSearchValue("pr takes true or false.", code="search-value-missing")
        return condition(scope, type, parameter, "missing", "false" if node.text == "true" else "true")
    if operator in _TERMINOLOGY:
        if parameter.type != "token":
            raise _no_operator(parameter)
        return condition(scope, type, parameter, _TERMINOLOGY[operator], text)
    if operator == "ne" and parameter.type not in ("date", "number", "quantity"):
        return Not(_compare(scope, type, parameter, _Compare(node.path, "eq", node.text, node.quoted)))
    if parameter.type in ("date", "number", "quantity"):
        if operator in _COMPARED:
            return condition(scope, type, parameter, "", operator + text)
        if operator == "po" and parameter.type == "date" and parameter.code != "_lastUpdated":
            value = date.parse(text)
            overlap = ((Bound("lo", "lt", value.hi), Bound("hi", "gt", value.lo)),)
            return Dates(field, overlap, overlap)
    elif parameter.type == "string" and parameter.code not in ("_text", "_content"):
        return _string(field, operator, text)
    elif operator == "eq" or (operator == "re" and parameter.type == "reference"):
        return (
            leaf(scope, type, parameter, "", text)
            if parameter.code != "_id"
            else condition(scope, type, parameter, "", text)
        )
    elif operator == "sw" and parameter.type == "uri":
        return Starts(field, node.text)
    raise _no_operator(parameter)


def _string(field: str, operator: str, text: str) -> Expression:
    folded = string.parse(text).folded
    match operator:
        case "eq":
            return Equals(field, (folded,))
        case "sw":
            return Starts(field, folded)
        case "co":
            return Contains(field, folded)
        case "ew":
            return Contains(field, folded, at_end=True)
    raise BadRequest("On strings _filter has eq, ne, co, sw, ew and pr.", code="filter-operator")


def _no_operator(parameter: SearchParameter) -> BadRequest:
    return BadRequest(
        f"The operator does not fit {parameter.code}, a parameter of type {parameter.type}.",
        code="filter-operator",
    )
