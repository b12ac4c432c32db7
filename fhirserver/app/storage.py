"""The database that the server stands on: connected, checked, migrated, indexed."""

from __future__ import annotations

from fhirserver.http.metrics import Metrics
from fhirserver.settings import Settings
from fhirserver.store import CannotStart, check, connect
from fhirserver.store.audit_access import audit_home, check_prepared
from fhirserver.store.client import Client
from fhirserver.store.home import Home
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
    home = await audit_home(settings, client)
    await check_prepared(home)
    await Collections(home).prepare()
    return client, home
