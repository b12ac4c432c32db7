"""What the functions of FHIRPath are made of: how one is declared, and the usual shapes.

A function is built once, with the closures of its source and arguments; arguments that are no loops are
evaluated against the focus of the whole call, as $this is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fhirserver.r4.fhirpath.model import Item
from fhirserver.r4.fhirpath.state import Environment, Items, Run, State, failed
from fhirserver.r4.fhirpath.values import EMPTY, made, single, system
from fhirserver.r4.paths import Member, Node, PathSyntaxError


class Compiling(ABC):
    """What a function asks of the compiler. `known_type`: whether a specifier names a type."""

    def __init__(self, environment: Environment, known_type: Callable[[str], bool]) -> None:
        self.environment = environment
        self.known_type = known_type

    @abstractmethod
    def run(self, node: Node) -> Run:
        """The closure of an argument."""


Build = Callable[[Compiling, "Run | None", tuple[Node, ...]], Run]


@dataclass(frozen=True, slots=True)
class Function:
    """A function of FHIRPath. `least`, `most`: numbers of arguments. `build`: makes the closure of a call."""

    least: int
    most: int
    build: Build


def source_of(source: Run | None) -> Run:
    """The input of a call: its source, or the focus for a call without one."""
    return source if source is not None else lambda _state, focus: focus


def eager(least: int, most: int, apply: Callable[..., Items]) -> Function:
    """A function of (state, input, *arguments), each a collection; arguments left out are not passed."""

    def build(compiling: Compiling, source: Run | None, arguments: tuple[Node, ...]) -> Run:
        input_of = source_of(source)
        runs = tuple(compiling.run(argument) for argument in arguments)

        def run(state: State, focus: Items) -> Items:
            items = input_of(state, focus)
            state.spend(1 + len(items))
            return apply(state, items, *(argument(state, focus) for argument in runs))

        return run

    return Function(least, most, build)


def scalar(kind: type, least: int, most: int, what: str, apply: Callable[..., Any]) -> Function:
    """A function of one System value and single System values, to one System value or a collection.

    Empty where the input or an argument is empty; PathError where the input is not of `kind`.
    """

    def run(state: State, items: Items, *arguments: Items) -> Items:
        item = single(items, what)
        values = [single(argument, what) for argument in arguments]
        if item is None:
            return EMPTY
        value = system(item)
        if type(value) is not kind:
            raise failed(f"{what} takes a {_KINDS[kind]}.")
        if isinstance(value, str):
            state.spend(len(value) // 64)
        if any(argument is None for argument in values):
            return EMPTY
        found = apply(state, value, *(system(argument) for argument in values if argument is not None))
        return found if isinstance(found, list) else made(found)

    return eager(least, most, run)


_KINDS = {str: "string", int: "integer"}


def of_type(value: Any, kind: type, what: str) -> Any:
    """An argument of the type that is expected. Raises PathError."""
    if type(value) is not kind:
        raise failed(f"{what} takes a {_KINDS[kind]} as argument.")
    return value


def type_specifier(compiling: Compiling, node: Node) -> str:
    """The type that an argument names. Raises PathError where there is no such type."""
    names: list[str] = []
    while isinstance(node, Member):
        names.insert(0, node.name)
        if node.source is None:
            return checked_type(compiling, ".".join(names))
        node = node.source
    raise PathSyntaxError("FHIRPath: the name of a type is missing.", code="fhirpath-syntax")


def checked_type(compiling: Compiling, name: str) -> str:
    """`name`, when it names a type. Raises PathError."""
    if not compiling.known_type(name):
        raise failed(f"{name[:64]} is no type.")
    return name


def each(state: State, items: Items, run: Run) -> list[tuple[Item, Items]]:
    """The results of an expression for every item, with $this and $index set."""
    state.spend(len(items))
    outer = state.index
    found = []
    for index, item in enumerate(items):
        state.index = index
        found.append((item, run(state, [item])))
    state.index = outer
    return found
