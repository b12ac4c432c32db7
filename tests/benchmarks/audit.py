"""What the audit costs a read, and how fast a large audit log is searched."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path
from random import Random
from typing import Any

from fhirserver.audit.agents import Site
from fhirserver.audit.chain import Chain
from fhirserver.audit.event import EventBuilder
from fhirserver.audit.parameters import PARAMETERS
from fhirserver.audit.recorded import QueryRecorder
from fhirserver.audit.rest import Access, RestEvents
from fhirserver.context import Request, Version
from fhirserver.r4.definitions import Definitions
from fhirserver.search.index import Indexer
from fhirserver.store.audit import AuditLog
from fhirserver.store.client import connect, socket_uri
from fhirserver.store.mongod_home import running_socket
from tests.benchmarks.client import Call, load, request
from tests.benchmarks.figures import figures
from tests.benchmarks.scenarios import Bench, cycle, read_calls

ROUNDS = 5
_DAY = 86_400_000_000
_USERS = 200
_BATCH = 500


def reads_against_unaudited(bench: Bench, other: Bench) -> None:
    """The same reads with the audit and without, in turns, so that noise meets both; medians are kept."""
    for clients in (32, 1):
        ratios: list[float] = []
        added: list[float] = []
        for turn in range(ROUNDS):
            rows = []
            for name, each in (("audited", bench), ("unaudited", other)):
                calls = cycle(read_calls(each))
                load(each.port, calls, clients=clients, seconds=0.3)
                measured = load(each.port, calls, clients=clients, seconds=bench.seconds / 2)
                row = figures(
                    f"read {name} c{clients} {turn + 1}", bench.world.patients, clients, measured, {}
                )[-1]
                rows.append(row)
                bench.rows.append(row)
                bench.tell(row["scenario"], row)
            ratios.append(rows[0]["rate"] / max(1.0, rows[1]["rate"]))
            added.append(rows[0]["p50"] - rows[1]["p50"])
        ratio, more = round(statistics.median(ratios), 3), round(statistics.median(added), 3)
        name = f"audited/unaudited c{clients}"
        bench.rows.append(
            {
                "scenario": name,
                "size": bench.world.patients,
                "kind": "ratio",
                "ratio": ratio,
                "added_p50": more,
            }
        )
        bench.say(
            f"  {clients} clients: audited reads at {ratio:.0%} of the rate without, p50 +{more:.2f} ms"
        )


def searches(bench: Bench, data_dir: Path, events: int) -> None:
    """The compliance officer's searches over `events` stored events of a year, first pages of 100."""
    started = time.perf_counter()
    asyncio.run(_fill(bench, data_dir, events))
    bench.say(f"  {events} events stored in {time.perf_counter() - started:.0f} s")
    rng = Random(bench.world.seed)
    for name, make in _QUERIES.items():
        calls = [
            Call(name, request("GET", f"{bench.base}/AuditEvent?{make(rng)}&_count=100")) for _ in range(50)
        ]
        bench.measure(f"audit search: {name}", cycle(calls), clients=1, seconds=bench.seconds / 2)


def _a_day(rng: Random) -> str:
    return f"2026-{rng.randrange(1, 13):02d}-{rng.randrange(1, 28):02d}"


_QUERIES: dict[str, Any] = {
    "patient and month": lambda rng: (
        f"patient=Patient/p{rng.randrange(20_000)}&date=ge2026-03-01&date=lt2026-04-01&_sort=-date"
    ),
    "user": lambda rng: f"agent=Practitioner/u{rng.randrange(_USERS)}&_sort=-date",
    "app": lambda rng: "agent:identifier=agenda-web&_sort=-date",
    "denied": lambda rng: "denied=true&_sort=-date",
    "denied since": lambda rng: f"denied=true&date=ge{_a_day(rng)}&_sort=-date",
    "document": lambda rng: f"entity=Observation/o{rng.randrange(100_000)}&_sort=-date",
    "one request": lambda rng: f"entity:identifier=r{rng.randrange(100_000)}",
    "break-glass": lambda rng: "purpose=BTG&_sort=-date",
    "address": lambda rng: f"address=203.0.113.{rng.randrange(250)}&_sort=-date",
    "one token": lambda rng: f"policy=urn:ietf:params:oauth:jti:t{rng.randrange(5000)}&_sort=-date",
    "a day": lambda rng: f"date={_a_day(rng)}&_sort=-date",
    "failures of a type": lambda rng: (
        "type=http://dicom.nema.org/resources/ontology/DCM|110114&outcome=4&_sort=-date"
    ),
}


async def _fill(bench: Bench, data_dir: Path, events: int) -> None:
    """Store events by the server's own builder and chain, spread over 2026."""
    root = f"http://127.0.0.1:{bench.port}"
    definitions = Definitions.load().with_parameters(PARAMETERS)
    indexer = Indexer(definitions, "default", f"{root}/fhir")
    serial = iter(range(10**9))
    builder = EventBuilder(
        Site(f"{root}/fhir", root, "127.0.0.1"), "default", indexer, lambda: f"bench-{next(serial)}"
    )
    told = RestEvents(builder, QueryRecorder(b"bench"), lambda version: version.patients or ())
    key = bytes.fromhex((data_dir / "audit" / "ingest.key").read_text().strip())
    client = connect(socket_uri(str(running_socket(data_dir))))
    chain = Chain(AuditLog(client["fhir"], "default", 10_000), key, {"at": 0})
    rng, start = Random(bench.world.seed), 1_767_225_600_000_000  # 2026-01-01
    for at in range(0, events, _BATCH):
        batch = []
        for number in range(at, min(at + _BATCH, events)):
            batch += told.of(_access(rng, number), start + int(number / events * 365 * _DAY))
        await chain.append(batch)
    await client.close()


def _access(rng: Random, number: int) -> Access:
    patient, user = f"p{rng.randrange(20_000)}", rng.randrange(_USERS)
    record = {
        "k": "read", "n": f"user {user}", "c": "agenda-web", "u": f"u{user}", "f": f"Practitioner/u{user}",
        "p": f"urn:ietf:params:oauth:jti:t{rng.randrange(5000)}", "a": f"203.0.113.{user}",
        "g": "BTG" if number % 5000 == 0 else "TREAT", "q": f"r{number}",
    }  # fmt: skip
    version = Version("Observation", f"o{rng.randrange(100_000)}", 1, 0, b"", patients=(patient,))
    return Access(record, Request(f"r{number}"), versions=(version,))
