"""FHIRPath of search parameters, resolved against the R4 types.

What is left are JSON properties and conditions.

`Patient.deceased as dateTime` becomes the branch ("deceasedDateTime",) of type dateTime; a union becomes
several branches. Resolving happens when the tables are distilled (R4's own parameters) or when a clinic's
parameter is loaded; evaluation (paths_run) then never asks for a type again. A branch of another resource
type resolves to nothing. Source: hl7.org/fhir/R4/fhirpath.html, hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, TypeAlias

from fhirserver.outcome import NotSupported
from fhirserver.r4.paths import (
    Binary,
    Call,
    Index,
    Literal,
    Member,
    Node,
    This,
    TypeTest,
    Variable,
    parse_path,
)
from fhirserver.r4.paths_types import ElementTypes

# A step is a JSON property name, or ("where", condition), ("at", index), ("root",), ("test", condition).
# A condition is ("and"|"or", c, c), ("not", c), ("exists", branches), ("eq"|"ne", branches, value),
# ("refers", type).
Step: TypeAlias = str | tuple[Any, ...]
Condition: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """One way from the focus to values of one type.

    `element`: the path as FHIR names it, to tell whether two branches are choices of one element. `system`:
    the code system that a required binding implies. `absolute`: starts at the resource (%resource), not at
    the focus.
    """

    type: str
    steps: tuple[Step, ...] = ()
    many: bool = False
    system: str | None = None
    element: tuple[str, ...] = ()

    def to_json(self) -> list[Any]:
        """The branch as the tables hold it."""
        row: list[Any] = [self.type, int(self.many), [_plain(step) for step in self.steps]]
        return [*row, self.system] if self.system else row

    @classmethod
    def from_json(cls, row: list[Any]) -> Branch:
        """The branch of a table row."""
        return cls(
            row[0], tuple(_tupled(step) for step in row[2]), bool(row[1]), row[3] if len(row) > 3 else None
        )


def resolve(expression: str, type: str, types: ElementTypes) -> tuple[Branch, ...]:
    """The branches of `expression` with a focus of `type`.

    Raises PathSyntaxError, or NotSupported (code search-parameter-expression) where it is valid FHIRPath
    beyond the subset of search parameters or names an element that does not exist.
    """
    return tuple(dict.fromkeys(_Resolver(type, types).values(parse_path(expression), (Branch(type),), True)))


def _plain(value: Any) -> Any:
    if isinstance(value, Branch):
        return value.to_json()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _tupled(step: Any) -> Step:
    if isinstance(step, str):
        return step
    return (step[0], _condition(step[1])) if step[0] in ("where", "test") else tuple(step)


def _condition(row: list[Any]) -> Condition:
    if row[0] in ("and", "or", "not"):
        return (row[0], *(_condition(part) for part in row[1:]))
    if row[0] in ("exists", "eq", "ne"):
        return (row[0], tuple(Branch.from_json(branch) for branch in row[1]), *row[2:])
    return tuple(row)


def _unsupported(what: str) -> NotSupported:
    return NotSupported(
        f"This server's search parameters do not evaluate {what}.", code="search-parameter-expression"
    )


class _Resolver:
    """Resolves one expression; `root` is the type of %resource."""

    def __init__(self, root: str, types: ElementTypes) -> None:
        self.root = root
        self.types = types

    def values(self, node: Node, focus: tuple[Branch, ...], start: bool = False) -> tuple[Branch, ...]:
        """The branches that `node` selects from `focus`; `start`: type names may open a path here."""
        match node:
            case Binary("|", left, right):
                return self.values(left, focus, start) + self.values(right, focus, start)
            case (
                Binary()
                | TypeTest("is")
                | Call(_, "exists" | "empty" | "not" | "hasExtension" | "is" | "hasValue")
            ):
                return self.test(node, focus, start)
            case TypeTest("as", operand, name):
                return self.narrow(self.values(operand, focus, start), name)
            case Member(source, name):
                return self.member(source, name, focus, start)
            case Index(source, Literal("integer", int(index))):
                return self.at(self.values(source, focus, start), index)
            case This("this"):
                return focus
            case Variable("resource" | "rootResource" | "context"):
                return (Branch(self.root, (("root",),), False, None, ("%",)),)
            case Call(source, function, arguments):
                return self.call(self.values(source, focus, start) if source else focus, function, arguments)
        raise _unsupported(f"this form of FHIRPath: {node.__class__.__name__}")

    def member(
        self, source: Node | None, name: str, focus: tuple[Branch, ...], start: bool
    ) -> tuple[Branch, ...]:
        if source is None and start and (self.types.is_resource(name)):
            if name in ("Resource", "DomainResource", self.root):
                return focus
            if "." not in name and name[0].isupper():
                return ()
        base = self.values(source, focus, start) if source else focus
        found = tuple(child for branch in base for child in self.child(branch, name))
        if base and not found:
            raise _unsupported(f"an element that {base[0].type} does not have: {name}")
        return found

    def child(self, branch: Branch, name: str) -> tuple[Branch, ...]:
        child = self.types.child(branch.type, name)
        if child is None:
            return ()
        element = (*branch.element, name)
        many = branch.many or child.many
        return tuple(
            Branch(
                t,
                (*branch.steps, name + t[0].upper() + t[1:] if child.choice else name),
                many,
                child.system,
                element,
            )
            for t in child.types
        )

    def narrow(self, branches: tuple[Branch, ...], type: str) -> tuple[Branch, ...]:
        wanted = type.rpartition(".")[2]
        # R4 itself writes as(DateTime) for dateTime, so the case of the first letter is not taken seriously.
        wanted = wanted[0].lower() + wanted[1:]
        found = tuple(b for b in branches if b.type[0].lower() + b.type[1:] == wanted)
        if branches and not found and all(b.type not in ("Resource", "DomainResource") for b in branches):
            raise _unsupported(f"a type that the element cannot have: {type}")
        return found or tuple(replace(b, type=type) for b in branches)

    def at(self, branches: tuple[Branch, ...], index: int) -> tuple[Branch, ...]:
        return tuple(replace(b, steps=(*b.steps, ("at", index)), many=False) for b in branches)

    def call(
        self, base: tuple[Branch, ...], function: str, arguments: tuple[Node, ...]
    ) -> tuple[Branch, ...]:
        match function, arguments:
            case "where", (criteria,):
                return self.where(base, criteria)
            case "as" | "ofType", (Member() as type,):
                return self.narrow(base, _type_name(type))
            case "extension", (Literal("string", str(url)),):
                extensions = tuple(child for branch in base for child in self.child(branch, "extension"))
                condition = ("eq", (Branch("uri", ("url",), False, None, ("url",)),), url)
                return tuple(replace(b, steps=(*b.steps, ("where", condition))) for b in extensions)
            case "first", ():
                return self.at(base, 0)
            case "last", ():
                return self.at(base, -1)
        raise _unsupported(f"the function {function}()")

    def where(self, base: tuple[Branch, ...], criteria: Node) -> tuple[Branch, ...]:
        found = []
        for branch in base:
            condition = self.condition(criteria, (Branch(branch.type),))
            found.append(replace(branch, steps=(*branch.steps, ("where", condition))))
        return tuple(found)

    def test(self, node: Node, focus: tuple[Branch, ...], start: bool) -> tuple[Branch, ...]:
        if len(focus) != 1 or focus[0].steps:
            raise _unsupported("a comparison inside a path")
        condition = self.condition(node, focus, start)
        return (Branch("boolean", (("test", condition),), False, None, ("?",)),)

    def condition(self, node: Node, focus: tuple[Branch, ...], start: bool = False) -> Condition:
        """The condition that `node` states about one item of `focus`."""
        match node:
            case Binary("and" | "or" as operator, left, right):
                return (operator, self.condition(left, focus, start), self.condition(right, focus, start))
            case Binary("=" | "!=" as operator, left, Literal(_, value)):
                plain = float(value) if isinstance(value, Decimal) else value
                return ("eq" if operator == "=" else "ne", self.values(left, focus, start), plain)
            case Call(source, "exists", arguments) if len(arguments) < 2:
                return ("exists", self.items(source, arguments, focus, start))
            case Call(source, "empty", ()):
                return ("not", ("exists", self.items(source, (), focus, start)))
            case Call(source, "not", ()) if source is not None:
                return ("not", self.condition(source, focus, start))
            case Call(source, "hasExtension", arguments):
                base = self.values(source, focus, start) if source else focus
                return ("exists", self.call(base, "extension", arguments))
            case TypeTest("is", Call(None, "resolve", ()), type):
                return ("refers", type.rpartition(".")[2])
            case Call(Call(None, "resolve", ()), "is", (Member() as type,)):
                return ("refers", _type_name(type))
            case TypeTest("is", operand, type):
                return ("exists", self.narrow(self.values(operand, focus, start), type))
            case Member() | This():
                return ("eq", self.values(node, focus, start), True)
        raise _unsupported("this condition")

    def items(
        self, source: Node | None, arguments: tuple[Node, ...], focus: tuple[Branch, ...], start: bool
    ) -> tuple[Branch, ...]:
        base = self.values(source, focus, start) if source else focus
        return self.where(base, arguments[0]) if arguments else base


def _type_name(node: Member) -> str:
    return node.name
