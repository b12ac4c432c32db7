"""Chains, `_has` and hierarchies: from hops between resources to one query.

A hop is first tried as a bounded step: the keys that it leads to are fetched, and if they are few they stand
in the query as values. If they are many the hop becomes a $lookup, evaluated for the candidates of the rest
of the query, in its order and until the page is full. Each hop is made under the caller's own restriction of
the type that it reaches.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pymongo.asynchronous.client_session import AsyncClientSession

from fhirserver.context import Permission
from fhirserver.outcome import TooCostly
from fhirserver.search.expression import And, Chain, Coded, Equals, Expression, Has, Hierarchy, Not, Or
from fhirserver.search.terms import Terms
from fhirserver.store.client import Document, translated
from fhirserver.store.compile import (
    NOWHERE,
    Compilable,
    Filter,
    Joined,
    Keys,
    Place,
    compile_filter,
    conjunction,
    is_local,
)
from fhirserver.store.home import Home

Stage: TypeAlias = dict[str, Any]
# Beyond this many keys a hop is left to the database.
MOST_KEYS = 2000
_MOST_LEVELS = 32
_LIVE: Filter = {"del": {"$exists": False}}


@dataclass(frozen=True, slots=True)
class Plan:
    """The query for one type.

    `filter` first; then, where hops were too wide for values, `lookups` and `after`.
    """

    filter: Filter
    lookups: tuple[Stage, ...] = ()
    after: Filter = field(default_factory=dict)

    @property
    def is_plain(self) -> bool:
        """True where a find is enough."""
        return not self.lookups

    def stages(self) -> list[Stage]:
        """What follows the first $match (and the sort) in a pipeline."""
        if not self.lookups:
            return []
        names = [stage["$lookup"]["as"] for stage in self.lookups]
        return [*self.lookups, {"$match": self.after}, {"$unset": names}]


@dataclass(slots=True)
class Resolver:
    """Makes plans for one search of one caller. `max_ms`: for each query of a step. `terms`: of value sets and codes."""

    home: Home
    tenant: str
    permission: Permission
    max_ms: int
    terms: Terms
    session: AsyncClientSession | None = None
    _names: int = 0

    async def plan(self, type: str, expression: Expression, extra: Filter | None = None) -> Plan:
        """The plan for live resources of `type` that fulfil `expression`, the restriction and `extra`."""
        lookups: list[Stage] = []
        wanted = await self._resolved(type, expression, lookups)
        place = Place(key=self._key(type, ""))
        items = wanted.items if isinstance(wanted, And) else (wanted,)
        local = [compile_filter(item, place) for item in items if is_local(item)]
        joined = [compile_filter(item, place) for item in items if not is_local(item)]
        scope = [{"t": self.tenant, **_LIVE}, *await self._restricted(type, lookups, joined)]
        if extra:
            scope.append(extra)
        return Plan(conjunction([*local, *scope]), tuple(lookups), conjunction(joined))

    def _key(self, type: str, id: str) -> str:
        return f"{self.tenant}/{type}/{id}"

    async def _restricted(self, type: str, lookups: list[Stage], joined: list[Filter]) -> list[Filter]:
        """The caller's restriction on `type`; what of it needs a $lookup is added to `joined`."""
        if type in self.permission.denied:
            return [dict(NOWHERE)]
        restriction = self.permission.restriction(type)
        if restriction is None:
            return []
        unrestricted = Resolver(
            self.home,
            self.tenant,
            _system(self.permission),
            self.max_ms,
            self.terms,
            self.session,
            self._names,
        )
        wanted = await unrestricted._resolved(type, restriction, lookups)
        self._names = unrestricted._names
        compiled = compile_filter(wanted, Place(key=self._key(type, "")))
        if is_local(wanted):
            return [compiled]
        joined.append(compiled)
        return []

    async def _resolved(self, type: str, expression: Expression, lookups: list[Stage]) -> Compilable:
        """`expression` without hops; those that stay wide are appended to `lookups`."""
        match expression:
            case And(items):
                return And(tuple([await self._resolved(type, item, lookups) for item in items]))  # type: ignore[misc]
            case Or(items):
                return Or(tuple([await self._resolved(type, item, lookups) for item in items]))  # type: ignore[misc]
            case Not(item):
                return Not(await self._resolved(type, item, lookups))  # type: ignore[arg-type]
            case Chain():
                return await self._chain(expression, lookups)
            case Has():
                return await self._has(expression, lookups)
            case Hierarchy():
                return await self._hierarchy(expression)
            case Coded():
                return await self._coded(expression)
        return expression

    async def _coded(self, coded: Coded) -> Compilable:
        """The tokens of the codes that are meant."""
        if coded.relation == "in":
            codes = await self.terms.members(coded.value)
        else:
            related = self.terms.below if coded.relation == "below" else self.terms.above
            codes = [(coded.system, code) for code in await related(coded.system, coded.value)]
        tokens = tuple(f"|{c}" if system in coded.implied else f"{system}|{c}" for system, c in codes)
        return Equals(coded.field, tokens) if tokens else Or()

    async def _chain(self, chain: Chain, lookups: list[Stage]) -> Compilable:
        plan = await self.plan(chain.type, chain.item)
        target = "ix.url" if chain.canonical else "_id"
        keys = await self._values(chain.type, plan, target, "")
        if keys is not None:
            return Equals(chain.field, keys) if keys else Or()
        return self._lookup(lookups, chain.type, f"ix.{chain.field}", target, plan)

    async def _has(self, has: Has, lookups: list[Stage]) -> Compilable:
        plan = await self.plan(has.type, has.item)
        path = f"ix.{has.field}"
        keys = await self._values(has.type, plan, path, self._key(has.to, ""))
        if keys is not None:
            return Keys(keys) if keys else Or()
        return self._lookup(lookups, has.type, "_id", path, plan)

    async def _values(self, type: str, plan: Plan, path: str, prefix: str) -> tuple[str, ...] | None:
        """The distinct values at `path` of what is found, with `prefix`; None where there are too many."""
        if plan.filter.get("_id") == NOWHERE["_id"]:
            return ()
        documents = await self.run(type, plan, {path: 1}, MOST_KEYS + 1)
        if len(documents) > MOST_KEYS:
            return None
        found: dict[str, None] = {}
        for document in documents:
            found.update((value, None) for value in _at(document, path) if value.startswith(prefix))
        return tuple(found) if len(found) <= MOST_KEYS else None

    def _lookup(self, lookups: list[Stage], type: str, local: str, foreign: str, plan: Plan) -> Joined:
        self._names += 1
        name = f"j{self._names}"
        lookups.append(
            {
                "$lookup": {
                    "from": self.home.joined(type),
                    "localField": local,
                    "foreignField": foreign,
                    "pipeline": [
                        {"$match": plan.filter},
                        *plan.stages(),
                        {"$limit": 1},
                        {"$project": {"_id": 1}},
                    ],
                    "as": name,
                }
            }
        )
        return Joined(name)

    async def _hierarchy(self, tree: Hierarchy) -> Compilable:
        """The keys above or below one resource, level by level. Raises TooCostly beyond MOST_KEYS."""
        found: dict[str, None] = {}
        level = await self._level(tree, {"_id": tree.key})
        for _ in range(_MOST_LEVELS):
            new = {key: parents for key, parents in level.items() if key not in found}
            if not new:
                return Equals(tree.field, tuple(found)) if found else Or()
            found.update(dict.fromkeys(new))
            if len(found) > MOST_KEYS:
                break
            if tree.below:
                level = await self._level(tree, {f"ix.{tree.parent}": {"$in": list(new)}})
            else:
                above = [key for parents in new.values() for key in parents]
                level = await self._level(tree, {"_id": {"$in": above}}) if above else {}
        raise TooCostly("The hierarchy is too large for :above or :below.", code="hierarchy-too-large")

    async def _level(self, tree: Hierarchy, filter: Filter) -> dict[str, list[str]]:
        plan = await self.plan(tree.type, And(), filter)
        path = f"ix.{tree.parent}"
        rows = await self.run(tree.type, plan, {path: 1}, MOST_KEYS + 1)
        return {row["_id"]: _at(row, path) for row in rows}

    async def run(
        self,
        type: str,
        plan: Plan,
        fields: dict[str, int],
        limit: int,
        sort: list[tuple[str, int]] | None = None,
    ) -> list[Document]:
        """At most `limit` documents of a plan (0: all), `fields` of each. Raises TooCostly, Unavailable."""
        collection = self.home[type]
        session = self.home.session(type, self.session)
        with translated():
            if plan.is_plain:
                cursor = collection.find(
                    plan.filter,
                    fields,
                    sort=sort,
                    limit=limit,
                    batch_size=limit,
                    max_time_ms=self.max_ms,
                    session=session,
                )
                return await cursor.to_list()
        stages: list[Stage] = [{"$match": plan.filter}]
        stages += [{"$sort": dict(sort)}] if sort else []
        stages += [*plan.stages(), *([{"$limit": limit}] if limit else []), {"$project": fields}]
        return await self.aggregate(type, stages)

    async def aggregate(self, type: str, stages: list[Stage]) -> list[Document]:
        """What a pipeline over `type` gives. Raises TooCostly, Unavailable."""
        with translated():
            session = self.home.session(type, self.session)
            results = await self.home[type].aggregate(stages, maxTimeMS=self.max_ms, session=session)
            return await results.to_list()

    async def count(self, type: str, plan: Plan) -> int:
        """The number of documents of a plan."""
        rows = await self.aggregate(type, [{"$match": plan.filter}, *plan.stages(), {"$count": "n"}])
        return int(rows[0]["n"]) if rows else 0

    async def resolved(self, type: str, expression: Expression) -> Compilable:
        """`expression` with its hops replaced by what they lead to; Joined where that is too much."""
        return await self._resolved(type, expression, [])


def _at(document: Document, path: str) -> list[str]:
    """The strings at a path: `_id`, or `ix.<field>` with its array."""
    head, _, rest = path.partition(".")
    value = document.get(head)
    if rest:
        value = (value or {}).get(rest)
    return [value] if isinstance(value, str) else [v for v in value or () if isinstance(v, str)]


def _system(permission: Permission) -> Permission:
    """The permission under which restrictions are evaluated: they are the system's own questions."""
    return Permission(permission.agent, "evaluates restrictions")
