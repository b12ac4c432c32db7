"""The database that the server stands on: connected, checked, migrated, indexed."""

from __future__ import annotations

from fhirserver.http.metrics import Metrics
from fhirserver.settings import Settings
from fhirserver.store import CannotStart, check, connect
from fhirserver.store.audit import check_privileges
from fhirserver.store.client import Client
from fhirserver.store.home import Database, Home
from fhirserver.store.indexes import Collections
from fhirserver.store.migrate import migrate


async def open_storage(settings: Settings, metrics: Metrics) -> tuple[Client, Home]:
    """The client, and where the data lies. Raises CannotStart where the database cannot be used."""
    if settings.mongodb_uri is None:
        raise CannotStart("No MongoDB is configured; `fhirserver serve` starts the embedded one.")
    uri = settings.mongodb_uri.get_secret_value()
    client = connect(uri, on_pool=metrics.on_pool, on_state=metrics.on_mongod)
    await check(client)
    database = client[settings.database]
    await migrate(database)
    home = Home(database, await _audit_database(settings, client))
    await Collections(home).prepare()
    return client, home


async def _audit_database(settings: Settings, client: Client) -> Database | None:
    """The database of the audit log where it is another one, checked. Raises CannotStart."""
    uri, name = settings.audit.mongo_uri, settings.audit.database
    if uri is None:
        return client[name] if name else None
    apart = connect(uri.get_secret_value())
    await check(apart)
    database = apart[name or settings.database]
    await check_privileges(database)
    return database
