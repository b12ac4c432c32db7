"""What an evaluation carries along: variables, services, and the budget that ends hostile expressions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from fhirserver.outcome import BadRequest

if TYPE_CHECKING:
    from fhirserver.r4.fhirpath.model import Item, Model

BUDGET = 500_000
"""Steps that one evaluation may take: one for each item that a path, a loop or a function touches."""
MAX_STRING = 1_000_000
"""Characters of a string that an expression builds."""


class PathError(BadRequest):
    """An expression that cannot go on: several items where one belongs, operands that do not fit."""


class UnsupportedPath(PathError):
    """An expression that asks for what this server does not evaluate; the text names it."""


class PathTooExpensive(PathError):
    """An expression that used up its budget."""


def failed(text: str) -> PathError:
    """The error of an evaluation. `text` never holds values of the resource."""
    return PathError(f"FHIRPath: {text}", code="fhirpath-evaluation")


def unsupported(what: str) -> UnsupportedPath:
    """The error of an expression that names something which is not evaluated here."""
    return UnsupportedPath(f"FHIRPath: {what} is not evaluated by this server.", code="fhirpath-unsupported")


@dataclass(frozen=True, slots=True)
class Environment:
    """What FHIRPath asks of its surroundings; None where there is nobody to ask.

    `member_of`: (coded JSON value or string, its type, canonical of a value set) -> is it in it; None when that
    cannot be told. `conforms_to`: (resource or element as JSON, canonical of a profile) -> does it conform;
    None for a profile that is not known. `html_checks`: the div of a narrative -> is it safe and not empty.
    `resolve`: reference or canonical as written -> resource as JSON, None when it is not at hand.
    `now`: the time that now(), today() and timeOfDay() speak of.
    """

    member_of: Callable[[Any, str, str], bool | None] | None = None
    conforms_to: Callable[[Any, str], bool | None] | None = None
    html_checks: Callable[[str], bool] | None = None
    resolve: Callable[[str], Any] | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(slots=True)
class State:
    """One evaluation.

    `resource`, `root`: JSON of %resource and %rootResource. `left`: what remains of the budget. `index`, `total`: of
    the innermost loop.
    """

    model: Model
    environment: Environment
    context: Items
    resource: Any
    root: Any
    strict: bool = False
    left: int = BUDGET
    index: int | None = None
    total: Items = field(default_factory=list)
    moment: datetime | None = None

    def spend(self, steps: int) -> None:
        """Take steps from the budget; raises PathTooExpensive when it is used up."""
        self.left -= steps
        if self.left < 0:
            raise PathTooExpensive(
                "FHIRPath: the expression takes too many steps for this resource.",
                code="fhirpath-too-expensive",
            )

    def now(self) -> datetime:
        """The same moment throughout one evaluation."""
        if self.moment is None:
            self.moment = self.environment.now()
        return self.moment


Items: TypeAlias = "list[Item]"
Run: TypeAlias = "Callable[[State, Items], Items]"
