"""Searches by what is hidden from the caller: they must tell nothing about resources that are masked.

Where a condition looks at a hidden element of a type, only the resources of that type take part that the caller sees
whole; where there are none the search is refused. It holds at every hop. Source: docs/explanation/access.md
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fhirserver.outcome import Forbidden
from fhirserver.search.expression import (
    NOTHING,
    And,
    Chain,
    Expression,
    Has,
    Hierarchy,
    Ids,
    Near,
    Not,
    Or,
    Uncontaining,
    Updated,
    Words,
    both,
)
from fhirserver.search.mask import Mask

ByType = Mapping[str, Mask]


def shows(masks: ByType, type: str, field: str) -> bool:
    """True where no resource of `type` is masked, or none in what `field` is made of."""
    mask = masks.get(type)
    return mask is None or field in mask.fields


@dataclass(frozen=True, slots=True)
class Guard:
    """Guards the searches of one caller. `masks`: by type. `inside`: of contained resources a part is hidden, too."""

    masks: ByType
    inside: bool = False

    def guarded(self, type: str, expression: Expression, fields: Iterable[str] = ()) -> Expression:
        """`expression` for a search of `type` such that it tells nothing of what is hidden.

        `fields`: of the index that the search looks at besides, as to sort by them. Raises Forbidden
        (parameter-masked).
        """
        found, hidden = self._walked(type, expression)
        if not hidden and all(shows(self.masks, type, each) for each in fields):
            return found
        if self.masks[type].rows == NOTHING:
            raise _refused(type)
        return both(found, self.masks[type].rows)

    def _walked(self, type: str, expression: Expression) -> tuple[Expression, bool]:
        """The expression with its hops guarded, and whether it looks at a hidden element of `type` itself."""
        match expression:
            case And(items) | Or(items):
                walked = [self._walked(type, item) for item in items]
                kept = tuple(each for each, _ in walked)
                return expression.__class__(kept), any(hidden for _, hidden in walked)
            case Not(item):
                inner, hidden = self._walked(type, item)
                return Not(inner), hidden
            case Chain(field, other, item, canonical):
                hop = Chain(field, other, self.guarded(other, item), canonical)
                return hop, not shows(self.masks, type, field)
            case Has(other, field, item, to):
                return Has(other, field, self.guarded(other, item, (field,)), to), False
            case Hierarchy(field, other, _, parent):
                if not shows(self.masks, other, parent):
                    raise _refused(other)
                return expression, not shows(self.masks, type, field)
            case Ids() | Updated() | Uncontaining():
                return expression, False
            case Words(field):
                # the words of a resource are those of what it contains, too
                guarded = both(expression, Uncontaining()) if self.inside else expression
                return guarded, not shows(self.masks, type, field)
            case Near():
                return expression, not shows(self.masks, type, "near")
        return expression, not shows(self.masks, type, expression.field)


def _refused(type: str) -> Forbidden:
    return Forbidden(
        f"The search looks at an element of {type} that your role does not see; search by what is shown.",
        code="parameter-masked",
    )
