"""The sweeper: events that a write still owes are made up for; processes that ended without a word are told of.

audit.md 4 (writes, start).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from fhirserver.audit.chain import Chain
from fhirserver.audit.record import Bounds, Recorder
from fhirserver.audit.sweep import Sweeper, about_process, lease_name, process_start
from fhirserver.audit.system import SystemEvents, lost_id, stop_id
from fhirserver.context import Agent, Permission, Trace, Version
from fhirserver.outcome import Forbidden
from fhirserver.search.index import Indexer
from fhirserver.store import Store, connect
from fhirserver.store.audit import AuditLog
from fhirserver.store.leases import Leases
from fhirserver.store.owed import OwedVersions
from fhirserver.store.write import DELETE
from tests.kit.audit import BASE, KEY, RECORD, a_builder, patients, references, rest_events, subtypes
from tests.kit.corpus import definitions
from tests.kit.teardown import ended

pytestmark = pytest.mark.anyio
START = 1_772_366_400_000_000
_COUNTER = itertools.count()


@dataclass
class Site:
    store: Store
    log: AuditLog
    sweeper: Sweeper
    recorder: Recorder
    now: int = START

    def permission(self, kind: str) -> Permission:
        trace = Trace({**RECORD, "k": kind}, lambda: f"owed-{next(_COUNTER)}")
        return Permission(Agent("test"), "test", trace=trace)

    async def events(self) -> list[dict[str, Any]]:
        found = await self.log._events.find().sort("_id").to_list()
        return [orjson.loads(event["raw"]) for event in found]


@pytest.fixture
async def site(mongodb_uri: str, database_name: str) -> AsyncIterator[Site]:
    client = connect(mongodb_uri)
    now = [START]
    store = Store.over(
        client,
        database_name,
        tenant="default",
        indexer=Indexer(definitions(), "default", BASE),
        clock=lambda: now[0],
    )
    await store.prepare()
    log = AuditLog(store.database, "default", 2000)
    record = Recorder([Chain(log, KEY, about_process() | {"at": START})], Bounds())
    system = SystemEvents(a_builder(), lambda: now[0])
    leases = Leases(store.database, "sweeper")
    sweeper = Sweeper(
        log, OwedVersions(store.home, "default"), rest_events(), system, record.commit, leases, lambda: now[0] + 60_000_000
    )  # fmt: skip
    yield Site(store, log, sweeper, record)
    await ended(client.close())


def observation(patient: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": f"Patient/{patient}"},
    }


async def put(site: Site, resource: Any, kind: str = "update") -> Version:
    async def change(_: Version | None) -> Any:
        return resource

    method = {"update": "PUT", "delete": "DELETE"}[kind]
    return await site.store.modify(
        "Observation", "o", change, permission=site.permission(kind), method=method
    )


async def test_each_version_owes_an_event_for_each_patient_of_both_sides(site: Site) -> None:
    created = await site.store.create(
        "Observation", "o", observation("a"), permission=site.permission("create")
    )
    moved = await put(site, observation("b"))
    gone = await put(site, DELETE, "delete")
    assert [[patient for _, patient in each.events] for each in (created, moved, gone)] == [
        ["a"],
        ["b", "a"],
        ["b"],
    ]
    assert await site.sweeper.sweep() == 4
    found = await site.events()
    assert {(event["action"], references(event)[0], patients(event)[0]) for event in found} == {
        ("C", "Observation/o/_history/1", "a"),
        ("U", "Observation/o/_history/2", "b"),
        ("U", "Observation/o/_history/2", "a"),
        ("D", "Observation/o/_history/3", "b"),
    }
    assert all("recovered" in subtypes(event) for event in found)
    assert {event["agent"][2]["who"]["reference"] for event in found} == {"Practitioner/42"}


async def test_what_is_stored_already_is_not_made_again(site: Site) -> None:
    version = await site.store.create(
        "Observation", "o", observation("a"), permission=site.permission("create")
    )
    await site.recorder.record(rest_events().of_write({**RECORD, "k": "create"}, version))
    assert await site.sweeper.sweep() == 0
    (event,) = await site.events()
    assert subtypes(event) == ["create"]


async def test_a_late_first_event_and_its_recovered_form_are_one(site: Site) -> None:
    version = await site.store.create(
        "Observation", "o", observation("a"), permission=site.permission("create")
    )
    assert await site.sweeper.sweep() == 1
    await site.recorder.record(rest_events().of_write({**RECORD, "k": "create"}, version))
    assert len(await site.events()) == 1


async def test_young_versions_are_left_to_their_own_process(site: Site) -> None:
    await site.store.create("Observation", "o", observation("a"), permission=site.permission("create"))
    site.sweeper.grace = 120_000_000
    assert await site.sweeper.sweep() == 0
    site.sweeper.grace = 0
    assert await site.sweeper.sweep() == 1


async def test_a_sweep_goes_on_where_the_last_one_ended(site: Site) -> None:
    await site.store.create("Observation", "o", observation("a"), permission=site.permission("create"))
    await site.sweeper.sweep()
    await site.log._events.delete_many({})  # as no one can; what is settled is not looked at for ever
    await site.sweeper.owed.done(START + 10**9)
    assert await site.sweeper.sweep() == 0


async def test_a_rolled_back_write_owes_nothing(site: Site) -> None:
    async def work(bound: Store) -> None:
        await bound.create("Observation", "o", observation("a"), permission=site.permission("create"))
        raise Forbidden("no", code="x")

    with pytest.raises(Forbidden):
        await site.store.transaction(work, types=["Observation"])
    assert await site.sweeper.sweep() == 0
    assert await site.events() == []


async def test_a_process_that_ended_without_a_word_is_told_of_once(site: Site) -> None:
    lost, stopped, elsewhere, running, own = (bytes([n]) * 16 for n in range(1, 6))
    gone = {"host": about_process()["host"], "pid": os.getpid(), "began": "0"}  # this number, another process
    await site.log.register(lost, {**gone, "at": 1})
    await site.log.register(stopped, {**gone, "at": 2})
    await site.log.register(elsewhere, {"host": "another", "pid": 1, "began": "1", "at": 3})
    await site.log.register(running, {"host": "another", "pid": 2, "began": "1", "at": 4})
    await site.log.register(own, about_process() | {"at": 5})
    await site.recorder.record([site.sweeper.system.stopped(stopped)])
    assert await site.sweeper.leases.take(lease_name(running), 60)
    assert await site.sweeper.find_lost() == 2
    assert await site.sweeper.find_lost() == 0
    known = await site.log.known(
        [make(w) for w in (lost, stopped, elsewhere, running, own) for make in (stop_id, lost_id)]
    )
    assert known == {lost_id(lost), stop_id(stopped), lost_id(elsewhere)}


def test_a_process_is_known_by_its_number_and_its_start() -> None:
    assert process_start(os.getpid()) is not None
    assert process_start(2**22 + 1) is None
