"""The committer: durable before the caller goes on, whatever the database answers: audit.md 4."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from fhirserver.audit import ledger
from fhirserver.audit.chain import ATTEMPTS, Chain
from fhirserver.audit.event import Event
from fhirserver.audit.record import Bounds, Recorder
from fhirserver.audit.spool import Spool
from fhirserver.audit.system import SystemEvents
from fhirserver.outcome import Internal, Unavailable
from fhirserver.store import connect
from fhirserver.store.audit import AuditLog
from fhirserver.store.home import AUDIT_EVENTS, Home
from fhirserver.store.indexes import Collections
from tests.kit.audit import KEY, NOW, a_builder, audit_indexer
from tests.kit.mongo import failing
from tests.kit.teardown import ended

pytestmark = pytest.mark.anyio
SYSTEM = SystemEvents(a_builder(), lambda: NOW)
UNCONFIRMED = {"writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}}
REFUSED = {"errorCode": 20}  # IllegalOperation: nothing was done
CUT_OFF = {"closeConnection": True}


def some(count: int = 1) -> list[Event]:
    return [SYSTEM.work("reindex", number) for number in range(count)]


@pytest.fixture
async def log(mongodb_uri: str, database_name: str) -> AsyncIterator[AuditLog]:
    client = connect(mongodb_uri)
    database = client[database_name]
    await Collections(Home(database)).ensure(["AuditEvent"])
    yield AuditLog(database, "default", 2000)
    await ended(client.close())


def recorder(log: AuditLog, **options: Any) -> Recorder:
    bounds = options.pop("bounds", Bounds(5.0))
    alarms = options.pop("alarms", [])
    return Recorder([Chain(log, KEY, {"at": NOW}, alarms.append)], bounds, **options)


async def stored(log: AuditLog) -> list[dict[str, Any]]:
    """All events; each writer's must be one unbroken chain of authentic links."""
    events = await log._events.find().sort({"w": 1, "s": 1}).to_list()
    expected: dict[bytes, tuple[int, bytes]] = {}
    for event in events:
        place, last = expected.get(event["w"], (0, ledger.START))
        assert (event["s"], event["p"]) == (place, last)
        assert event["h"] == ledger.leaf(ledger.entry(event["w"], place, last, event["raw"]))
        assert ledger.is_authentic(KEY, event["h"], event["mac"])
        expected[event["w"]] = place + 1, event["h"]
    registered = {writer["_id"] for writer in await log.writers()}
    assert set(expected) <= registered
    return events


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def ids(events: Sequence[Event]) -> set[str]:
    return {f"default/AuditEvent/{event.id}" for event in events}


async def test_chains_side_by_side_stay_whole_each(log: AuditLog) -> None:
    chains = [Chain(log, KEY, {"at": NOW}) for _ in range(2)]
    record = Recorder(chains, Bounds(5.0))
    batches = [some(1) for _ in range(100)]
    under_way = []
    for batch in batches:
        under_way.append(asyncio.create_task(record.record(batch)))
        await asyncio.sleep(0)  # each comes a moment after the one before, while that one is stored
    await asyncio.gather(*under_way)
    found = await stored(log)
    assert {event["_id"] for event in found} == ids([event for batch in batches for event in batch])
    assert {event["w"] for event in found} == {chain.writer for chain in chains}


async def test_what_waits_together_becomes_one_chain(log: AuditLog) -> None:
    record, batches = recorder(log), [some(1), some(3), some(2)]
    await asyncio.gather(*(record.record(batch) for batch in batches))
    found = await stored(log)
    assert {event["_id"] for event in found} == ids([event for batch in batches for event in batch])
    assert len({event["w"] for event in found}) == 1
    assert set(found[0]) == {"_id", "t", "v", "ts", "m", "raw", "ix", "x", "w", "s", "p", "h", "mac"}


@pytest.mark.parametrize("how", [UNCONFIRMED, CUT_OFF, REFUSED], ids=["unconfirmed", "cut off", "refused"])
async def test_an_insert_that_fails_once_is_stored_once(
    log: AuditLog, mongodb_uri: str, how: dict[str, Any]
) -> None:
    record, events = recorder(log), some(3)
    await record.record(some())
    async with failing(mongodb_uri, "insert", how):
        await record.record(events)
    found = await stored(log)
    assert ids(events) < {event["_id"] for event in found}
    assert len(found) == 4
    assert len({event["w"] for event in found}) == 1


async def test_after_three_failures_callers_are_refused_and_a_new_writer_begins(
    log: AuditLog, mongodb_uri: str
) -> None:
    record, lost, later = recorder(log), some(2), some(1)
    await record.record(some())
    first = record.chains[0].writer
    async with failing(mongodb_uri, "insert", REFUSED, ATTEMPTS):
        with pytest.raises(Unavailable) as refused:
            await record.record(lost)
    assert refused.value.retry_after == 1
    assert record.is_failing
    await record.record(later)
    assert not record.is_failing
    assert record.chains[0].writer != first
    assert record.chains[0].ended == [first]
    found = {event["_id"] for event in await stored(log)}
    assert ids(later) < found
    assert not ids(lost) & found


async def test_an_event_that_another_writer_has_stored_is_left_out_and_the_rest_stored(log: AuditLog) -> None:
    alarms: list[str] = []
    one, other = recorder(log), recorder(log, alarms=alarms)
    events = some(3)
    await one.record([events[1]])
    await other.record(events)
    found = await stored(log)
    assert {event["_id"] for event in found} == ids(events)
    assert alarms == []


async def test_an_id_that_another_event_has_taken_is_an_alarm(log: AuditLog) -> None:
    alarms: list[str] = []
    event = some()[0]
    forged = Event(event.id, event.ts, event.raw.replace(b"reindex", b"rebuild"), event.ix, event.x)
    await recorder(log).record([forged])
    await recorder(log, alarms=alarms).record([event])
    assert alarms == [event.id]
    assert [found["raw"] for found in await stored(log)] == [forged.raw]


async def test_a_caller_that_gives_up_does_not_stop_the_others(log: AuditLog) -> None:
    record, given_up, kept = recorder(log), some(), some()
    await record.record(some())
    tasks = [asyncio.create_task(record.record(events)) for events in (given_up, kept)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await tasks[1]
    assert ids([*given_up, *kept]) < {event["_id"] for event in await stored(log)}
    await record.record(some())


class Stuck(AuditLog):
    """A log that takes nothing until it is let go."""

    def __init__(self, log: AuditLog) -> None:
        self.__dict__ |= log.__dict__
        self.free = asyncio.Event()

    async def append(self, documents: Any) -> bool:
        await self.free.wait()
        return await super().append(documents)


async def test_a_log_that_does_not_answer_in_time_withholds_the_answer_and_takes_the_events_later(
    log: AuditLog,
) -> None:
    stuck = Stuck(log)
    record, events = recorder(stuck, bounds=Bounds(0.05)), some()
    with pytest.raises(Unavailable) as refused:
        await record.record(events)
    assert (refused.value.issues[0].code, refused.value.issues[0].issue_code) == (
        "audit-unavailable",
        "no-store",
    )
    assert record.is_failing
    stuck.free.set()
    await record.drain()
    assert {event["_id"] for event in await stored(log)} == ids(events), (
        "it is told, though nothing was answered"
    )
    assert not record.is_failing


async def test_a_full_queue_refuses_instead_of_dropping(log: AuditLog) -> None:
    stuck = Stuck(log)
    record = recorder(stuck, bounds=Bounds(5.0, events=3))
    waiting = [asyncio.create_task(record.record(some())) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable) as refused:
        await record.record(some())
    assert refused.value.issues[0].issue_code == "throttled"
    stuck.free.set()
    await asyncio.gather(*waiting)
    await record.record(some())
    assert len(await stored(log)) == 4


async def test_the_spool_takes_events_during_an_outage_and_gives_them_back(
    log: AuditLog, mongodb_uri: str, tmp_path: Path
) -> None:
    spool = Spool(tmp_path / "spool", audit_indexer())
    record = recorder(log, keep=spool.keep, on_stop=SYSTEM.recording_stopped)
    during = some(2)
    async with failing(mongodb_uri, "insert", REFUSED, ATTEMPTS):
        await record.record(during[:1])
    await record.record(during[1:])  # still out: nobody waits for the log again
    (file,) = files(tmp_path / "spool")
    assert file.stat().st_mode & 0o077 == 0
    kinds = [orjson.loads(line)["raw"] for line in file.read_bytes().splitlines()]
    assert "110133" in kinds[0]
    assert len(kinds) == 3
    assert await stored(log) == []
    assert await spool.replay(record.commit) == 3
    found = await stored(log)
    assert ids(during) < {event["_id"] for event in found}
    assert spool.is_empty
    spooled = next(event for event in found if event["_id"] in ids(during[:1]))
    assert spooled["ix"] == dict(during[0].ix), "indexed as if it had never waited"
    assert not record.is_failing


async def test_what_a_killed_process_left_in_the_spool_is_replayed_once(
    log: AuditLog, tmp_path: Path
) -> None:
    events = some(2)
    before = Spool(tmp_path, audit_indexer())
    await before.keep(events)
    (file,) = files(tmp_path)
    file.write_bytes(file.read_bytes() + b'{"id":"cut o')
    record, spool = recorder(log), Spool(tmp_path, audit_indexer())
    await record.record(events[:1])  # this one had been stored all the same
    assert spool.left() == 1
    await spool.replay(record.commit)
    assert {event["_id"] for event in await stored(log)} == ids(events)
    assert files(tmp_path) == []


async def test_a_writer_that_the_sealer_refused_is_followed_by_a_new_one(log: AuditLog) -> None:
    record = recorder(log)
    await record.record(some())
    record.chains[0].renew()
    await record.record(some())
    assert len({event["w"] for event in await stored(log)}) == 2


async def test_a_chain_error_that_nothing_explains_is_no_endless_loop(log: AuditLog) -> None:
    class Confused(AuditLog):
        def __init__(self, log: AuditLog) -> None:
            self.__dict__ |= log.__dict__

        async def append(self, documents: Any) -> bool:
            return False

    with pytest.raises(Internal):
        await Chain(Confused(log), KEY, {"at": NOW}).append(some())


async def test_the_collection_has_the_planned_indexes_and_no_wildcard(log: AuditLog) -> None:
    have = await log._events.index_information()
    assert {"ledger", "time", "date", "patient", "agent", "entity", "entity~id", "denied"} <= set(have)
    assert not any("$**" in str(index["key"]) for index in have.values())
    assert log._events.name == AUDIT_EVENTS
