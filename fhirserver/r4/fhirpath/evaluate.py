"""The two entrances: an invariant as a predicate, and the values of any expression.

Source: hl7.org/fhir/R4/fhirpath.html, hl7.org/fhir/R4/elementdefinition-definitions.html#ElementDefinition.constraint
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from fhirserver.r4.elements import Elements
from fhirserver.r4.fhirpath.compile import compile_node
from fhirserver.r4.fhirpath.direct import Undecided, direct
from fhirserver.r4.fhirpath.model import Item, Model
from fhirserver.r4.fhirpath.state import BUDGET, Environment, Items, Run, State
from fhirserver.r4.fhirpath.values import system, truth
from fhirserver.r4.paths import parse_path

Invariant: TypeAlias = Callable[..., "bool | None"]
Selection: TypeAlias = Callable[[Any, Any], Items]
_ALONE = Environment()


class FhirPath:
    """Compiles expressions against one set of definitions. `environment`: what they may ask."""

    def __init__(self, elements: Elements, environment: Environment = _ALONE) -> None:
        self.environment = environment
        self._model = Model(elements)

    def compile(self, expression: str) -> Run:
        """The closure of an expression.

        Raises PathSyntaxError, or UnsupportedPath for what this server does not evaluate.
        """
        return compile_node(parse_path(expression), self.environment, self._model.known_type)

    def invariant(self, expression: str, type: str, *, budget: int = BUDGET) -> Invariant:
        """The predicate of an invariant that stands at elements of `type`.

        `type`: a type name or the path of a backbone element ("Patient.contact"). The predicate takes (value,
        resource, root=resource, extra=None): the JSON of the element, of the resource it belongs to, of the
        resource around that for a contained one, of its `_x` for a primitive. It returns None where the
        expression gives nothing, and raises PathError where it cannot be evaluated.
        """
        run, model, environment = self.compile(expression), self._model, self.environment
        quick = direct(parse_path(expression), model.elements, type)

        def test(value: Any, resource: Any, root: Any = None, extra: Any = None) -> bool | None:
            focus = [model.item(value, type, extra)]
            whole = resource if root is None else root
            state = State(model, environment, focus, resource, whole, False, budget)
            return truth(run(state, focus), "an invariant")

        if quick is None:
            return test
        at_once = quick

        def quick_test(value: Any, resource: Any, root: Any = None, extra: Any = None) -> bool | None:
            if extra is not None:
                return test(value, resource, root, extra)
            try:
                return at_once(value)
            except Undecided:
                return test(value, resource, root, extra)

        return quick_test

    def selection(self, expression: str, *, budget: int = BUDGET) -> Selection:
        """What an expression selects in a resource, compiled once: (resource, root) -> items.

        Raises PathSyntaxError or UnsupportedPath; what it returns raises PathError where it cannot be evaluated.
        """
        run, model, environment = self.compile(expression), self._model, self.environment

        def select(resource: Any, root: Any) -> Items:
            focus = [model.item(resource, "Resource")]
            return run(State(model, environment, focus, resource, root, False, budget), focus)

        return select

    def items(
        self,
        expression: str,
        value: Any,
        *,
        type: str = "Resource",
        resource: Any = None,
        strict: bool = False,
        budget: int = BUDGET,
    ) -> Items:
        """The items that an expression selects, with their types.

        `strict`: names that the type of an item does not have are an error instead of empty.
        """
        run = self.compile(expression)
        focus = [self._model.item(value, type)]
        around = value if resource is None else resource
        return run(State(self._model, self.environment, focus, around, around, strict, budget), focus)


def compile_invariant(
    expression: str, elements: Elements, type: str, environment: Environment = _ALONE
) -> Invariant:
    """The predicate of one invariant, see FhirPath.invariant."""
    return FhirPath(elements, environment).invariant(expression, type)


def evaluate(
    expression: str,
    resource: Any,
    elements: Elements,
    environment: Environment = _ALONE,
    *,
    strict: bool = False,
) -> list[Any]:
    """The values of an expression over a resource: JSON of FHIR elements, System values of what is computed."""
    found = FhirPath(elements, environment).items(expression, resource, strict=strict)
    return [plain(item) for item in found]


def plain(item: Item) -> Any:
    """JSON of an element, the System value of what was computed."""
    return system(item) if item.type.startswith("System.") else item.value
