"""What search asks of terminology. Given to the Searcher; asked when a search runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Terms(Protocol):
    """Value sets and code hierarchies, as far as a search needs them. Both are bounded."""

    async def members(self, value_set: str) -> Sequence[tuple[str, str]]:
        """All (system, code) of a value set. `value_set`: canonical, or ValueSet/id of this server.

        Raises BadRequest where it is unknown, TooCostly where it has too many.
        """
        ...

    async def above(self, system: str, code: str) -> Sequence[str]:
        """`code` and the codes above it. Raises BadRequest where the code system is unknown."""
        ...

    async def below(self, system: str, code: str) -> Sequence[str]:
        """`code` and the codes below it. Raises BadRequest where the code system is unknown, TooCostly."""
        ...
