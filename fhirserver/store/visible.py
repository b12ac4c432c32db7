"""Which versions an agent may see where they have no row with search fields: superseded ones and deletions.

The old content is indexed again and the database itself is asked whether it matches the restriction, so that
the rule is the one and only compiled filter. A deletion is as visible as the version that it deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fhirserver.context import Permission, Version
from fhirserver.r4.jsontext import parse_json
from fhirserver.store import lanes
from fhirserver.store.documents import HISTORY, key_of, version_of
from fhirserver.store.parts import Parts


async def are_visible(parts: Parts, versions: Sequence[Version], permission: Permission) -> list[bool]:
    """For each version, whether `permission` covers it."""
    answers = [True] * len(versions)
    by_type: dict[str, list[int]] = {}
    for at, version in enumerate(versions):
        by_type.setdefault(version.type, []).append(at)
    for type, places in by_type.items():
        filter = parts.restrictions.filter(permission, type)
        if filter is None:
            continue
        rows = [await _row(parts, versions[at]) for at in places]
        matched = await parts.restrictions.match(filter, rows)
        for at, match in zip(places, matched, strict=True):
            answers[at] = match
    return answers


def row_of(parts: Parts, type: str, id: str, resource: dict[str, Any]) -> dict[str, Any]:
    """The row with search fields that `resource` has or would have."""
    indexed = parts.indexer.index(type, resource)
    row = {"_id": key_of(parts.tenant, type, id), "t": parts.tenant, "ix": indexed.ix, "x": indexed.x}
    return row | ({"cx": indexed.cx} if indexed.cx else {})


async def _row(parts: Parts, version: Version) -> dict[str, Any]:
    key = key_of(parts.tenant, version.type, version.id)
    if version.deleted:
        document = await lanes.read(parts.lane, HISTORY, f"{key}/{version.vid - 1}")
        if document is not None:
            version = replace(version_of(document, version.type, version.id), vid=version.vid)
    if version.raw is None:
        return {"_id": key, "t": parts.tenant}
    return row_of(parts, version.type, version.id, parse_json(version.raw))
