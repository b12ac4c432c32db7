"""`_sort`: keys in order, each ascending or (`-`) descending. Source: hl7.org/fhir/R4/search.html#sort."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fhirserver.outcome import BadRequest, TooCostly
from fhirserver.search.modifiers import field_of
from fhirserver.search.scope import Scope

_MOST_KEYS = 8


class SortBy(StrEnum):
    """Where the value of a sort key is found."""

    ID = "id"
    UPDATED = "updated"
    STORED = "stored"  # an order-preserving key in the index
    FIRST = "first"  # the first entry of the parameter, taken at query time


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key. `field`: the field of the index that holds it (empty for id and lastUpdated)."""

    by: SortBy
    descending: bool = False
    field: str = ""


def parse_sort(scope: Scope, types: tuple[str, ...], text: str) -> tuple[SortKey, ...]:
    """The keys of `_sort=text` for the searched `types`, all of which must know each parameter.

    Raises UnknownParameter (a lenient search ignores the key), BadRequest (sort-unsupported), TooCostly.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise BadRequest(
            "_sort takes parameters separated by commas, each with an optional -.", code="sort-empty"
        )
    if len(names) > _MOST_KEYS:
        raise TooCostly(f"_sort takes at most {_MOST_KEYS} keys.", code="sort-too-many")
    keys = [_key(scope, types, name.removeprefix("-"), name.startswith("-")) for name in names]
    return tuple(key for key in keys if key is not None)


def _key(scope: Scope, types: tuple[str, ...], code: str, descending: bool) -> SortKey | None:
    if code in ("_id", "_lastUpdated"):
        return SortKey(SortBy.ID if code == "_id" else SortBy.UPDATED, descending)
    found = [scope.find(type, code) for type in types]
    kinds = {parameter.type for parameter in found if parameter is not None}
    if None in found or not found:
        if scope.lenient:
            scope.ignored.append("_sort")
            return None
        missing = types[found.index(None)] if found else None
        raise scope.unknown(missing, code)
    if len(kinds) > 1 or kinds & {"composite", "special"} or code in ("_text", "_content"):
        raise BadRequest(
            "_sort takes parameters of type string, token, reference, uri, date, number and quantity, of one "
            "type for all resources searched.",
            code="sort-unsupported",
        )
    if kinds & {"string", "date", "number", "quantity"}:
        repeats = any(parameter.repeats for parameter in found if parameter is not None)
        suffix = "~d" if descending and repeats else "~s"
        return SortKey(SortBy.STORED, descending, field_of(code) + suffix)
    return SortKey(SortBy.FIRST, descending, field_of(code))
