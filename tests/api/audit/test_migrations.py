"""A migration of the database is told in the audit log, once, by whichever process starts next."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from fhirserver import __version__
from fhirserver.app import build
from fhirserver.settings import Settings
from fhirserver.store.lanes import Database
from fhirserver.store.migrate import MIGRATIONS, SERVER

pytestmark = pytest.mark.anyio


async def told(database: Database) -> list[dict[str, str]]:
    """The details of the events of software configuration, oldest first."""
    rows = await database["audit_events"].find({"ix.subtype": "110131"}).sort("ts", 1).to_list()
    return [_details(orjson.loads(row["raw"])) for row in rows]


def _details(event: Mapping[str, Any]) -> dict[str, str]:
    assert event["type"]["code"] == "110113"
    (entity,) = event["entity"]
    return {detail["type"]: detail["valueString"] for detail in entity["detail"]}


async def test_migrations_are_recorded_once(mongodb_uri: str, database_name: str, tmp_path: Path) -> None:
    settings = Settings(
        mongodb_uri=SecretStr(mongodb_uri), database=database_name, data_dir=tmp_path, open_mode=True
    )
    newest = MIGRATIONS[-1].version

    async def start() -> list[dict[str, str]]:
        running = await build(settings)
        database = running.services.store.database
        found = await told(database)
        if len(found) == 1:  # as an upgrade would leave it
            step = {"version": newest + 1, "name": "another form", "at": datetime(2026, 5, 4, tzinfo=UTC)}
            await database[SERVER].update_one({"_id": "schema"}, {"$push": {"steps": step}})
        await running.close()
        return found

    (first,) = await start()
    assert (first["from"], first["to"], first["software"]) == ("0", str(newest), __version__)
    first_again, upgrade = await start()
    assert first_again == first
    assert (upgrade["from"], upgrade["to"]) == (str(newest), str(newest + 1))
    assert upgrade["step"] == f"{newest + 1} another form, 2026-05-04T00:00:00.000Z"
    assert await start() == [first, upgrade], "told once"
