"""One parameter, its modifier and one value, as a leaf of the tree.

Source: hl7.org/fhir/R4/search.html#modifiers
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

from fhirserver.outcome import BadRequest, InvalidSearchValue, NotSupported
from fhirserver.r4.definitions import SearchParameter
from fhirserver.r4.identifiers import postal_digits
from fhirserver.search.expression import (
    And,
    Coded,
    Composite,
    Contains,
    Dates,
    Equals,
    Exact,
    Expression,
    Hierarchy,
    Ids,
    Missing,
    Near,
    Not,
    Numbers,
    Or,
    Starts,
    Updated,
    Words,
    either,
)
from fhirserver.search.fold import fold, words
from fhirserver.search.scope import Scope
from fhirserver.search.types import composite, date, number, quantity, reference, special, string, token, uri
from fhirserver.search.types.escapes import unescape

_NEGATIONS: Mapping[str, str] = MappingProxyType({"not": "", "not-in": "in"})
_BOOLEAN = {"true": True, "false": False}
_HIERARCHY = ("partof", "part-of", "parent")


def condition(
    scope: Scope, type: str | None, parameter: SearchParameter, modifier: str, text: str
) -> Expression:
    """What `parameter:modifier=text` asks of a resource of `type`: any of the comma-separated values.

    Raises BadRequest (modifier-unknown, modifier-not-supported), InvalidSearchValue, TooCostly.
    """
    code = parameter.code
    if modifier == "missing" and parameter.type != "special":
        return _missing(parameter, text)
    values = scope.alternatives(text)
    if code in _SPECIAL:
        if modifier and not (code == "_id" and modifier == "not"):
            raise _unknown_modifier(parameter)
        found = either(tuple(_SPECIAL[code](scope, value) for value in values))
        return Not(found) if modifier == "not" else found
    if modifier in _NEGATIONS and parameter.type == "token":
        inner = _NEGATIONS[modifier]
        return Not(either(tuple(leaf(scope, type, parameter, inner, value) for value in values)))
    return either(tuple(leaf(scope, type, parameter, modifier, value) for value in values))


def leaf(
    scope: Scope,
    type: str | None,
    parameter: SearchParameter,
    modifier: str,
    text: str,
    field: str | None = None,
) -> Expression:
    """One value, escapes still in it, as an expression on `field` (the parameter's code where None)."""
    return _LEAVES[parameter.type](scope, parameter, modifier, text, field or field_of(parameter.code))


def field_of(code: str) -> str:
    """The field of the index for a parameter's values; a dot in a clinic's own code would be a path."""
    return code.replace(".", "\uff0e")


def _missing(parameter: SearchParameter, text: str) -> Expression:
    wanted = _BOOLEAN.get(text)
    if wanted is None:
        raise InvalidSearchValue(":missing takes true or false.", code="search-value-missing")
    if parameter.code in ("_id", "_lastUpdated"):
        return Or() if wanted else And()
    if parameter.code in _SPECIAL:
        raise _unknown_modifier(parameter)
    return Missing(field_of(parameter.code), wanted)


def _string(scope: Scope, parameter: SearchParameter, modifier: str, text: str, field: str) -> Expression:
    value = string.parse(text)
    match modifier:
        case "":
            plain = postal_digits(value.text) if _holds_postal_code(parameter) else None
            starts = Starts(field, value.folded)
            return starts if plain is None else Or((starts, Starts(field, plain)))
        case "exact":
            return Exact(field, value.text, value.folded)
        case "contains":
            return Contains(field, value.folded)
    raise _unknown_modifier(parameter)


def _holds_postal_code(parameter: SearchParameter) -> bool:
    return any(
        branch.type == "Address" or branch.steps[-1:] == ("postalCode",) for branch in parameter.branches
    )


def _token(scope: Scope, parameter: SearchParameter, modifier: str, text: str, field: str) -> Expression:
    match modifier:
        case "":
            value = token.parse(text, parameter.systems, {branch.type for branch in parameter.branches})
            return Missing(field, False) if value.present else Equals(field, value.keys)
        case "text":
            return Starts(f"{field}~text", string.parse(text).folded)
        case "of-type":
            return Equals(f"{field}~type", token.parse_of_type(text).keys)
        case "in":
            return Coded(field, "in", unescape(text), implied=parameter.systems)
        case "above" | "below":
            return _subsumed(parameter, modifier, text, field)
    raise _unknown_modifier(parameter)


def _subsumed(
    parameter: SearchParameter, modifier: Literal["above", "below"], text: str, field: str
) -> Expression:
    value = token.parse(text, parameter.systems)
    systems = {value.system} if value.system else parameter.systems
    if not value.code or len(systems) != 1:
        raise InvalidSearchValue(f":{modifier} on a token takes system|code.", code="search-value-token")
    return Coded(field, modifier, value.code, next(iter(systems)), parameter.systems)


def _reference(scope: Scope, parameter: SearchParameter, modifier: str, text: str, field: str) -> Expression:
    if modifier == "identifier":
        return Equals(f"{field}~id", token.parse(text, types=("Identifier",)).keys)
    if modifier in ("above", "below"):
        return _hierarchy(scope, parameter, modifier, text, field)
    if modifier and modifier not in parameter.targets:
        raise _unknown_modifier(parameter)
    value = reference.parse(text, scope.site, parameter.targets, modifier or None)
    return Equals(field, value.keys)


def _hierarchy(scope: Scope, parameter: SearchParameter, modifier: str, text: str, field: str) -> Expression:
    """References with :above and :below: a tree of resources of one type, or versions of a canonical."""
    value = reference.parse(text, scope.site, parameter.targets)
    if any(branch.type in ("canonical", "uri") for branch in parameter.branches):
        return _versions(modifier, value.keys[0], field)
    type = value.type or (parameter.targets[0] if len(parameter.targets) == 1 else None)
    if type is None or value.id is None:
        raise InvalidSearchValue(
            f":{modifier} on a reference takes Type/id of a resource of this server.",
            code="search-value-reference",
        )
    parents = [
        other.code
        for other in scope.parameters(type).values()
        if other.code in _HIERARCHY and type in other.targets
    ]
    if not parents:
        raise NotSupported(
            f"{type} has no hierarchy, so that :{modifier} means nothing for it.",
            code="modifier-not-supported",
        )
    key = scope.site.key(type, value.id)
    return Hierarchy(field, type, key, field_of(parents[0]), modifier == "below")


def _versions(modifier: str, canonical: str, field: str) -> Expression:
    url, bar, version = canonical.partition("|")
    if not bar:
        raise InvalidSearchValue(
            f":{modifier} on a canonical takes url|version.", code="search-value-reference"
        )
    if modifier == "below":
        return Or((Equals(field, (canonical,)), Starts(field, f"{canonical}.")))
    parts = version.split(".")
    return Equals(field, tuple(f"{url}|{'.'.join(parts[:n])}" for n in range(1, len(parts) + 1)))


def _uri(scope: Scope, parameter: SearchParameter, modifier: str, text: str, field: str) -> Expression:
    value = uri.parse(text)
    match modifier:
        case "":
            return Equals(field, (value,))
        case "below":
            if value.endswith("/"):
                return Starts(field, value)
            return Or((Equals(field, (value,)), Starts(field, f"{value}/")))
        case "above":
            return Equals(field, tuple(_ancestors(value)))
    raise _unknown_modifier(parameter)


def _ancestors(value: str) -> list[str]:
    """The uri and every shorter one that ends at one of its path segments, with and without the slash."""
    start = value.find("://") + 3 if "://" in value else 0
    found = [value]
    at = value.find("/", start)
    while at != -1 and len(found) < 200:
        found += [value[:at], value[: at + 1]]
        at = value.find("/", at + 1)
    return list(dict.fromkeys(found))


def _date(scope: Scope, parameter: SearchParameter, modifier: str, text: str, field: str) -> Expression:
    if modifier:
        raise _unknown_modifier(parameter)
    value = date.parse(text)
    narrow, wide = value.condition(scope.now, narrow=True), value.condition(scope.now)
    return Dates(field, narrow, wide, single=not parameter.repeats)


def _number(scope: Scope, parameter: SearchParameter, modifier: str, text: str, field: str) -> Expression:
    if modifier:
        raise _unknown_modifier(parameter)
    return Numbers(field, number.parse(text).condition())


def _quantity(scope: Scope, parameter: SearchParameter, modifier: str, text: str, field: str) -> Expression:
    if modifier:
        raise _unknown_modifier(parameter)
    value = quantity.parse(text)
    return Numbers(field, value.condition(), value.key)


def _composite(scope: Scope, parameter: SearchParameter, modifier: str, text: str, field: str) -> Expression:
    if modifier:
        raise _unknown_modifier(parameter)
    texts = composite.parse(text, len(parameter.components))
    parts = []
    for name, component, part in zip(composite.NAMES, parameter.components, texts, strict=False):
        plain = replace(_PLAIN, code=component.code, type=component.type, repeats=True)
        parts.append(leaf(scope, None, plain, "", part, name))
    return Composite(field, tuple(parts))


def _near(scope: Scope, parameter: SearchParameter, modifier: str, text: str, field: str) -> Expression:
    if modifier or parameter.code != "near":
        raise _unknown_modifier(parameter)
    value = special.parse_near(text)
    return Near(value.latitude, value.longitude, value.metres)


_Leaf = Callable[[Scope, SearchParameter, str, str, str], Expression]
_LEAVES: MappingProxyType[str, _Leaf] = MappingProxyType(
    {
        "string": _string,
        "token": _token,
        "reference": _reference,
        "uri": _uri,
        "date": _date,
        "number": _number,
        "quantity": _quantity,
        "composite": _composite,
        "special": _near,
    }
)
_PLAIN = SearchParameter("", "token", (), "", "")


def _id(scope: Scope, text: str) -> Expression:
    return Ids((unescape(text),))


def _last_updated(scope: Scope, text: str) -> Expression:
    return Updated(date.parse(text).condition(scope.now))


def _words(field: str) -> Callable[[Scope, str], Expression]:
    def read(scope: Scope, text: str) -> Expression:
        found = tuple(words(fold(unescape(text))))
        if not found:
            raise InvalidSearchValue(f"{field} takes words to look for.", code="search-value-empty")
        return Words("_text" if field == "_text" else "_content", found)

    return read


_SPECIAL: MappingProxyType[str, Callable[[Scope, str], Expression]] = MappingProxyType(
    {
        "_id": _id,
        "_lastUpdated": _last_updated,
        "_text": _words("_text"),
        "_content": _words("_content"),
    }
)


def _unknown_modifier(parameter: SearchParameter) -> BadRequest:
    known = [f":{name}" for name in parameter.modifiers if name != "type"]
    if parameter.type == "reference":
        known += [f":{target}" for target in parameter.targets[:12]]
    if parameter.code in ("_text", "_content"):
        known = []
    return BadRequest(
        f"The parameter {parameter.code} of type {parameter.type} has no such modifier; it has "
        f"{', '.join(known) or 'none'}.",
        code="modifier-unknown",
    )
