"""The syntax tree as closures: each node becomes a function of the evaluation's state and the focus.

The focus is the collection that a path without a source starts from, and what $this stands for: the context of
the whole expression, a single item inside where(), select() and the like.
Source: hl7.org/fhirpath/N1/#path-selection, #functions
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fhirserver.r4.fhirpath import (
    functions_boundaries,
    functions_collections,
    functions_convert,
    functions_fhir,
    functions_numbers,
    functions_strings,
)
from fhirserver.r4.fhirpath.functions import Compiling, Function
from fhirserver.r4.fhirpath.model import Item
from fhirserver.r4.fhirpath.operators import LOGIC, OPERATORS
from fhirserver.r4.fhirpath.quantities import Quantity
from fhirserver.r4.fhirpath.state import Environment, Items, Run, State, failed, unsupported
from fhirserver.r4.fhirpath.temporal import parse_temporal
from fhirserver.r4.fhirpath.values import (
    EMPTY,
    boolean,
    identity,
    made,
    number_or_quantity,
    single,
    system,
    truth,
)
from fhirserver.r4.paths import (
    Binary,
    Call,
    Index,
    Literal,
    Member,
    Node,
    PathSyntaxError,
    This,
    TypeTest,
    Unary,
    Variable,
)

FUNCTIONS: Mapping[str, Function] = {
    **functions_collections.FUNCTIONS,
    **functions_strings.FUNCTIONS,
    **functions_numbers.FUNCTIONS,
    **functions_boundaries.FUNCTIONS,
    **functions_convert.FUNCTIONS,
    **functions_fhir.FUNCTIONS,
}
MAX_NESTED = 150
"""Steps of a path, or operands of a chain, one in the other: closures call each other as deep."""
CONSTANTS = {
    "ucum": "http://unitsofmeasure.org",
    "sct": "http://snomed.info/sct",
    "loinc": "http://loinc.org",
}
_DEFINITIONS = {
    "vs-": "http://hl7.org/fhir/ValueSet/",
    "ext-": "http://hl7.org/fhir/StructureDefinition/",
}


def compile_node(node: Node, environment: Environment, known_type: Callable[[str], bool]) -> Run:
    """The closure of a whole expression.

    Raises UnsupportedPath for functions, variables and services that are not there, PathError for a type
    specifier that names no type, PathSyntaxError for wrong numbers of arguments.
    """
    return _Compiler(environment, known_type).run(node)


class _Compiler(Compiling):
    """Compiles one expression."""

    depth = 0

    def run(self, node: Node) -> Run:
        self.depth += 1
        if self.depth > MAX_NESTED:
            raise PathSyntaxError("FHIRPath: the expression has too many steps.", code="fhirpath-syntax")
        try:
            return self._run(node)
        finally:
            self.depth -= 1

    def _run(self, node: Node) -> Run:
        match node:
            case Member(None, name):
                return _opening(name)
            case Member(source, name) if source is not None:
                return _member(self.run(source), name)
            case Call(source, function, arguments):
                return self.call(source, function, arguments)
            case Literal():
                return _constant(_literal(node))
            case Binary("and" | "or" | "xor" | "implies" as operator, left, right):
                return _logic(operator, self.run(left), self.run(right))
            case Binary("|") if (literals := _literals(node)) is not None:
                return _constant(_distinct(literals))
            case Binary(operator, left, right):
                return _binary(operator, self.run(left), self.run(right))
            case TypeTest(operator, operand, type):
                return functions_collections.type_test(self, operator, self.run(operand), type)
            case Index(source, index):
                return _index(self.run(source), self.run(index))
            case Unary("-", operand):
                return _negative(self.run(operand))
            case Unary(_, operand):
                return _positive(self.run(operand))
            case This("this"):
                return lambda _state, focus: focus
            case This("index"):
                return lambda state, _focus: made(state.index)
            case This("total"):
                return lambda state, _focus: state.total
            case Variable(name):
                return _variable(name)
        raise unsupported(f"${getattr(node, 'name', '')}")

    def call(self, source: Node | None, name: str, arguments: tuple[Node, ...]) -> Run:
        function = FUNCTIONS.get(name)
        if function is None:
            raise unsupported(f"the function {name[:40]}()")
        if not function.least <= len(arguments) <= function.most:
            raise PathSyntaxError(
                f"FHIRPath: {name}() has a wrong number of arguments.", code="fhirpath-syntax"
            )
        return function.build(self, self.run(source) if source is not None else None, arguments)


def _opening(name: str) -> Run:
    """A name without a source: a child of the focus, or the type of the focus itself."""
    if not name[:1].isupper():
        return _member(None, name)

    def run(state: State, focus: Items) -> Items:
        state.spend(1)
        found = [item for item in focus if state.model.is_a(item.type, name)]
        if state.strict and focus and not found:
            raise failed(f"the context is no {name[:64]}.")
        return found

    return run


def _member(source: Run | None, name: str) -> Run:
    def run(state: State, focus: Items) -> Items:
        items = focus if source is None else source(state, focus)
        if not items:
            return EMPTY
        found: Items = []
        model = state.model
        child = model.child
        for item in items:
            if state.strict and not model.has_child(item.type, name):
                raise failed(f"{item.type} has no element of the name {name[:64]}.")
            child(item, name, found)
        state.spend(len(items) + len(found))
        return found

    return run


def _constant(items: Items) -> Run:
    return lambda _state, _focus: items


def _literal(node: Literal) -> Items:
    value = node.value
    if node.kind == "date":
        moment = parse_temporal(str(value))
        if moment is None:
            raise PathSyntaxError("FHIRPath: no such date or time.", code="fhirpath-syntax")
        return made(moment)
    if isinstance(value, tuple):
        return made(Quantity(*value))
    return made(value)


def _literals(node: Node) -> list[Literal] | None:
    """The literals of a union of nothing else: 'a' | 'b' | 'c'."""
    found: list[Literal] = []
    while isinstance(node, Binary) and node.operator == "|" and isinstance(node.right, Literal):
        found.insert(0, node.right)
        node = node.left
    return [node, *found] if isinstance(node, Literal) else None


def _distinct(literals: list[Literal]) -> Items:
    found = {identity(item, lambda _steps: None): item for node in literals for item in _literal(node)}
    return list(found.values())


def _logic(operator: str, left: Run, right: Run) -> Run:
    combine, decides = LOGIC[operator]

    def run(state: State, focus: Items) -> Items:
        state.spend(1)
        one = truth(left(state, focus), operator)
        if one is not None and one is decides:
            return boolean(combine(one, None))
        return boolean(combine(one, truth(right(state, focus), operator)))

    return run


def _binary(operator: str, left: Run, right: Run) -> Run:
    apply = OPERATORS[operator]

    def run(state: State, focus: Items) -> Items:
        state.spend(1)
        return apply(state, left(state, focus), right(state, focus))

    return run


def _index(source: Run, index: Run) -> Run:
    def run(state: State, focus: Items) -> Items:
        items = source(state, focus)
        item = single(index(state, focus), "an index")
        if item is None:
            return EMPTY
        position = system(item)
        if type(position) is not int:
            raise failed("an index is an integer.")
        return items[position : position + 1] if position >= 0 else EMPTY

    return run


def _positive(operand: Run) -> Run:
    def run(state: State, focus: Items) -> Items:
        items = operand(state, focus)
        item = single(items, "+")
        if item is not None and not number_or_quantity(system(item)):
            raise failed("+ takes a number or a quantity.")
        return items

    return run


def _negative(operand: Run) -> Run:
    def run(state: State, focus: Items) -> Items:
        item = single(operand(state, focus), "-")
        if item is None:
            return EMPTY
        value = system(item)
        if not number_or_quantity(value):
            raise failed("- takes a number or a quantity.")
        return made(Quantity(-value.value, value.unit) if isinstance(value, Quantity) else -value)

    return run


def _variable(name: str) -> Run:
    match name:
        case "resource":
            return lambda state, _focus: [state.model.item(state.resource, "Resource")]
        case "rootResource":
            return lambda state, _focus: [state.model.item(state.root, "Resource")]
        case "context":
            return lambda state, _focus: state.context
    text = CONSTANTS.get(name)
    for prefix, base in _DEFINITIONS.items():
        if name.startswith(prefix):
            text = base + name.removeprefix(prefix)
    if text is None:
        raise unsupported(f"the variable %{name[:40]}")
    return _constant([Item(text, "System.String")])
