"""`_include` and `_revinclude`. Source: hl7.org/fhir/R4/search.html#include."""

from __future__ import annotations

from dataclasses import dataclass

from fhirserver.outcome import BadRequest
from fhirserver.search.chain import is_canonical, targets_of
from fhirserver.search.modifiers import field_of
from fhirserver.search.scope import Scope

_FORM = "Type:parameter, Type:parameter:TargetType, Type:* or *"


@dataclass(frozen=True, slots=True)
class Path:
    """One reference parameter to follow.

    `ends`: types that it can lead to by definition. `targets`: those wanted at its end; empty: any.
    `canonical`: it refers by url.
    """

    type: str
    field: str
    ends: frozenset[str]
    targets: frozenset[str] = frozenset()
    canonical: bool = False


@dataclass(frozen=True, slots=True)
class Include:
    """One _include or (`reverse`) _revinclude, as the paths it stands for.

    `iterate`: also from included resources.
    """

    paths: tuple[Path, ...]
    reverse: bool = False
    iterate: bool = False


def parse_include(scope: Scope, types: tuple[str, ...], name: str, text: str) -> Include | None:
    """The include that a pair such as `_include:iterate=Encounter:patient` asks for.

    `types`: what is searched; `*` starts there. None: unknown, and ignored because the search is lenient.
    Raises BadRequest (include-malformed, include-unknown).
    """
    base, _, modifier = name.partition(":")
    if modifier not in ("", "iterate", "recurse"):
        raise BadRequest(f"{base} has the modifier :iterate only.", code="modifier-unknown")
    reverse = base == "_revinclude"
    parts = text.split(":")
    if len(parts) > 3 or not all(parts) or (len(parts) == 1 and text != "*"):
        raise BadRequest(f"{base} takes {_FORM}.", code="include-malformed")
    paths = (
        _everything(scope, types, reverse, bool(modifier))
        if text == "*"
        else _named(scope, types, parts, reverse)
    )
    if paths is None:
        if not scope.lenient:
            raise _unknown(scope, base, parts)
        scope.ignored.append(name)
        return None
    return Include(paths, reverse, bool(modifier))


def _named(scope: Scope, types: tuple[str, ...], parts: list[str], reverse: bool) -> tuple[Path, ...] | None:
    source, code = parts[0], parts[1]
    target = parts[2] if len(parts) == 3 else None
    known = scope.definitions.resource_types
    if source not in known or (target is not None and target not in known):
        return None
    parameters = scope.parameters(source)
    if code == "*":
        codes = [p.code for p in parameters.values() if p.type == "reference"]
    elif code in parameters and parameters[code].type == "reference":
        codes = [code]
    else:
        return None
    wanted = (
        frozenset((target,)) if target else frozenset(types) if reverse and code == "*" else frozenset[str]()
    )
    paths = []
    for each in codes:
        ends = targets_of(scope, parameters[each])
        if not wanted or wanted.intersection(ends):
            paths.append(
                Path(source, field_of(each), frozenset(ends), wanted, is_canonical(parameters[each]))
            )
    return tuple(paths) if paths or code == "*" else None


def _everything(scope: Scope, types: tuple[str, ...], reverse: bool, iterate: bool) -> tuple[Path, ...]:
    """Every reference from (reverse: to) the searched types; of all types where included ones follow."""
    sources = scope.definitions.resource_types if reverse or iterate else types
    wanted = frozenset(types) if reverse and not iterate else frozenset[str]()
    return tuple(
        Path(source, field_of(p.code), frozenset(targets_of(scope, p)), canonical=is_canonical(p))
        for source in sources
        for p in scope.parameters(source).values()
        if p.type == "reference" and (not wanted or wanted.intersection(targets_of(scope, p)))
    )


def _unknown(scope: Scope, base: str, parts: list[str]) -> BadRequest:
    source = parts[0]
    if source not in scope.definitions.resource_types:
        return BadRequest(f"{base} names a resource type that R4 does not have.", code="include-unknown")
    codes = sorted(p.code for p in scope.parameters(source).values() if p.type == "reference")
    return BadRequest(
        f"{base} takes {_FORM}; the reference parameters of {source} are {', '.join(codes) or 'none'}.",
        code="include-unknown",
    )
