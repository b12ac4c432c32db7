"""Writing versions: create, and modify as a compare-and-set with the history first.

Source: hl7.org/fhir/R4/http.html#create, #update, #delete, #concurrency.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from enum import Enum
from functools import partial
from typing import Final, TypeAlias

from fhirserver.context import JsonObject, Permission, Version
from fhirserver.outcome import INSUFFICIENT, Conflict, Forbidden
from fhirserver.store import lanes
from fhirserver.store.client import Document, contention
from fhirserver.store.documents import (
    HISTORY,
    Prepared,
    check_id,
    is_type,
    key_of,
    prepare,
    superseded,
    version_of,
)
from fhirserver.store.kept import check_kept, with_own_source
from fhirserver.store.masked import check_marks, check_shown
from fhirserver.store.parts import Parts
from fhirserver.store.restrict import not_found
from fhirserver.store.visible import are_visible


class Deletion(Enum):
    """The type of DELETE, what a change answers to delete the resource."""

    DELETE = "delete"


DELETE: Final = Deletion.DELETE
Change: TypeAlias = Callable[[Version | None], Awaitable[JsonObject | Deletion | None]]

ATTEMPTS = 25
_FIRST_PAUSE = (
    0.002  # seconds; doubles with each lost race, up to _LONGEST_PAUSE, and is drawn at random below that
)
_LONGEST_PAUSE = 0.1


async def create(parts: Parts, type: str, id: str, resource: JsonObject, permission: Permission) -> Version:
    """Store the first version. Raises Conflict where the id was ever used, TooLarge, Forbidden."""
    await _check_target(parts, type, id)
    resource = with_own_source(permission, None, resource)
    new = _prepare(parts, type, id, resource, None, "POST", permission)
    await _check_permitted(parts, new, resource, permission)
    if not await lanes.insert(parts.lane, type, new):
        raise Conflict(
            f"A {type} with this id exists already, or did before it was deleted.", code="id-exists"
        )
    return new.version


async def modify(
    parts: Parts,
    type: str,
    id: str,
    change: Change,
    permission: Permission,
    method: str,
    submitted: JsonObject | None = None,
) -> Version:
    """Replace what is current by what `change` makes of it; see Store.modify."""
    await _check_target(parts, type, id)
    key = key_of(parts.tenant, type, id)
    attempt = partial(_attempt, parts, type, id, change, permission, method, submitted)
    if parts.lane.session is not None:  # a lost race ends the transaction, which is then run again
        if (version := await attempt()) is None:
            raise contention()
        return version
    if not parts.turns.busy(key) and (version := await attempt()) is not None:
        return version
    async with parts.turns.turn(key):
        for turn in range(ATTEMPTS):
            if (version := await attempt()) is not None:
                return version
            pause = min(_FIRST_PAUSE * 2**turn, _LONGEST_PAUSE)
            await asyncio.sleep(random.uniform(0, pause))  # noqa: S311
    raise contention()


async def _attempt(
    parts: Parts,
    type: str,
    id: str,
    change: Change,
    permission: Permission,
    method: str,
    submitted: JsonObject | None,
) -> Version | None:
    """The version after one run of `change`, None when another write came first."""
    key = key_of(parts.tenant, type, id)
    document = await lanes.load(parts.lane, type, key)
    before = version_of(document, type, id) if document else None
    if before is None:  # to create here would tell which ids are taken
        hidden = parts.restrictions.filter(permission, type) is not None
    else:
        hidden = not all(await are_visible(parts, [before], permission))
    if hidden:
        if submitted is not None:  # refused for what it is, whatever is stored under the id
            sent = _prepare(parts, type, id, submitted, None, method, permission)
            await _check_covered(parts, sent, permission)
        raise not_found(type, id)
    if method != "DELETE":
        check_shown(before, permission)
    wanted = await change(before)
    if wanted is None or (wanted is DELETE and (before is None or before.deleted)):
        if before is None:
            raise not_found(type, id)
        return before
    resource = None if isinstance(wanted, Deletion) else with_own_source(permission, before, wanted)
    verb = "DELETE" if resource is None else method
    new = _prepare(parts, type, id, resource, document, verb, permission)
    if resource is not None:
        await _check_permitted(parts, new, resource, permission, before)
    if document is None:
        return new.version if await lanes.insert(parts.lane, type, new) else None
    await lanes.keep(parts.lane, superseded(document, type))
    return new.version if await lanes.replace(parts.lane, type, document["v"], new) else None


def _prepare(
    parts: Parts, type: str, id: str, resource: JsonObject | None, before: Document | None, method: str,
    permission: Permission,
) -> Prepared:  # fmt: skip
    return prepare(
        parts.tenant, type, id, resource,
        before=before, now=parts.clock(), method=method, indexer=parts.indexer, trace=permission.trace,
    )  # fmt: skip


async def _check_target(parts: Parts, type: str, id: str) -> None:
    check_id(id)
    if not is_type(type):
        raise not_found(type, id)
    await parts.collections.ensure((type, HISTORY))


async def _check_permitted(
    parts: Parts, new: Prepared, resource: JsonObject, permission: Permission, before: Version | None = None
) -> None:
    """What an agent writes must be within what it may see, and leave alone what is not its own. Raises Forbidden."""
    check_kept(permission, before, resource)
    check_marks(before, new.version.raw, resource)
    await _check_covered(parts, new, permission)


async def _check_covered(parts: Parts, new: Prepared, permission: Permission) -> None:
    type = new.version.type
    if parts.restrictions.filter(permission, type) is None:
        return
    if not all(await are_visible(parts, [new.version], permission)):
        raise Forbidden(
            f"Your permission does not cover this {type}.", code="outside-permission", challenge=INSUFFICIENT
        )
