"""Which versions an agent may see where they have no row with search fields: superseded ones and deletions.

The old content is indexed again and the database itself is asked whether it matches the restriction, so that
the rule is the one and only compiled filter. A deletion is as visible as the version that it deleted. Who may
see an old version must be able to see what is current as well: a resource that has moved out of reach takes its
past with it. Source: docs/explanation/access.md
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fhirserver.context import JsonObject, Permission, Version
from fhirserver.r4.jsontext import parse_json
from fhirserver.store import lanes
from fhirserver.store.client import Document, translated
from fhirserver.store.documents import HISTORY, VERSION_FIELDS, is_id, is_type, key_of, version_of
from fhirserver.store.parts import Parts

_LINKS = 3  # security contexts that lead to one another


async def are_visible(
    parts: Parts, versions: Sequence[Version], permission: Permission, links: int = _LINKS
) -> list[bool]:
    """For each version, whether `permission` covers its content."""
    answers = [True] * len(versions)
    for type, places in _by_type(versions).items():
        filter = parts.restrictions.filter(permission, type)
        if filter is None:
            continue
        lived = [await _lived(parts, versions[at]) for at in places]
        rows = [_row(parts, version) for version in lived]
        matched = await parts.restrictions.match(filter, rows)
        for at, version, match in zip(places, lived, matched, strict=True):
            answers[at] = match and await is_behind_visible(parts, version, permission, links)
    return answers


async def are_reachable(parts: Parts, versions: Sequence[Version], permission: Permission) -> list[bool]:
    """For each version, whether `permission` covers its content and that of what is current."""
    answers = await are_visible(parts, versions, permission)
    for type, places in _by_type(versions).items():
        filter = parts.restrictions.filter(permission, type)
        asked = {versions[at].id for at in places if answers[at]}
        if filter is None or not asked:
            continue
        current = await _current(parts, type, sorted(asked))
        visible = await are_visible(parts, current, permission)
        reached = {version.id for version, seen in zip(current, visible, strict=True) if seen}
        for at in places:
            answers[at] = answers[at] and versions[at].id in reached
    return answers


async def is_behind_visible(
    parts: Parts, version: Version, permission: Permission, links: int = _LINKS
) -> bool:
    """True for a resource whose type needs no security context, or whose context is visible now."""
    if version.type not in permission.behind:
        return True
    context = parse_json(version.raw).get("securityContext") if version.raw is not None else None
    target = context.get("reference") if isinstance(context, dict) else None
    type, _, id = target.partition("/") if isinstance(target, str) else ("", "", "")
    if not (is_type(type) and is_id(id)) or links == 0 or type in permission.denied:
        return False
    current = await _current(parts, type, [id])
    if not current or current[0].deleted:
        return False
    return all(await are_visible(parts, current, permission, links - 1))


def row_of(parts: Parts, type: str, id: str, resource: JsonObject) -> Document:
    """The row with search fields that `resource` has or would have."""
    indexed = parts.indexer.index(type, resource)
    row = {"_id": key_of(parts.tenant, type, id), "t": parts.tenant, "ix": indexed.ix, "x": indexed.x}
    return row | ({"cx": indexed.cx} if indexed.cx else {})


def _by_type(versions: Sequence[Version]) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    for at, version in enumerate(versions):
        places.setdefault(version.type, []).append(at)
    return places


async def _current(parts: Parts, type: str, ids: list[str]) -> list[Version]:
    query: dict[str, Any] = {"_id": {"$in": [key_of(parts.tenant, type, id) for id in ids]}}

    async def find() -> list[Document]:
        with translated():
            session = parts.home.session(type, parts.lane.session)
            found = parts.home[type].find(query, VERSION_FIELDS, session=session)
            return await found.to_list()

    return [
        version_of(document, type, document["_id"].rpartition("/")[2]) for document in await parts.alone(find)
    ]


async def _lived(parts: Parts, version: Version) -> Version:
    """The version itself, or the one that it deleted."""
    if not version.deleted:
        return version
    key = key_of(parts.tenant, version.type, version.id)
    document = await lanes.read(parts.lane, HISTORY, f"{key}/{version.vid - 1}")
    return version if document is None else version_of(document, version.type, version.id)


def _row(parts: Parts, version: Version) -> Document:
    if version.raw is None:
        return {"_id": key_of(parts.tenant, version.type, version.id), "t": parts.tenant}
    return row_of(parts, version.type, version.id, parse_json(version.raw))
