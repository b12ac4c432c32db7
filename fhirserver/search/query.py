"""From the pairs of a search request to a SearchQuery.

A SearchQuery knows nothing of the database and of who asks: store/search.py runs it under a Permission.
Source: hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from fhirserver.outcome import BadRequest, InvalidSearchValue, TooCostly, UnknownParameter
from fhirserver.r4.definitions import Definitions
from fhirserver.r4.references import ID
from fhirserver.search.chain import expression
from fhirserver.search.expression import EVERYTHING, And, Equals, Expression, both
from fhirserver.search.filter import parse_filter
from fhirserver.search.include import Include, parse_include
from fhirserver.search.page import NAMES as SHOWN
from fhirserver.search.page import Shown, parse_shown
from fhirserver.search.scope import Scope
from fhirserver.search.sort import SortKey, parse_sort
from fhirserver.search.types.reference import Site
from fhirserver.settings import Limits

# Of the request as a whole, not of the search.
GENERAL = ("_format", "_pretty")
INCLUDES = ("_include", "_revinclude")
_NOT_IN_FINGERPRINT = (*GENERAL, "_count", "_total", "_summary", "_elements", "_explain")


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """One search.

    `type`: None at system level. `filters`: what is asked of each type searched, in order. `sort`: empty
    is by id. `ignored`: names that a lenient search left out. `fingerprint`: same for the pages of one
    search; a cursor is bound to it. `cursor`: where the page starts, as a link of an earlier page gave
    it. `surroundings`: types to include whenever a match refers to one. `care_dates`: for types with a
    `date`, the interval of care that it must overlap.
    """

    type: str | None
    filters: tuple[tuple[str, Expression], ...]
    shown: Shown
    sort: tuple[SortKey, ...] = ()
    includes: tuple[Include, ...] = ()
    ignored: tuple[str, ...] = ()
    fingerprint: str = ""
    cursor: str | None = None
    surroundings: tuple[str, ...] = ()
    care_dates: tuple[int | None, int | None] = (None, None)

    @property
    def types(self) -> tuple[str, ...]:
        """The resource types searched."""
        return tuple(type for type, _ in self.filters)

    @property
    def summary(self) -> str | None:
        """The value of _summary."""
        return self.shown.summary

    @property
    def elements(self) -> tuple[str, ...]:
        """The names in _elements."""
        return self.shown.elements


def parse_query(
    definitions: Definitions,
    type: str | None,
    pairs: Sequence[tuple[str, str]],
    *,
    limits: Limits,
    tenant: str,
    base_url: str,
    lenient: bool = False,
    compartment: tuple[str, str] | None = None,
    now: int | None = None,
) -> SearchQuery:
    """The search that decoded `pairs` ask for.

    `type`: None at system level, where _type may name several. `base_url`: FHIR base, to know own
    absolute references. `lenient`: unknown parameters are ignored and named in the result. `compartment`:
    (type, id). `now`: microseconds since 1970, for the prefix ap. Raises BadRequest and its kinds.
    """
    if len(pairs) > limits.search_parameters:
        raise TooCostly(
            f"A search takes at most {limits.search_parameters} parameters.", code="too-many-parameters"
        )
    _check_text(pairs)
    scope = Scope(
        definitions,
        limits,
        _site(definitions.resource_types, tenant, base_url),
        now or time.time_ns() // 1000,
        lenient,
    )
    given = _sorted_out(pairs)
    member, reachable = _compartment(scope, compartment)
    types = _types(scope, type, given.pop("_type", []), reachable)
    shown = parse_shown(given, limits)
    if shown.contained != "false" and type is None:
        raise BadRequest("_contained needs a search of one resource type.", code="contained-needs-type")
    criteria = [
        (name, text) for name, text in pairs if name.partition(":")[0] not in _RESULT and name not in GENERAL
    ]
    filters = _filters(scope, type, types, criteria, member)
    sorts = given.get("_sort", [])
    if len(sorts) > 1:
        raise BadRequest("_sort is given twice; separate its keys by commas.", code="parameter-repeated")
    includes = tuple(_includes(scope, types, pairs))
    return SearchQuery(
        type,
        filters,
        shown,
        parse_sort(scope, types if type or "_type" in dict(pairs) else (), sorts[0]) if sorts else (),
        includes,
        tuple(dict.fromkeys(scope.ignored)),
        _fingerprint(tenant, type, compartment, pairs),
    )


@lru_cache(maxsize=16)
def _site(types: tuple[str, ...], tenant: str, base_url: str) -> Site:
    return Site(tenant, base_url.rstrip("/"), frozenset(types))


def _check_text(pairs: Sequence[tuple[str, str]]) -> None:
    """Refuse what is no Unicode text (lone surrogates)."""
    try:
        for name, text in pairs:
            name.encode()
            text.encode()
    except UnicodeEncodeError:
        raise InvalidSearchValue("A search parameter is not valid UTF-8.", code="search-encoding") from None


_RESULT = frozenset((*SHOWN, *INCLUDES, "_sort", "_type"))


def _sorted_out(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    given: dict[str, list[str]] = {}
    for name, text in pairs:
        base, colon, _ = name.partition(":")
        if name in _RESULT:
            given.setdefault(name, []).append(text)
        elif colon and base in _RESULT and base not in INCLUDES:
            raise BadRequest(f"{base} has no modifiers.", code="modifier-unknown")
    return given


def _types(
    scope: Scope, type: str | None, texts: list[str], reachable: frozenset[str] | None
) -> tuple[str, ...]:
    if texts and type is not None:
        raise BadRequest(
            "_type belongs to a search over all types; the URL names one here.", code="type-twice"
        )
    known = scope.definitions.resource_types
    named = [name.strip() for text in texts for name in scope.alternatives(text)]
    if any(name not in known for name in named) or (type is not None and type not in known):
        raise BadRequest("_type names a resource type that R4 does not have.", code="type-unknown")
    types = (type,) if type is not None else tuple(dict.fromkeys(named)) or known
    if reachable is None:
        return types
    inside = tuple(t for t in types if t in reachable)
    if not inside:
        raise BadRequest("The compartment does not hold resources of that type.", code="compartment-type")
    return inside


def _compartment(
    scope: Scope, compartment: tuple[str, str] | None
) -> tuple[Expression | None, frozenset[str] | None]:
    """Membership as an expression, and the types that can be members."""
    if compartment is None:
        return None, None
    name, id = compartment
    members = scope.definitions.compartment(name)
    if not members or ID.fullmatch(id) is None:
        raise BadRequest("A compartment is named by its type and a logical id.", code="compartment-unknown")
    reachable = {type for type, codes in members.items() if codes} | {name}
    return Equals(f"~{name}", (scope.site.key(name, id),)), frozenset(reachable)


def _filters(
    scope: Scope,
    type: str | None,
    types: tuple[str, ...],
    criteria: list[tuple[str, str]],
    member: Expression | None,
) -> tuple[tuple[str, Expression], ...]:
    """One filter per type; the parameters that every type has are read once for all."""
    common = len(types) > 1 and all(name.partition(":")[0] in scope.parameters(None) for name, _ in criteria)
    if type is None and len(types) == len(scope.definitions.resource_types):
        common = True
    if common:
        filter = _filter(scope, None, criteria, member)
        return tuple((each, filter) for each in types)
    return tuple((each, _filter(scope, each, criteria, member)) for each in types)


def _filter(
    scope: Scope, type: str | None, criteria: list[tuple[str, str]], member: Expression | None
) -> Expression:
    found: Expression = member if member is not None else EVERYTHING
    for name, text in criteria:
        try:
            one = (
                parse_filter(scope, type, text) if name == "_filter" else expression(scope, type, name, text)
            )
        except UnknownParameter:
            if not scope.lenient:
                raise
            scope.ignored.append(name)
            continue
        found = both(found, one)
    return found if not isinstance(found, And) or found.items else EVERYTHING


def _includes(scope: Scope, types: tuple[str, ...], pairs: Sequence[tuple[str, str]]) -> list[Include]:
    found = []
    for name, text in pairs:
        if name.partition(":")[0] in INCLUDES:
            include = parse_include(scope, types, name, text)
            if include is not None:
                found.append(include)
    return found


def _fingerprint(
    tenant: str, type: str | None, compartment: tuple[str, str] | None, pairs: Sequence[tuple[str, str]]
) -> str:
    kept = [pair for pair in pairs if pair[0] not in _NOT_IN_FINGERPRINT]
    return hashlib.blake2b(repr((tenant, type, compartment, kept)).encode(), digest_size=12).hexdigest()
