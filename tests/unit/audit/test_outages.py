"""An outage of the log is told as an alert when it is over, as one sum: audit.md 10 (commit failures, spool mode)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from fhirserver.audit.chain import ATTEMPTS
from fhirserver.audit.disclosure.facts import Fact, fact_of
from fhirserver.audit.parameters import PARAMETERS
from fhirserver.audit.worker import AuditWorker, Surroundings
from fhirserver.outcome import Unavailable
from fhirserver.r4.definitions import Definitions
from fhirserver.settings import Audit, Settings
from fhirserver.store import connect
from fhirserver.store.client import Client
from fhirserver.store.home import Home
from fhirserver.store.indexes import Collections
from fhirserver.store.leases import Leases
from tests.kit.audit import KEY, NOW
from tests.kit.mongo import failing

pytestmark = pytest.mark.anyio
REFUSED = {"errorCode": 20}
TEN_MINUTES = 600_000_000


class Process:
    """The audit of one process on a real database."""

    def __init__(self, client: Client, name: str, **audit: Any) -> None:
        self.now, self.ids = NOW, iter(range(10**6))
        home = Home(client[name])
        self.client, self.collections = client, Collections(home)
        definitions = Definitions.load().with_parameters(PARAMETERS)
        settings = Settings(audit=Audit(**audit))
        on = Surroundings(
            home, Leases(client[name], "me"), definitions, KEY, lambda: self.now, lambda: f"e{next(self.ids)}"
        )
        self.worker = AuditWorker(settings, on)

    async def start(self) -> None:
        await self.collections.ensure(["AuditEvent"])
        await self.worker.start()

    async def alerts(self) -> list[Fact]:
        """Those that have been raised, after another round of the worker."""
        await self.worker._tick(1)
        bodies = await self.worker.log.bodies(await self.worker.log.alerts(0))
        return [fact_of(orjson.loads(raw)) for raw in bodies]


@pytest.fixture
async def client(mongodb_uri: str) -> AsyncIterator[Client]:
    made = connect(mongodb_uri)
    yield made
    await made.close()


async def test_refused_requests_are_told_when_events_are_stored_again(
    client: Client, mongodb_uri: str, database_name: str
) -> None:
    process = Process(client, database_name)
    await process.start()
    worker = process.worker

    async def outage() -> None:
        async with failing(mongodb_uri, "insert", REFUSED, ATTEMPTS):
            with pytest.raises(Unavailable):
                await worker.recorder.record([worker.system.work("reindex", 1)])

    await outage()
    assert worker.recorder.is_failing
    assert worker.recorder.failed_for == 0
    await worker.recorder.record([worker.system.work("reindex", 2)])
    (alert,) = await process.alerts()
    assert (alert.alert, dict(alert.figures)["fault"]) == ("recording", "refused")
    assert int(dict(alert.figures)["seconds"]) >= 1
    await outage()
    await worker.recorder.record([worker.system.work("reindex", 3)])
    assert len(await process.alerts()) == 1  # the next one waits, however often it comes and goes
    process.now += TEN_MINUTES + 1000
    assert len(await process.alerts()) == 2
    assert len(await process.alerts()) == 2


async def test_events_that_waited_in_the_spool_are_told(
    client: Client, mongodb_uri: str, database_name: str, tmp_path: Path
) -> None:
    process = Process(client, database_name, on_failure="spool", spool_dir=tmp_path)
    await process.start()
    worker = process.worker
    async with failing(mongodb_uri, "insert", REFUSED, ATTEMPTS):
        await worker.recorder.record([worker.system.work("reindex", 1)])
    (alert,) = await process.alerts()
    assert dict(alert.figures) == {"fault": "spooled", "events": "2"}  # it, and that recording had stopped
    assert len(await process.alerts()) == 1
