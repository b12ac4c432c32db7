"""`_contained`: searching the resources that live inside of others.

Source: hl7.org/fhir/R4/search.html#contained

The index of contained resources is `cx` of their container: [{type, id, ix}]. The caller's restriction is
that of the container's type. What is inside has no originals of its strings (:exact is folded there) and
cannot be chained widely.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from fhirserver.context import Permission, Version
from fhirserver.outcome import TooCostly
from fhirserver.r4.jsontext import dump_json, parse_json
from fhirserver.search.expression import And, Expression
from fhirserver.search.query import SearchQuery
from fhirserver.store.client import Document
from fhirserver.store.compile import Filter, Place, compile_filter, conjunction, is_local
from fhirserver.store.includes import Match
from fhirserver.store.order import Stretch
from fhirserver.store.resolve import Plan, Resolver


def stretches(types: Iterable[str], permission: Permission) -> list[Stretch]:
    """Containers of every type that the caller may see, by type and id."""
    return [
        Stretch((type,), [("_id", 1)], contained=True)
        for type in sorted(types)
        if type not in permission.denied
    ]


async def plan(
    resolver: Resolver, container: str, query: SearchQuery, filters: dict[str, Expression], after: Filter
) -> Plan:
    """The plan for containers of one type that hold what is searched."""
    inner = [await _inside(resolver, type, expression) for type, expression in filters.items()]
    extra = conjunction([_any_of([{"cx": {"$elemMatch": each}} for each in inner]), after])
    if query.shown.contained == "both" and container in filters:  # those that matched themselves came before
        own = await resolver.plan(container, filters[container])
        extra = conjunction([extra, {"$nor": [own.filter]}])
    return await resolver.plan(container, And(), extra)


async def count(resolver: Resolver, query: SearchQuery, existing: frozenset[str] | None) -> int:
    """The number of containers (and, for "both", of plain matches)."""
    filters = dict(query.filters)
    total = 0
    if query.shown.contained == "both":
        for type, expression in query.filters:
            total += await resolver.count(type, await resolver.plan(type, expression))
    for container in sorted(existing or filters):
        if container not in resolver.permission.denied:
            total += await resolver.count(container, await plan(resolver, container, query, filters, {}))
    return total


async def versions(
    resolver: Resolver,
    query: SearchQuery,
    matches: Sequence[tuple[Stretch, Match]],
    whole: Callable[[str, Document], Version],
) -> list[Version]:
    """The matches, containers replaced by what they contain: the container's type, id "<its id>#<id>"."""
    wanted: dict[str, list[str]] = {}
    for stretch, (type, document) in matches:
        if stretch.contained:
            wanted.setdefault(type, []).append(document["_id"])
    ids: dict[str, list[str]] = {}
    for type, keys in wanted.items():
        for row in await resolver.aggregate(type, await _unwound(resolver, query, keys)):
            ids.setdefault(row["_id"], []).append(row["id"])
    found = []
    for stretch, (type, document) in matches:
        version = whole(type, document)
        if not stretch.contained or version.raw is None:
            found.append(version)
            continue
        inside = {each.get("id"): each for each in parse_json(version.raw).get("contained", ())}
        found += [
            replace(version, id=f"{version.id}#{id}", raw=dump_json(inside[id]))
            for id in ids.get(document["_id"], ())
            if id in inside
        ]
    return found


async def _unwound(resolver: Resolver, query: SearchQuery, keys: list[str]) -> list[Document]:
    inner = [await _inside(resolver, type, expression, "cx.") for type, expression in query.filters]
    return [
        {"$match": {"_id": {"$in": keys}}},
        {"$unwind": "$cx"},
        {"$match": _any_of(inner)},
        {"$project": {"id": "$cx.id"}},
    ]


async def _inside(resolver: Resolver, type: str, expression: Expression, prefix: str = "") -> Filter:
    """What an entry of cx must fulfil; `prefix`: of its fields."""
    wanted = await resolver.resolved(type, expression)
    if not is_local(wanted):
        raise TooCostly(
            "A chain from a contained resource leads to too many resources; narrow it down.",
            code="chain-too-wide",
        )
    place = Place(prefix=f"{prefix}ix.", key=f"{prefix}id", contained=True)
    return conjunction([{f"{prefix}type": type}, compile_filter(wanted, place)])


def _any_of(filters: list[Filter]) -> Filter:
    return filters[0] if len(filters) == 1 else {"$or": filters}
