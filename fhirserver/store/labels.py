"""Profiles, tags and security labels in use. Source: hl7.org/fhir/R4/resource-operation-meta.html."""

from __future__ import annotations

from typing import Any

from fhirserver.context import JsonObject, Permission
from fhirserver.search.guard import shows
from fhirserver.store.client import translated
from fhirserver.store.documents import is_type
from fhirserver.store.parts import Parts

_FIELDS = {"profile": "_profile", "tag": "_tag", "security": "_security"}
_MOST = 10_000  # distinct values of one kind in one type


async def labels(parts: Parts, type: str | None, permission: Permission) -> JsonObject:
    """A Meta with each profile, tag and security label of a visible resource of `type` (None: any).

    Of types whose profiles and tags are hidden from the caller, none of them.
    """
    types = [type] if type is not None else await parts.collections.types()
    meta: JsonObject = {}
    for name, field in _FIELDS.items():
        values: set[str] = set()
        for each in filter(is_type, types):
            if permission.masks is not None and not shows(permission.masks.of, each, field):
                continue
            values |= await _distinct(parts, each, f"ix.{field}", permission)
        if values:
            meta[name] = _profiles(values) if name == "profile" else _codings(values)
    return meta


async def _distinct(parts: Parts, type: str, path: str, permission: Permission) -> set[str]:
    match: dict[str, Any] = {"$and": [{"t": parts.tenant}, {path: {"$exists": True}}]}
    if (restriction := parts.restrictions.filter(permission, type)) is not None:
        match["$and"].append(restriction)
    pipeline: list[dict[str, Any]] = [
        {"$match": match},
        {"$unwind": f"${path}"},
        {"$group": {"_id": f"${path}"}},
        {"$limit": _MOST},
    ]

    async def find() -> set[str]:
        with translated():
            session = parts.home.session(type, parts.lane.session)
            cursor = await parts.home[type].aggregate(pipeline, session=session)
            return {row["_id"] for row in await cursor.to_list()}

    return await parts.alone(find)


def _profiles(values: set[str]) -> list[str]:
    """The canonical URLs as they were written: of 'url' and 'url|version', both indexed, the longer."""
    versioned = {value.partition("|")[0] for value in values if "|" in value}
    return sorted(value for value in values if "|" in value or value not in versioned)


def _codings(tokens: set[str]) -> list[JsonObject]:
    """The codings behind tokens: each is indexed as 'system|code' or '|code'."""
    pairs = sorted(tuple(token.rsplit("|", 1)) for token in tokens if "|" in token)
    return [{"system": system, "code": code} if system else {"code": code} for system, code in pairs if code]
