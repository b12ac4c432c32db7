"""What time it is where the database is."""

from __future__ import annotations

from datetime import datetime

from fhirserver.store.client import Client, translated


async def database_time(client: Client) -> int:
    """Microseconds since 1970 by the clock of the primary, whole milliseconds. Raises Unavailable."""
    with translated():
        hello = await client.admin.command("hello")
    told: datetime = hello["localTime"]
    return round(told.timestamp() * 1000) * 1000
