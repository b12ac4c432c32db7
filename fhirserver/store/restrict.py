"""The one place where a Permission becomes part of a database query.

A row that the permission does not cover does not exist for its agent: same error, same words.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from fhirserver.context import Permission
from fhirserver.outcome import NotFound
from fhirserver.search.evaluate import holds
from fhirserver.store.client import translated
from fhirserver.store.home import Home

Filter = Mapping[str, Any]
NOTHING: Filter = {"_id": {"$in": []}}
Compile = Callable[[Permission, str], Filter | None]


def compile_nothing(permission: Permission, type: str) -> Filter | None:
    """Stands in for the compiler of restrictions: refuses to ignore one."""
    if permission.restriction(type) is not None:
        raise NotImplementedError("no compiler of restrictions was given to the Store")
    return None


class Restrictions:
    """What a permission leaves of each type, as a filter. `compile`: see store/compile.py."""

    def __init__(self, home: Home, compile: Compile = compile_nothing) -> None:
        self._home = home
        self._compile = compile

    def filter(self, permission: Permission, type: str) -> Filter | None:
        """The filter that every row of `type` must match, None when all may be seen."""
        if type in permission.denied:
            return NOTHING
        return self._compile(permission, type)

    @staticmethod
    def holds(
        permission: Permission, type: str, id: str, ix: Mapping[str, Any], fields: Collection[str]
    ) -> bool | None:
        """Whether a row matches its filter, as far as `fields` of its index tell; None where they do not."""
        if type in permission.denied:
            return False
        restriction = permission.restriction(type)
        return None if restriction is None else holds(restriction, id, ix, fields)

    async def match(self, filter: Filter, rows: Sequence[Mapping[str, Any]]) -> list[bool]:
        """Which `rows` (documents with search fields, stored or not) match `filter`, by the database."""
        if not rows:
            return []
        if filter is NOTHING:
            return [False] * len(rows)
        numbered = [{**row, "n": {"$literal": at}} for at, row in enumerate(map(_literal, rows))]
        pipeline: list[dict[str, Any]] = [
            {"$documents": numbered},
            {"$match": filter},
            {"$project": {"n": 1}},
        ]
        with translated():
            cursor = await self._home.aggregate(pipeline)
            matching = {row["n"] for row in await cursor.to_list()}
        return [at in matching for at in range(len(rows))]


def _literal(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: {"$literal": value} for name, value in row.items()}


def not_found(type: str, id: str) -> NotFound:
    """The error for a resource that is not there, or not there for this agent."""
    return NotFound(f"There is no {type} with the id that was asked for.", code="resource-unknown")
