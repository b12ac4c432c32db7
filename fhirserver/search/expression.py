"""What a search asks for, as a tree that knows nothing of the database.

Leaves name a field of the index (a search parameter's code, or one derived from it: `code~text`) and
normalised values. And/Or/Not combine whole resources: a leaf holds for a resource when one of the field's
values fulfils it. Chain, Has and Hierarchy reach other resources; store/compile.py turns the tree into a
query, with the caller's restriction on each resource reached. Source: hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from fhirserver.search.types.ranges import Condition


@dataclass(frozen=True, slots=True)
class And:
    """All of `items`; every resource where there are none."""

    items: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class Or:
    """Any of `items`; no resource where there are none."""

    items: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class Not:
    """The resources for which `item` does not hold, those without the field included."""

    item: Expression


@dataclass(frozen=True, slots=True)
class Ids:
    """Resources with one of these logical ids."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Updated:
    """Resources whose lastUpdated fulfils `condition` (lo and hi are the same instant, microseconds)."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class Missing:
    """Resources without any value of `field` (`missing` false: with one)."""

    field: str
    missing: bool = True


@dataclass(frozen=True, slots=True)
class Equals:
    """A value of `field` is one of `values`: tokens, references, uris, folded strings."""

    field: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Only:
    """`value` is the one and only value of `field`."""

    field: str
    value: str


@dataclass(frozen=True, slots=True)
class Starts:
    """A value of `field` starts with `text` (folded where the field is)."""

    field: str
    text: str


@dataclass(frozen=True, slots=True)
class Contains:
    """A value of `field` has `text` in it, anywhere or (`at_end`) at its end."""

    field: str
    text: str
    at_end: bool = False


@dataclass(frozen=True, slots=True)
class Exact:
    """An original value of the string parameter `field` is `text`; `folded` is how the index knows it."""

    field: str
    text: str
    folded: str


@dataclass(frozen=True, slots=True)
class Dates:
    """An interval of `field` fulfils `narrow` where it is stored as narrow, `wide` where as wide.

    `single`: a resource has at most one interval, so that two conditions on the field are one on the
    interval.
    """

    field: str
    narrow: Condition
    wide: Condition
    single: bool = False


@dataclass(frozen=True, slots=True)
class Numbers:
    """An interval of `field` fulfils `condition`; `unit`: and has this unit key, None for plain numbers."""

    field: str
    condition: Condition
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Composite:
    """One element of `field` fulfils all `parts`, whose fields are the component names a, b, c."""

    field: str
    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Near:
    """A Location within `metres` of a point in degrees."""

    latitude: float
    longitude: float
    metres: float


@dataclass(frozen=True, slots=True)
class Words:
    """All of these folded words are in the narrative (`_text`) or the whole content (`_content`)."""

    field: Literal["_text", "_content"]
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Uncontaining:
    """Resources that contain no others."""


@dataclass(frozen=True, slots=True)
class Chain:
    """`field` refers to a resource of `type` for which `item` holds.

    `canonical`: it refers by url, not by id.
    """

    field: str
    type: str
    item: Expression
    canonical: bool = False


@dataclass(frozen=True, slots=True)
class Has:
    """A resource of `type` for which `item` holds refers to this one by its `field`.

    `to`: type of this one.
    """

    type: str
    field: str
    item: Expression
    to: str


@dataclass(frozen=True, slots=True)
class Coded:
    """A code of the token parameter `field` is in a value set, or above or below another code (itself included).

    `relation`: in: `value` names the value set; above, below: `value` is a code of `system`. `implied`: the systems
    that the parameter's binding implies; their codes are indexed without a system.
    """

    field: str
    relation: Literal["in", "above", "below"]
    value: str
    system: str = ""
    implied: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """`field` refers to the resource `key` of `type`, or to one below it (`below`) or above it.

    `parent`: the parameter of `type` that refers to the next resource above.
    """

    field: str
    type: str
    key: str
    parent: str
    below: bool


Expression: TypeAlias = (
    And | Or | Not | Ids | Updated | Missing | Equals | Only | Starts | Contains | Exact | Dates | Numbers
    | Composite | Near | Words | Uncontaining | Chain | Has | Hierarchy | Coded
)  # fmt: skip
_MOST_ALTERNATIVES = 16
EVERYTHING = And()
NOTHING = Or()


def both(first: Expression, second: Expression) -> Expression:
    """The conjunction of two expressions, flattened; conditions on a field with one interval are merged."""
    items: list[Expression] = []
    for part in (first, second):
        for item in part.items if isinstance(part, And) else (part,):
            _conjoin(items, item)
    return items[0] if len(items) == 1 else And(tuple(items))


def _conjoin(items: list[Expression], item: Expression) -> None:
    if isinstance(item, Dates) and item.single:
        for at, other in enumerate(items):
            if isinstance(other, Dates) and other.field == item.field and other.single:
                narrow, wide = _product(other.narrow, item.narrow), _product(other.wide, item.wide)
                if len(wide) <= _MOST_ALTERNATIVES:
                    items[at] = Dates(item.field, narrow, wide, single=True)
                    return
    items.append(item)


def _product(one: Condition, other: Condition) -> Condition:
    return tuple(first + second for first in one for second in other)


def either(items: tuple[Expression, ...]) -> Expression:
    """The disjunction of `items`; equalities of one field become one."""
    if len(items) > 1 and all(isinstance(i, Equals) for i in items):
        equalities = [i for i in items if isinstance(i, Equals)]
        if len({e.field for e in equalities}) == 1:
            return Equals(equalities[0].field, tuple(dict.fromkeys(v for e in equalities for v in e.values)))
    if len(items) > 1 and all(isinstance(i, Ids) for i in items):
        return Ids(tuple(dict.fromkeys(id for i in items if isinstance(i, Ids) for id in i.ids)))
    return items[0] if len(items) == 1 else Or(items)


def hops(expression: Expression) -> Iterator[frozenset[str]]:
    """For each hop to other resources, the types that it may lead to: alternatives of one chain are one hop."""
    match expression:
        case Or(items) if items and all(isinstance(item, Chain) for item in items):
            yield frozenset(item.type for item in items if isinstance(item, Chain))
            for item in items:
                if isinstance(item, Chain):
                    yield from hops(item.item)
        case And(items) | Or(items):
            for item in items:
                yield from hops(item)
        case Not(item):
            yield from hops(item)
        case Chain(type=type, item=item) | Has(type=type, item=item):
            yield frozenset((type,))
            yield from hops(item)
        case Hierarchy(type=type):
            yield frozenset((type,))
