"""Running a search: pages of matches in order, totals, includes; the matches of conditional criteria.

Everything that leaves here was found under the caller's restrictions, which are part of each query.
Source: hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession

from fhirserver.context import JsonObject, Permission, Version
from fhirserver.outcome import INSUFFICIENT, BadRequest, Forbidden, Issue
from fhirserver.r4.definitions import Definitions
from fhirserver.search.expression import And, Dates, Expression, Missing, Or, both, hops
from fhirserver.search.guard import Guard
from fhirserver.search.include import Include, Path
from fhirserver.search.modifiers import field_of
from fhirserver.search.query import SearchQuery
from fhirserver.search.terms import Terms
from fhirserver.search.types.ranges import Bound
from fhirserver.settings import Limits
from fhirserver.store import contained, explain
from fhirserver.store.client import Document, translated
from fhirserver.store.compile import Filter, conjunction, sort_bounds
from fhirserver.store.cursor import Cursors
from fhirserver.store.documents import VERSION_FIELDS, version_of
from fhirserver.store.home import AUDIT_TYPE, Database, Home, home_of
from fhirserver.store.includes import Includer, Match, fields_of
from fhirserver.store.masked import shown, unrevealing
from fhirserver.store.order import Position, Stretch, stretches
from fhirserver.store.resolve import Plan, Resolver
from fhirserver.store.seen import trace_of


@dataclass(frozen=True, slots=True)
class FoundPage:
    """One page. `total`: None where not asked for or not known. `next`: cursor.

    `plan`: of _explain.
    """

    matches: list[Version]
    included: list[Version]
    total: int | None = None
    next: str | None = None
    issues: tuple[Issue, ...] = ()
    plan: JsonObject | None = None


class Searcher:
    """Searches the resources of one tenant.

    `key`: secret that signs cursors. `terms`: of value sets and codes. `clock`: seconds since 1970.
    """

    def __init__(
        self,
        database: Database | Home,
        definitions: Definitions,
        key: bytes,
        limits: Limits,
        tenant: str,
        terms: Terms,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._home = home_of(database)
        self._definitions = definitions
        self._limits = limits
        self._tenant = tenant
        self._terms = terms
        self._cursors = Cursors(key)
        self._clock = clock

    async def search(
        self, query: SearchQuery, permission: Permission, *, session: AsyncClientSession | None = None
    ) -> FoundPage:
        """One page of `query`.

        Raises BadRequest (a cursor that is not ours), TooCostly, Unavailable, Forbidden.
        """
        trace = trace_of(permission)
        prepared, left_out = await self._prepared(query, permission, session)
        run = _Run(self, prepared, permission, session)
        if query.shown.explain:
            return await run.explain()
        page = await run.page()
        trace.seen.extend(page.matches)
        trace.seen.extend(page.included)
        if permission.masks is None:
            return page
        return replace(
            page,
            matches=[shown(each, permission) for each in page.matches],
            included=[shown(each, permission) for each in page.included],
            issues=(*page.issues, *left_out),
        )

    async def find(
        self,
        type: str,
        query: SearchQuery,
        permission: Permission,
        *,
        limit: int,
        session: AsyncClientSession | None = None,
    ) -> list[Version]:
        """At most `limit` current resources of `type` that match, in no order.

        Sort, includes and paging are ignored.
        """
        trace = trace_of(permission)
        resolver = self.resolver(permission, session)
        expression = dict(query.filters)[type]
        _check_hops([(type, expression)], permission)
        if permission.masks is not None:
            expression = Guard(permission.masks.of, inside=True).guarded(type, expression)
        plan = await resolver.plan(type, expression)
        rows = await resolver.run(type, plan, VERSION_FIELDS, limit)
        found = [self.version(type, document) for document in rows]
        trace.seen.extend(found)
        return [shown(each, permission) for each in found]

    def resolver(self, permission: Permission, session: AsyncClientSession | None) -> Resolver:
        """What makes plans for this caller."""
        return Resolver(self._home, self._tenant, permission, self._limits.search_ms, self._terms, session)

    def version(self, type: str, document: Document) -> Version:
        """The version in a stored document."""
        return version_of(document, type, document["_id"].rpartition("/")[2])

    async def _prepared(
        self, query: SearchQuery, permission: Permission, session: AsyncClientSession | None
    ) -> tuple[SearchQuery, tuple[Issue, ...]]:
        """The query for the types that are there, with what $everything asks beyond its parameters.

        And what is to be said of types that are left out because the search looks at what is hidden there.
        """
        filters = [(type, filter) for type, filter in query.filters if type not in permission.denied]
        _check_hops(filters, permission)
        if len(filters) > 1:
            existing = await self.existing(session)
            filters = [(t, f) for t, f in filters if existing is None or t in existing]
        if query.care_dates != (None, None):
            filters = [(t, both(f, self._care(t, query.care_dates))) for t, f in filters]
        issues: tuple[Issue, ...] = ()
        if permission.masks is not None:
            filters, issues = unrevealing(query, filters, permission.masks)
        includes = query.includes
        if query.surroundings:
            includes = (*includes, self._surroundings(query.types, frozenset(query.surroundings)))
        return replace(query, filters=tuple(filters), includes=includes), issues

    async def existing(self, session: AsyncClientSession | None) -> frozenset[str] | None:
        """The types that have a collection; None inside a transaction, which cannot list them."""
        if session is not None and session.in_transaction:
            return None
        return frozenset(await self._home.types())

    def _care(self, type: str, dates: tuple[int | None, int | None]) -> Expression:
        parameter = self._definitions.search_parameters(type).get("date")
        if parameter is None or parameter.type != "date":
            return And()
        start, end = dates
        bounds = (
            *((Bound("hi", "gt", start),) if start is not None else ()),
            *((Bound("lo", "lt", end),) if end is not None else ()),
        )
        return Or((Missing("date"), Dates("date", (bounds,), (bounds,))))

    def _surroundings(self, types: tuple[str, ...], wanted: frozenset[str]) -> Include:
        return Include(
            tuple(
                Path(type, field_of(p.code), wanted, wanted)
                for type in types
                for p in self._definitions.search_parameters(type).values()
                if p.type == "reference"
            )
        )


@dataclass(slots=True)
class _Run:
    """One page of one search on its way."""

    searcher: Searcher
    query: SearchQuery
    permission: Permission
    session: AsyncClientSession | None

    async def page(self) -> FoundPage:
        query, shown = self.query, self.query.shown
        if shown.count == 0:
            return FoundPage([], [], await self._total())
        walk = self._walk()
        at, position = self._start(walk)
        matches, following = await self._matches(walk, at, position, shown.count)
        total = None
        if shown.total in ("accurate", "estimate"):
            total = await self._total()
        if shown.total != "none" and total is None and following is None and query.cursor is None:
            total = len(matches)
        included, issues = await self._included([match for _, match in matches])
        versions = await self._versions([(walk[n], match) for n, match in matches])
        searcher = self.searcher
        next = None
        if following is not None:
            next = searcher._cursors.write(query.fingerprint, following, int(searcher._clock()))
        return FoundPage(
            versions, [searcher.version(*match) for match in included], total, next, issues=tuple(issues)
        )

    def _walk(self) -> list[Stretch]:
        query = self.query
        types = query.types
        walk = stretches(query.sort, types) if types else []
        if query.shown.contained == "false":
            return walk
        containers = contained.stretches(self.searcher._definitions.resource_types, self.permission)
        return containers if query.shown.contained == "true" else walk + containers

    def _start(self, walk: list[Stretch]) -> tuple[int, Position | None]:
        """Which stretch a page starts in, and after what."""
        query = self.query
        if query.cursor is None:
            return 0, None
        searcher = self.searcher
        name, position = searcher._cursors.read(query.cursor, query.fingerprint, int(searcher._clock()))
        for at, stretch in enumerate(walk):
            if _name(stretch) == name:
                return at, position
        # The types that it stood in are gone or out of reach now: start at the first one after them.
        for at, stretch in enumerate(walk):
            if len(stretch.types) == 1 and _name(stretch) > name:
                return at, None
        return len(walk), None

    async def _matches(
        self, walk: list[Stretch], at: int, position: Position | None, count: int
    ) -> tuple[list[tuple[int, Match]], Any]:
        """At most `count` matches with the number of their stretch, and where the next page starts."""
        resolver = self.searcher.resolver(self.permission, self.session)
        existing = None
        if any(stretch.contained for stretch in walk):
            existing = await self.searcher.existing(self.session)
        filters = dict(self.query.filters)
        found: list[tuple[int, Match]] = []
        for number in range(at, len(walk)):
            stretch, room = walk[number], count + 1 - len(found)
            batch: list[Match] = []
            for type in stretch.types:
                if stretch.contained and existing is not None and type not in existing:
                    continue
                rows = await self._rows(resolver, stretch, type, filters, position, room)
                batch += [(type, row) for row in rows]
            found += [(number, match) for match in stretch.merged(batch)[:room]]
            position = None
            if len(found) > count:
                last, (type, document) = found[count - 1]
                return found[:count], [_name(walk[last]), walk[last].position(type, document)]
        return found, None

    async def _rows(
        self,
        resolver: Resolver,
        stretch: Stretch,
        type: str,
        filters: dict[str, Expression],
        position: Position | None,
        limit: int,
    ) -> list[Document]:
        fields: dict[str, int] = VERSION_FIELDS | {
            f"ix.{name}": 1 for name in fields_of(self.query.includes, type)
        }
        for path, _ in stretch.sort:
            fields[path.partition(".")[0] if path.startswith("k") else path] = 1
        after = stretch.after(type, position, resolver.tenant)
        if stretch.contained:
            plan = await contained.plan(resolver, type, self.query, filters, after)
            return await resolver.run(type, plan, fields, limit, stretch.sort)
        if stretch.keys:
            plan = await resolver.plan(type, filters[type])
            return await _computed(resolver, stretch, type, plan, after, fields, limit)
        plan = await resolver.plan(type, filters[type], _bounded(type, filters[type], stretch.filter | after))
        return await resolver.run(type, plan, fields, limit, stretch.sort)

    async def _included(self, matches: Sequence[Match]) -> tuple[list[Match], list[Issue]]:
        includes = self.query.includes
        if not includes or not matches:
            return [], []
        searcher = self.searcher
        types = {path.type for include in includes for path in include.paths}
        existing = await searcher.existing(self.session) if len(types) > 2 else None
        resolver = searcher.resolver(self.permission, self.session)
        includer = Includer(resolver, includes, searcher._limits, existing)
        await includer.run(matches)
        return includer.found, includer.issues

    async def _versions(self, matches: Sequence[tuple[Stretch, Match]]) -> list[Version]:
        searcher = self.searcher
        if self.query.shown.contained_type == "contained" and any(
            stretch.contained for stretch, _ in matches
        ):
            resolver = searcher.resolver(self.permission, self.session)
            return await contained.versions(resolver, self.query, matches, searcher.version)
        return [searcher.version(*match) for _, match in matches]

    async def _total(self) -> int:
        """The number of matches of all pages. For an estimate over whole collections their size is taken."""
        searcher, query = self.searcher, self.query
        resolver = searcher.resolver(self.permission, self.session)
        total = 0
        if query.shown.contained != "false":
            return await contained.count(resolver, query, await searcher.existing(self.session))
        for type, filter in query.filters:
            if query.shown.total == "estimate" and filter == And() and not self.permission.restriction(type):
                with translated():
                    total += await searcher._home[type].estimated_document_count()
                continue
            plan = await resolver.plan(type, filter)
            total += await resolver.count(type, plan)
        return total

    async def explain(self) -> FoundPage:
        """How the database answers the first page: a Parameters resource. For unrestricted agents only."""
        if self.permission.restrictions or self.permission.masks or self.permission.denied - {AUDIT_TYPE}:
            raise Forbidden("_explain is for operators, who may see everything.", code="explain-forbidden")
        if len(self.query.filters) != 1 or self.query.shown.contained != "false":
            raise BadRequest(
                "_explain is offered for a search of one resource type.", code="explain-one-type"
            )
        resolver = self.searcher.resolver(self.permission, self.session)
        (type, expression), plans = self.query.filters[0], []
        for stretch in stretches(self.query.sort, (type,)):
            after = stretch.after(type, None, resolver.tenant)
            extra = stretch.filter | after
            plan = await resolver.plan(
                type, expression, extra if stretch.keys else _bounded(type, expression, extra)
            )
            stages = [*stretch.keys] if stretch.keys else []
            plans.append(
                await explain.explain(resolver, type, plan, stretch.sort, stages, self.query.shown.count + 1)
            )
        return FoundPage([], [], plan=explain.parameters(type, plans))


def _bounded(type: str, expression: Expression, extra: Filter) -> Filter:
    """`extra`, and where events are read in the order of their time, where to begin and end."""
    return conjunction([extra, sort_bounds(expression)]) if type == AUDIT_TYPE else extra


def _check_hops(filters: Sequence[tuple[str, Expression]], permission: Permission) -> None:
    """Raises Forbidden for a chain or _has over types that the caller may not search."""
    if permission.denied and any(types <= permission.denied for _, each in filters for types in hops(each)):
        raise Forbidden(
            "The search reaches a type that the token does not let you search (a chain, _has or _list).",
            code="scope-insufficient",
            challenge=INSUFFICIENT,
        )


async def _computed(
    resolver: Resolver,
    stretch: Stretch,
    type: str,
    plan: Plan,
    after: Filter,
    fields: dict[str, int],
    limit: int,
) -> list[Document]:
    """Matches in an order whose keys the database computes: it reads all matches, within the time limit."""
    stages = [
        {"$match": plan.filter},
        *plan.stages(),
        *stretch.keys,
        *([{"$match": conjunction([after])}] if after else []),
        {"$sort": dict(stretch.sort)},
        {"$limit": limit},
        {"$project": fields},
    ]
    return await resolver.aggregate(type, stages)


def _name(stretch: Stretch) -> str:
    """What a cursor calls a stretch: alike for all pages of a search, ordered as they are walked by type."""
    if stretch.contained:
        return f"~{stretch.types[0]}/"
    if len(stretch.types) == 1 and stretch.sort[0][0] == "_id":
        return f"{stretch.types[0]}/"
    return "="
