"""The parameters of an operation, from a query string or a Parameters resource, checked against its table.

Source: hl7.org/fhir/R4/operations.html#executing
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fhirserver.context import JsonObject
from fhirserver.outcome import BadRequest, Invalid, NotSupported, UnknownParameter

if TYPE_CHECKING:
    from fhirserver.context import Interaction
    from fhirserver.services import Services

_TEXTS = ("uri", "canonical", "code", "string", "dateTime")
_COMPLEX = ("Coding", "CodeableConcept", "parts")
_GENERAL = ("_format", "_pretty")
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One line of the table. `kind`: an R4 type, or "parts". `refused`: defined by R4, but not offered here."""

    name: str
    kind: str
    repeats: bool = False
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Given:
    """What a call gave, by name, in order."""

    values: Mapping[str, Sequence[Any]]

    def one(self, name: str) -> Any:
        """The value, None where it was not given."""
        found = self.values.get(name)
        return found[0] if found else None

    def text(self, name: str) -> str | None:
        """The value of a parameter of a textual type."""
        value: str | None = self.one(name)
        return value

    def all(self, name: str) -> Sequence[Any]:
        """All values of a repeating parameter."""
        return self.values.get(name, ())

    def flag(self, name: str) -> bool:
        """The value of a boolean, false where it was not given."""
        return self.one(name) is True

    def __contains__(self, name: str) -> bool:
        return name in self.values


def read_parameters(interaction: Interaction, services: Services, table: Sequence[Parameter]) -> Given:
    """The parameters of a call, checked.

    A body may be a Parameters resource, or the one resource that the operation takes. Raises UnknownParameter,
    NotSupported, BadRequest (parameter-value, parameter-repeated), Invalid for a resource that breaks its definition.
    """
    known = {line.name: line for line in table}
    values: dict[str, list[Any]] = {}
    for name, value in _all(interaction, known):
        line = known.get(name)
        if line is None:
            raise UnknownParameter(
                f"${interaction.operation} takes {', '.join(n for n, each in known.items() if not each.refused)}.",
                code="parameter-unknown",
            )
        if line.refused:
            raise NotSupported(
                f"The parameter {line.name} is not offered by this server.", code="parameter-not-supported"
            )
        if name in values and not line.repeats:
            raise BadRequest(f"The parameter {line.name} is given once.", code="parameter-repeated")
        values.setdefault(name, []).append(_typed(line, value))
    for name, found in values.items():
        if known[name].kind[0].isupper() and known[name].kind not in _COMPLEX:
            for resource in found:
                issues = services.validator.validate(resource, known[name].kind)
                if issues:
                    raise Invalid(issues=issues)
    return Given(values)


def _all(interaction: Interaction, known: Mapping[str, Parameter]) -> Iterator[tuple[str, Any]]:
    for pair in interaction.query:
        if pair[0] not in _GENERAL:
            yield pair
    body = interaction.body
    if body is None:
        return
    type = body.get("resourceType") if isinstance(body, dict) else None
    if type != "Parameters":
        own = next((line.name for line in known.values() if line.kind == type and type is not None), None)
        if own is None:
            raise BadRequest(
                "Send a Parameters resource, or the parameters in the URL.", code="parameters-invalid"
            )
        yield own, body
        return
    parameters = body.get("parameter", ())
    if not isinstance(parameters, list | tuple):
        raise _malformed()
    for parameter in parameters:
        if not isinstance(parameter, dict) or not isinstance(parameter.get("name"), str):
            raise _malformed()
        yield parameter["name"], _content(parameter)


def _content(parameter: JsonObject) -> Any:
    """The value, resource or parts of one parameter; a primitive keeps its JSON type."""
    names = [name for name in parameter if name.startswith("value") or name in ("resource", "part")]
    if len(names) != 1:
        raise _malformed()
    return _Value(names[0], parameter[names[0]])


@dataclass(frozen=True, slots=True)
class _Value:
    """What a Parameters resource holds. `element`: its JSON name, such as "valueCode"."""

    element: str
    value: Any


def _malformed() -> BadRequest:
    return BadRequest(
        "Each parameter of a Parameters resource has a name and one value, resource or list of parts.",
        code="parameters-invalid",
        expression="Parameters.parameter",
    )


def _typed(line: Parameter, given: Any) -> Any:
    """The value of one parameter as its kind. A string: from a query."""
    value = given.value if isinstance(given, _Value) else given
    element = given.element if isinstance(given, _Value) else None
    if line.kind in _TEXTS:
        if isinstance(value, str) and (value or (line.kind == "string" and element is None)):
            return value
    elif line.kind == "boolean":
        if isinstance(value, bool) or (element is None and value in _BOOLEANS):
            return value if isinstance(value, bool) else _BOOLEANS[value]
    elif line.kind == "integer":
        if (
            element is None
            and isinstance(value, str)
            and value.isascii()
            and value.isdigit()
            and len(value) < 10
        ):
            return int(value)
        if type(value) is int and value >= 0:
            return value
    elif line.kind == "parts":
        if element == "part" and isinstance(value, list):
            return _parts(value)
    elif isinstance(value, dict) and (element in (None, "resource") or element == f"value{line.kind}"):
        return value
    how = "" if line.kind not in _COMPLEX else "; send it in the body of a POST"
    raise BadRequest(f"The parameter {line.name} is of type {line.kind}{how}.", code="parameter-value")


def _parts(parts: list[Any]) -> dict[str, Any]:
    found = {}
    for part in parts:
        if not isinstance(part, dict) or not isinstance(part.get("name"), str):
            raise _malformed()
        content = _content(part)
        found[part["name"]] = content.value
    return found


def answer(*parameters: JsonObject | None) -> JsonObject:
    """A Parameters resource of those that are not None."""
    return {"resourceType": "Parameters", "parameter": [each for each in parameters if each is not None]}
