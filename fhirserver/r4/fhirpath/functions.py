"""What the functions of FHIRPath are made of: how one is declared, and the usual shapes.

A function is built once, with the closures of its source and arguments; arguments that are no loops are
evaluated against the focus of the whole call, as $this is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fhirserver.r4.fhirpath.model import Item
from fhirserver.r4.fhirpath.state import Environment, Items, Run, State, failed
from fhirserver.r4.fhirpath.values import EMPTY, made, single, system
from fhirserver.r4.paths import Literal, Member, Node, PathSyntaxError


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

    Empty where the input or an argument is empty; PathError where the input is not of `kind`. `apply` takes
    (state, value, *arguments).
    """

    def build(compiling: Compiling, source: Run | None, arguments: tuple[Node, ...]) -> Run:
        input_of = source_of(source)
        runs = tuple(compiling.run(argument) for argument in arguments)
        constants = _constants(arguments)

        def run(state: State, focus: Items) -> Items:
            items = input_of(state, focus)
            if constants is None:
                given = [single(argument(state, focus), what) for argument in runs]
                if any(argument is None for argument in given):
                    single(items, what)
                    return EMPTY
                values = [system(argument) for argument in given if argument is not None]
            else:
                values = constants
            if not items:
                return EMPTY
            item = items[0] if len(items) == 1 else single(items, what)
            value = system(item)  # type: ignore[arg-type]  # not empty
            if type(value) is not kind:
                raise failed(f"{what} takes a {_KINDS[kind]}.")
            state.spend(1 + (len(value) // 64 if isinstance(value, str) else 0))
            found = apply(state, value, *values)
            return found if isinstance(found, list) else made(found)

        return run

    return Function(least, most, build)


def _constants(arguments: tuple[Node, ...]) -> list[Any] | None:
    """The values of arguments that are all strings, numbers or truth values as written."""
    found = []
    for argument in arguments:
        if not isinstance(argument, Literal) or argument.kind in ("empty", "date", "quantity"):
            return None
        found.append(argument.value)
    return found


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


def each(state: State, items: Items, run: Run) -> Iterator[tuple[Item, Items]]:
    """The results of an expression for every item, with $this and $index set, as far as they are asked for."""
    state.spend(len(items))
    outer = state.index
    for index, item in enumerate(items):
        state.index = index
        found = run(state, [item])
        state.index = outer
        yield item, found
