"""What scopes may name: the types and search parameters of the definitions.

Source: hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html#finer-grained-resource-constraints-using-search-parameters
"""

from __future__ import annotations

from dataclasses import dataclass

from fhirserver.r4.definitions import Definitions

_NOT_ROWS = frozenset(("_text", "_content"))  # searched in words, not in the index


@dataclass(frozen=True, slots=True)
class DefinedVocabulary:
    """The vocabulary of `definitions`, for access.scopes.parse."""

    definitions: Definitions

    def is_type(self, name: str) -> bool:
        """True for a resource type."""
        return name in self.definitions.resource_types

    def is_constraint(self, type: str, code: str) -> bool:
        """True for a parameter of `type` that stored resources are indexed for."""
        parameter = self.definitions.search_parameters(type).get(code)
        return (
            parameter is not None
            and parameter.ready
            and parameter.type != "special"
            and code not in _NOT_ROWS
        )
