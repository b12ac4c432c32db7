"""Rows of one's own organizations, where the setting by_organization asks for it. Source: docs/decisions/0038."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from fhirserver.search.expression import Equals, Expression, Missing, either

# type -> the parameter that names the organization responsible for the record
RESPONSIBLE: Mapping[str, str] = MappingProxyType(
    {
        "Account": "owner",
        "Device": "organization",
        "Encounter": "service-provider",
        "EpisodeOfCare": "organization",
        "Invoice": "issuer",
        "Patient": "organization",
    }
)


def rows_of(type: str, keys: tuple[str, ...], opened: Expression | None) -> Expression | None:
    """The rows of `type` of these organizations (entries of the index), and of none; None where the type has none.

    `opened`: rows of patients whose record an emergency has opened.
    """
    parameter = RESPONSIBLE.get(type)
    if parameter is None:
        return None
    options: list[Expression] = [Missing(parameter)]
    if keys:
        options.append(Equals(parameter, keys))
    if opened is not None:
        options.append(opened)
    return either(tuple(options))
