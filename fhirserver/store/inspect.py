"""What an operator wants to know of the database, in one look; it changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from fhirserver.settings import Settings
from fhirserver.store.audit_access import audit_home
from fhirserver.store.client import CannotStart, check, connect, translated
from fhirserver.store.home import Home
from fhirserver.store.indexes import Collections
from fhirserver.store.keys import KEYS
from fhirserver.store.migrate import stale_index
from fhirserver.store.oauth_sealing import check_proof, proof_id
from fhirserver.store.vault import Vault


@dataclass(frozen=True, slots=True)
class Inspection:
    """The state of a database.

    `missing`: indexes of the plan. `stale`: a reindex is due. `clock_seconds`: its clock less ours. `secrets`: what is
    wrong with the secrets key, empty where it is the database's own.
    """

    version: str
    replica_set: str
    missing: tuple[str, ...]
    stale: bool
    clock_seconds: float
    secrets: str = ""


async def inspect(settings: Settings) -> Inspection:
    """Looks at the database of `settings`, whose URI must be set. Raises CannotStart, Unavailable."""
    if settings.mongodb_uri is None:
        raise ValueError("inspect needs a URI")
    client = connect(settings.mongodb_uri.get_secret_value())
    try:
        version = await check(client)
        home = await audit_home(settings, client)
        try:
            return await _inspected(settings, home, version)
        finally:
            if home.audit.client is not client:
                await home.audit.client.close()
    finally:
        await client.close()


async def _inspected(settings: Settings, home: Home, version: str) -> Inspection:
    database = home.database
    with translated():
        before = datetime.now(UTC)
        hello = await database.client.admin.command("hello")
        here = before + (datetime.now(UTC) - before) / 2
        there = hello["localTime"].replace(tzinfo=UTC)
        new = not await database.list_collection_names()
    missing = () if new else tuple(await Collections(home).missing())
    with translated():
        stale = await stale_index(database, settings.tenant)
        proof = await database[KEYS].find_one({"_id": proof_id(settings.tenant)})
    try:
        check_proof(Vault.of(settings), settings.tenant, proof)
    except CannotStart as problem:
        secrets = str(problem)
    else:
        secrets = ""
    seconds = (there - here).total_seconds()
    return Inspection(version, hello.get("setName", "(sharded)"), missing, stale, seconds, secrets)
