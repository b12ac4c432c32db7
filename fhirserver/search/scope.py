"""What parsing a search needs to know: definitions, limits, whose references, what was ignored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from fhirserver.outcome import InvalidSearchValue, TooCostly, Unavailable, UnknownParameter
from fhirserver.r4.definitions import Definitions, SearchParameter
from fhirserver.search.types.escapes import split
from fhirserver.search.types.reference import Site
from fhirserver.settings import Limits


@dataclass(frozen=True, slots=True)
class Scope:
    """The surroundings of one search. `now`: microseconds since 1970, for the prefix ap."""

    definitions: Definitions
    limits: Limits
    site: Site
    now: int
    lenient: bool = False
    ignored: list[str] = field(default_factory=list)

    def parameters(self, type: str | None) -> Mapping[str, SearchParameter]:
        """The parameters of a type; None: those that every type has."""
        return self.definitions.search_parameters(type or "Resource")

    def find(self, type: str | None, code: str) -> SearchParameter | None:
        """The parameter `code` of a type, None where there is none.

        Raises Unavailable for a clinic's own one that is not indexed yet: its answers would be wrong.
        """
        parameter = self.parameters(type).get(code)
        if parameter is not None and not parameter.ready:
            raise Unavailable(
                "The search parameter is not ready: stored resources are not indexed for it yet. "
                "An operator runs `fhirserver reindex`.",
                code="parameter-not-ready",
                retry_after=60,
            )
        return parameter

    def unknown(self, type: str | None, name: str, known: Iterable[str] | None = None) -> UnknownParameter:
        """The error for a name that `type` does not have as a parameter; it lists those that it has.

        The name itself is the caller's text and stays out of the answer.
        """
        names = sorted(known if known is not None else self.parameters(type))
        close = get_close_matches(name[:64].partition(":")[0], names, n=3)
        guess = f"Did you mean {' or '.join(close)}? " if close else ""
        place = type or "A search over all types"
        return UnknownParameter(
            f"A search parameter is unknown here. {guess}{place} has: {', '.join(names)}. "
            "With Prefer: handling=lenient unknown parameters are ignored.",
            code="parameter-unknown",
        )

    def alternatives(self, text: str) -> list[str]:
        """The comma-separated values of `text`, still escaped. Raises InvalidSearchValue, TooCostly."""
        values = [value for value in split(text, ",") if value.strip()]
        if not values:
            raise InvalidSearchValue(
                "A search parameter has no value; give it one or leave it out.", code="search-value-empty"
            )
        if len(values) > self.limits.or_values:
            raise TooCostly(
                f"A search parameter takes at most {self.limits.or_values} comma-separated values; "
                "split the search.",
                code="too-many-values",
            )
        return values
