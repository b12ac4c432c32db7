"""Names of search parameters: modifiers, chains and `_has`.

`subject:Patient.name:exact`, `_has:Observation:patient:code`, and both inside each other.
Source: hl7.org/fhir/R4/search.html#chaining, hl7.org/fhir/R4/search.html#has
"""

from __future__ import annotations

from fhirserver.outcome import BadRequest, InvalidSearchValue, NotSupported, TooCostly
from fhirserver.r4.definitions import SearchParameter
from fhirserver.search.expression import Chain, Expression, Has, Ids, either
from fhirserver.search.modifiers import condition, field_of
from fhirserver.search.scope import Scope
from fhirserver.search.types.escapes import unescape

# A reference that may point at more types than this must name one in a chain.
_MOST_TARGETS = 30


def expression(scope: Scope, type: str | None, name: str, text: str, depth: int = 0) -> Expression:
    """What the pair `name=text` asks of a resource of `type` (None: of any type).

    `depth`: hops already made. Raises UnknownParameter, BadRequest, InvalidSearchValue, TooCostly.
    """
    if name == "_has" or name.startswith("_has:"):
        return _has(scope, type, name, text, depth)
    if name == "_list":
        return _list(scope, type, text)
    head, dot, rest = name.partition(".")
    code, _, modifier = head.partition(":")
    parameter = scope.find(type, name)  # a clinic's own code may hold a dot
    if parameter is not None:
        return condition(scope, type, parameter, "", text)
    parameter = scope.find(type, code)
    if parameter is None:
        raise scope.unknown(type, name)
    if not dot:
        return condition(scope, type, parameter, modifier, text)
    return _chain(scope, type, parameter, modifier, rest, text, depth)


def targets_of(scope: Scope, parameter: SearchParameter) -> tuple[str, ...]:
    """The resource types that a reference parameter may point at."""
    known = scope.definitions.resource_types
    return tuple(t for t in parameter.targets if t in known) or known


def is_canonical(parameter: SearchParameter) -> bool:
    """True where the references of a parameter are canonical urls."""
    return bool(parameter.branches) and all(b.type in ("canonical", "uri") for b in parameter.branches)


def _deeper(scope: Scope, depth: int) -> int:
    if depth >= scope.limits.chain_depth:
        raise TooCostly(
            f"A chain (or _has) makes at most {scope.limits.chain_depth} hops; search in two steps instead.",
            code="chain-too-deep",
        )
    return depth + 1


def _chain(
    scope: Scope,
    type: str | None,
    parameter: SearchParameter,
    modifier: str,
    rest: str,
    text: str,
    depth: int,
) -> Expression:
    if parameter.type != "reference":
        raise BadRequest(
            f"The parameter {parameter.code} is of type {parameter.type}; only references can be chained.",
            code="chain-not-reference",
        )
    depth = _deeper(scope, depth)
    targets = targets_of(scope, parameter)
    if modifier:
        if modifier not in targets:
            raise BadRequest(
                f"The parameter {parameter.code} does not refer to that type; it may refer to "
                f"{', '.join(targets[:_MOST_TARGETS])}.",
                code="chain-target-unknown",
            )
        targets = (modifier,)
    code = rest.partition(".")[0].partition(":")[0]
    fitting = targets if code == "_has" else tuple(t for t in targets if code in scope.parameters(t))
    if not fitting:
        raise scope.unknown(targets[0] if len(targets) == 1 else None, rest, _known(scope, targets))
    if len(fitting) > _MOST_TARGETS:
        raise BadRequest(
            f"The parameter {parameter.code} may refer to many types; name one, as in "
            f"{parameter.code}:Patient.name.",
            code="chain-target-ambiguous",
        )
    canonical = is_canonical(parameter)
    field = field_of(parameter.code)
    return either(tuple(Chain(field, t, expression(scope, t, rest, text, depth), canonical) for t in fitting))


def _known(scope: Scope, targets: tuple[str, ...]) -> set[str]:
    return {code for target in targets[:_MOST_TARGETS] for code in scope.parameters(target)}


def _has(scope: Scope, type: str | None, name: str, text: str, depth: int) -> Expression:
    parts = name.split(":", 3)
    if len(parts) != 4 or not all(parts):
        raise BadRequest(
            "_has is written _has:Type:reference-parameter:parameter, as in _has:Observation:patient:code.",
            code="has-malformed",
        )
    _, other, code, rest = parts
    if other not in scope.definitions.resource_types:
        raise BadRequest("_has names a resource type that R4 does not have.", code="has-type-unknown")
    parameter = scope.find(other, code)
    references = [p.code for p in scope.parameters(other).values() if p.type == "reference"]
    if parameter is None:
        raise scope.unknown(other, code, references)
    if parameter.type != "reference" or (type is not None and type not in targets_of(scope, parameter)):
        raise BadRequest(
            f"The parameter {parameter.code} of {other} does not refer to {type or 'a resource'}; its "
            f"references are {', '.join(references)}.",
            code="has-not-reference",
        )
    if type is None or is_canonical(parameter):
        raise NotSupported(
            "_has is offered for one resource type and for literal references.", code="has-not-supported"
        )
    depth = _deeper(scope, depth)
    return Has(other, field_of(parameter.code), expression(scope, other, rest, text, depth), type)


def _list(scope: Scope, type: str | None, text: str) -> Expression:
    """The resources that are items of a List. Source: hl7.org/fhir/R4/search.html#list."""
    ids = tuple(unescape(value) for value in scope.alternatives(text))
    if any(id.startswith("$") for id in ids):
        raise NotSupported(
            "_list takes the id of a List; functional lists ($current-allergies and others) are not offered.",
            code="functional-list",
        )
    if type is None:
        raise InvalidSearchValue("_list needs a search of one resource type.", code="list-needs-type")
    return Has("List", "item", Ids(ids), type)
