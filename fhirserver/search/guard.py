"""Searches by what is hidden from the caller: they must tell nothing about resources that are masked.

Where a condition looks at a hidden element of a type, only the resources of that type take part that the caller sees
whole; where there are none the search is refused. It holds at every hop. Source: docs/explanation/access.md
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fhirserver.outcome import Forbidden
from fhirserver.search.expression import (
    NOTHING,
    And,
    Chain,
    Coded,
    Composite,
    Contains,
    Dates,
    Equals,
    Exact,
    Expression,
    Has,
    Hierarchy,
    Ids,
    Missing,
    Near,
    Not,
    Numbers,
    Only,
    Or,
    Starts,
    Updated,
    Words,
    both,
)
from fhirserver.search.mask import Mask

ByType = Mapping[str, Mask]


def guarded(type: str, expression: Expression, masks: ByType, fields: Iterable[str] = ()) -> Expression:
    """`expression` for a search of `type` such that it tells nothing of what `masks` hide.

    `fields`: of the index that the search looks at besides, as to sort by them. Raises Forbidden (parameter-masked).
    """
    found, hidden = _walked(type, expression, masks)
    return _placed(type, found, masks, hidden=hidden or any(_hides(masks, type, each) for each in fields))


def shows(masks: ByType, type: str, field: str) -> bool:
    """True where no resource of `type` is masked, or none in what `field` is made of."""
    return not _hides(masks, type, field)


def _hides(masks: ByType, type: str, field: str) -> bool:
    mask = masks.get(type)
    return mask is not None and field not in mask.fields


def _placed(type: str, expression: Expression, masks: ByType, *, hidden: bool) -> Expression:
    if not hidden:
        return expression
    if masks[type].rows == NOTHING:
        raise _refused(type)
    return both(expression, masks[type].rows)


def _refused(type: str) -> Forbidden:
    return Forbidden(
        f"The search looks at an element of {type} that your role does not see; search by what is shown.",
        code="parameter-masked",
    )


def _walked(type: str, expression: Expression, masks: ByType) -> tuple[Expression, bool]:
    """The expression with its hops guarded, and whether it looks at a hidden element of `type` itself."""
    match expression:
        case And(items) | Or(items):
            walked = [_walked(type, item, masks) for item in items]
            kept = tuple(each for each, _ in walked)
            return expression.__class__(kept), any(hidden for _, hidden in walked)
        case Not(item):
            inner, hidden = _walked(type, item, masks)
            return Not(inner), hidden
        case Chain(field, other, item, canonical):
            return Chain(field, other, guarded(other, item, masks), canonical), _hides(masks, type, field)
        case Has(other, field, item, to):
            return Has(other, field, guarded(other, item, masks, (field,)), to), False
        case Hierarchy(field, other, _, parent):
            if _hides(masks, other, parent):
                raise _refused(other)
            return expression, _hides(masks, type, field)
        case Ids() | Updated():
            return expression, False
        case (
            Missing(field) | Equals(field) | Only(field) | Starts(field) | Contains(field) | Exact(field)
            | Dates(field) | Numbers(field) | Composite(field) | Words(field) | Coded(field)
        ):  # fmt: skip
            return expression, _hides(masks, type, field)
        case Near():
            return expression, _hides(masks, type, "near")
