"""Reading one version. Source: hl7.org/fhir/R4/http.html#read, #vread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhirserver.context import Permission, Version
from fhirserver.outcome import Gone
from fhirserver.store import lanes
from fhirserver.store.client import Document, translated
from fhirserver.store.documents import HISTORY, VERSION_FIELDS, is_id, is_type, key_of, version_of
from fhirserver.store.parts import Parts
from fhirserver.store.restrict import not_found
from fhirserver.store.visible import are_reachable, are_visible, is_behind_visible


async def read(parts: Parts, type: str, id: str, permission: Permission) -> Version:
    """The current version. Raises NotFound, or Gone after a deletion."""
    return _alive(await current(parts, type, id, permission), type, id)


async def current(parts: Parts, type: str, id: str, permission: Permission) -> Version | None:
    """The current version, also a deletion; None where there is none that the permission covers."""
    if not (is_type(type) and is_id(id)):
        return None
    key = key_of(parts.tenant, type, id)
    restriction = parts.restrictions.filter(permission, type)
    if restriction is None:
        document = await lanes.read(parts.lane, type, key)
    else:
        document = await lanes.look(parts.lane, type, key)
        if document is None:
            return None
        version = version_of(document, type, id)
        if version.deleted:  # has no index
            return version if all(await are_visible(parts, [version], permission)) else None
        seen = parts.restrictions.holds(permission, type, id, document.get("ix", {}), lanes.LOOKED)
        if seen is None:
            document = await _find_restricted(parts, type, key, restriction)
        elif not seen:
            return None
    if document is None:
        return None
    version = version_of(document, type, id)
    if permission.behind and not await is_behind_visible(parts, version, permission):
        return None
    return version


async def owners(parts: Parts, type: str, id: str) -> tuple[str, ...] | None:
    """The patients of a stored resource; None where there is none, or a deletion."""
    if not (is_type(type) and is_id(id)):
        return None
    document = await lanes.read(parts.lane, type, key_of(parts.tenant, type, id))
    if document is None or "raw" not in document:
        return None
    return tuple(document.get("pa", ()))


async def vread(parts: Parts, type: str, id: str, vid: int, permission: Permission) -> Version:
    """Version `vid`, current or superseded. Raises NotFound, or Gone where that version is a deletion."""
    if not (is_type(type) and is_id(id)) or vid < 1:
        raise not_found(type, id)
    key = key_of(parts.tenant, type, id)
    document = await lanes.read(parts.lane, type, key)
    if document is not None and document["v"] > vid:
        document = await lanes.read(parts.lane, HISTORY, f"{key}/{vid}")
    if document is None or document["v"] != vid:
        raise not_found(type, id)
    version = version_of(document, type, id)
    if not all(await are_reachable(parts, [version], permission)):
        raise not_found(type, id)
    return _alive(version, type, id)


async def _find_restricted(
    parts: Parts, type: str, key: str, restriction: Mapping[str, Any]
) -> Document | None:
    query = {"$and": [{"_id": key}, restriction]}

    async def find() -> Document | None:
        with translated():
            session = parts.home.session(type, parts.lane.session)
            return await parts.home[type].find_one(query, VERSION_FIELDS, session=session)

    return await parts.alone(find)


def _alive(version: Version | None, type: str, id: str) -> Version:
    if version is None:
        raise not_found(type, id)
    if version.deleted:
        raise Gone(f"This {type} was deleted; its history is still there.", code="resource-deleted")
    return version
