"""What a compliance officer asks is answered from an index: audit.md 9. The same questions as in the benchmark, explained."""

from __future__ import annotations

import itertools
from random import Random

import httpx
import pytest

from fhirserver.app import Application
from fhirserver.audit.agents import Site
from fhirserver.audit.chain import Chain
from fhirserver.audit.event import EventBuilder
from fhirserver.store.audit import AuditLog
from tests.benchmarks.audit_search import QUERIES, Year

pytestmark = pytest.mark.anyio
EVENTS, PAGE = 4000, 10
SCANNED = {
    "one address",
    "one address in a month",
    "failures of a month",
}  # no index: docs/how-to/audit-queries.md


async def test_the_officers_questions_are_answered_from_an_index(application: Application) -> None:
    services, numbers = application.services, itertools.count()
    site = Site("http://127.0.0.1:8000/fhir", "http://127.0.0.1:8000", "127.0.0.1")
    builder = EventBuilder(site, "default", services.indexer, lambda: f"e{next(numbers)}")
    chain = Chain(AuditLog(services.store.home.audit, "default", 10_000), b"k" * 32, {"at": 0})
    year, rng = Year(builder, chain, Random(1), EVENTS), Random(2)
    await chain.append([event for number in range(EVENTS) for event in year.of(number)])
    transport = httpx.ASGITransport(application.asgi)
    looked_at: dict[str, int] = {}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1/fhir") as client:
        for name, make in QUERIES.items():
            url = f"/AuditEvent?{make(rng, EVENTS)}&_count={PAGE}"
            assert (await client.get(url)).status_code == 200
            plan = (await client.get(f"{url}&_explain=true")).json()
            looked_at[name] = sum(
                part["valueInteger"]
                for parameter in plan["parameter"]
                for part in parameter.get("part", ())
                if part["name"] == "docsExamined"
            )
    slow = {name for name, count in looked_at.items() if count > 6 * PAGE}
    assert slow == SCANNED, looked_at
