"""The version of the stored form, and the steps from one to the next.

A new database is born at the newest version: the first step makes it. One process migrates while the others
wait. A database that a newer server has touched is refused: an older one could not know what it must keep.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pymongo.errors import DuplicateKeyError

from fhirserver.store.client import CannotStart, translated
from fhirserver.store.lanes import Database

SERVER = "server"  # collection of what the server itself must remember
STALE = "stale-index"  # document in SERVER: which tenants have made their index anew since a form changed it
_SCHEMA = "schema"
_LEASE_SECONDS = 60
_POLL_SECONDS = 0.2
_WAIT_SECONDS = 600

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Migration:
    """The step that leads to `version`. `apply` must bear being run again after it was cut off half-way."""

    version: int
    name: str
    apply: Callable[[Database], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Step:
    """A migration that was done. `at`: microseconds since 1970."""

    version: int
    name: str
    at: int


async def steps_done(database: Database) -> list[Step]:
    """The migrations that this database has been through, oldest first. Raises Unavailable."""
    with translated():
        schema = await database[SERVER].find_one({"_id": _SCHEMA}, {"steps": 1})
    steps = (schema or {}).get("steps", [])
    return [
        Step(step["version"], step["name"], round(step["at"].timestamp() * 1000) * 1000) for step in steps
    ]


async def _begin(database: Database) -> None:
    """Version 1: the form that documents.py describes; indexes are made by indexes.py."""


async def _canonical_identifiers(database: Database) -> None:
    """Version 2: identifiers, telephone numbers and CEP are indexed in canonical form, too.

    Making the entries of what is stored already takes as long as a reindex, which the start must not wait for:
    they are marked as due. Searches find by the text as written until then.
    """
    names = await database.list_collection_names(filter={"name": {"$regex": "^[A-Z]"}})
    for name in names:
        if await database[name].find_one({}, {"_id": 1}) is not None:
            await database[SERVER].update_one({"_id": STALE}, {"$set": {"since": 2, "done": []}}, upsert=True)
            return


async def _sealed_secrets(_: Database) -> None:
    """Version 3: seeds and signing keys are sealed (store/oauth_sealing.py seals them, which holds the key).

    An older server would take the sealed texts for seeds, so that it must not start on them.
    """


async def stale_index(database: Database, tenant: str) -> bool:
    """Whether resources of a tenant were indexed by an older server, so that a reindex is due."""
    record = await database[SERVER].find_one({"_id": STALE})
    return record is not None and tenant not in record["done"]


MIGRATIONS: tuple[Migration, ...] = (
    Migration(1, "first form", _begin),
    Migration(2, "canonical identifiers", _canonical_identifiers),
    Migration(3, "sealed secrets", _sealed_secrets),
)


async def migrate(database: Database, migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """Bring the database to the newest version of the form, or wait until another process has; returns it.

    Raises CannotStart where the database is newer than this server.
    """
    newest = migrations[-1].version
    holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    async with asyncio.timeout(_WAIT_SECONDS):
        with translated():
            while (version := await _version(database)) < newest:
                if not await _take_lease(database, holder):
                    await asyncio.sleep(_POLL_SECONDS)
                    continue
                try:
                    await _apply(database, migrations, holder)
                finally:
                    await database[SERVER].delete_one({"_id": "lease:migrate", "holder": holder})
    if version > newest:
        raise CannotStart(
            f"The database has the form {version}, but this server knows only {newest}: a newer server "
            "has used it. Start that version again, or restore a backup made before the upgrade."
        )
    return version


async def _version(database: Database) -> int:
    schema = await database[SERVER].find_one({"_id": _SCHEMA})
    return int(schema["version"]) if schema else 0


async def _apply(database: Database, migrations: Sequence[Migration], holder: str) -> None:
    version = await _version(database)
    for step in migrations:
        if step.version <= version:
            continue
        _log.info("migrating the database", extra={"version": step.version, "step": step.name})
        async with asyncio.TaskGroup() as group:
            renewal = group.create_task(_renew_lease(database, holder))
            await step.apply(database)
            renewal.cancel()
        made = {"version": step.version, "name": step.name, "at": datetime.now(UTC)}
        await database[SERVER].update_one(
            {"_id": _SCHEMA}, {"$set": {"version": step.version}, "$push": {"steps": made}}, upsert=True
        )


async def _take_lease(database: Database, holder: str) -> bool:
    now = datetime.now(UTC)
    until = now + timedelta(seconds=_LEASE_SECONDS)
    try:
        await database[SERVER].update_one(
            {"_id": "lease:migrate", "until": {"$lt": now}},
            {"$set": {"holder": holder, "until": until}},
            upsert=True,
        )
    except DuplicateKeyError:  # held by another
        return False
    return True


async def _renew_lease(database: Database, holder: str) -> None:
    while True:
        await asyncio.sleep(_LEASE_SECONDS / 3)
        until = datetime.now(UTC) + timedelta(seconds=_LEASE_SECONDS)
        await database[SERVER].update_one(
            {"_id": "lease:migrate", "holder": holder}, {"$set": {"until": until}}
        )
