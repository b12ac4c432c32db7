"""Versions by create and modify. Sources: hl7.org/fhir/R4/http.html#create, #update, #concurrency."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from fhirserver.context import Version
from fhirserver.outcome import BadRequest, Conflict, Gone, NotFound, PreconditionFailed, TooLarge
from fhirserver.store import DELETE, Store
from tests.unit.store.conftest import EVERYTHING, Clock, a_patient

pytestmark = pytest.mark.anyio


async def put(store: Store, id: str, resource: Any, type: str = "Patient") -> Version:
    async def change(_: Version | None) -> Any:
        return resource

    return await store.modify(type, id, change, permission=EVERYTHING, method="PUT")


async def test_a_created_resource_is_read_back_byte_for_byte(store: Store) -> None:
    created = await store.create("Patient", "p1", a_patient(), permission=EVERYTHING)
    read = await store.read("Patient", "p1", permission=EVERYTHING)
    assert read.raw == created.raw
    assert (read.vid, read.ts, read.method, created.created) == (1, created.ts, "POST", True)


async def test_id_and_meta_are_stamped_and_placed_first(store: Store) -> None:
    resource = a_patient(
        id="other", meta={"versionId": "9", "lastUpdated": "1999-01-01T00:00:00Z", "tag": [{"code": "t"}]}
    )
    created = await store.create("Patient", "p1", resource, permission=EVERYTHING)
    stamped = json.loads(created.raw or b"")
    assert list(stamped) == ["resourceType", "id", "meta", "name"]
    assert stamped["id"] == "p1"
    assert stamped["meta"] == {
        "versionId": "1",
        "lastUpdated": "2026-03-01T12:00:00.001Z",
        "tag": [{"code": "t"}],
    }
    assert resource["id"] == "other", "the given resource is left as it was"


async def test_a_second_create_of_an_id_is_a_conflict(store: Store) -> None:
    await store.create("Patient", "p1", a_patient(), permission=EVERYTHING)
    with pytest.raises(Conflict) as caught:
        await store.create("Patient", "p1", a_patient("Souza"), permission=EVERYTHING)
    assert caught.value.issues[0].code == "id-exists"
    await store.create("Practitioner", "p1", a_patient(), permission=EVERYTHING)


async def test_of_parallel_creates_of_one_id_exactly_one_wins(make_store: Any) -> None:
    async with make_store() as one, make_store() as other:
        results = await asyncio.gather(
            *(
                s.create("Patient", "p1", a_patient(f"N{n}"), permission=EVERYTHING)
                for n in range(25)
                for s in (one, other)
            ),
            return_exceptions=True,
        )
        won = [result for result in results if isinstance(result, Version)]
        assert len(won) == 1
        assert all(isinstance(result, Conflict) for result in results if result is not won[0])
        assert (await other.read("Patient", "p1", permission=EVERYTHING)).raw == won[0].raw


async def test_parallel_modifies_lose_no_update_and_leave_contiguous_versions(make_store: Any) -> None:
    async with make_store() as one, make_store() as other:
        await one.create("Patient", "p1", a_patient(count=0), permission=EVERYTHING)

        async def add_one(current: Version | None) -> Any:
            assert current is not None
            resource = json.loads(current.raw or b"")
            return {**resource, "count": resource["count"] + 1}

        await asyncio.gather(
            *(
                s.modify("Patient", "p1", add_one, permission=EVERYTHING, method="PUT")
                for _ in range(50)
                for s in (one, other)
            )
        )
        last = await one.read("Patient", "p1", permission=EVERYTHING)
        assert json.loads(last.raw or b"")["count"] == 100
        assert last.vid == 101
        versions = await asyncio.gather(
            *(one.vread("Patient", "p1", n, permission=EVERYTHING) for n in range(1, 102))
        )
        assert [json.loads(version.raw or b"")["count"] for version in versions] == list(range(101))
        times = [version.ts for version in versions]
        assert times == sorted(set(times)), "lastUpdated grows with every version"


async def test_a_deletion_is_a_version_and_can_be_undone(store: Store) -> None:
    await store.create("Patient", "p1", a_patient(), permission=EVERYTHING)
    deleted = await put(store, "p1", DELETE)
    assert (deleted.vid, deleted.deleted, deleted.method, deleted.created) == (2, True, "DELETE", False)
    with pytest.raises(Gone):
        await store.read("Patient", "p1", permission=EVERYTHING)
    with pytest.raises(Gone):
        await store.vread("Patient", "p1", 2, permission=EVERYTHING)
    assert (await store.vread("Patient", "p1", 1, permission=EVERYTHING)).raw
    again = await put(store, "p1", DELETE)
    assert again.vid == 2, "deleting twice changes nothing"
    back = await put(store, "p1", a_patient())
    assert (back.vid, back.created) == (3, True)
    assert (await store.read("Patient", "p1", permission=EVERYTHING)).vid == 3


async def test_a_tombstone_keeps_nothing_that_search_could_find(store: Store) -> None:
    await store.create("Patient", "p1", a_patient(gender="female"), permission=EVERYTHING)
    assert await store.database["Patient"].count_documents({"ix.gender": "female"}) == 1
    await put(store, "p1", DELETE)
    tombstone = await store.database["Patient"].find_one({})
    assert tombstone is not None
    assert set(tombstone) == {"_id", "t", "v", "ts", "m", "del", "pa", "au"}
    kept = await store.database["history"].find_one({})
    assert kept is not None
    assert set(kept) == {"_id", "t", "v", "ts", "m", "raw", "k", "type", "pa", "au"}


async def test_what_change_raises_comes_out_and_nothing_is_written(store: Store) -> None:
    await store.create("Patient", "p1", a_patient(), permission=EVERYTHING)

    async def refuse(_: Version | None) -> Any:
        raise PreconditionFailed("If-Match does not hold", code="version-mismatch")

    with pytest.raises(PreconditionFailed):
        await store.modify("Patient", "p1", refuse, permission=EVERYTHING, method="PUT")
    assert (await store.read("Patient", "p1", permission=EVERYTHING)).vid == 1
    assert await store.database["history"].count_documents({}) == 0


async def test_no_change_returns_what_is_current(store: Store) -> None:
    await store.create("Patient", "p1", a_patient(), permission=EVERYTHING)
    assert (await put(store, "p1", None)).vid == 1
    for nothing in (None, DELETE):
        with pytest.raises(NotFound):
            await put(store, "missing", nothing)


async def test_last_updated_never_goes_back_when_the_clock_does(store: Store, clock: Clock) -> None:
    first = await store.create("Patient", "p1", a_patient(), permission=EVERYTHING)
    clock.now -= 3_600_000_000
    second = await put(store, "p1", a_patient("Souza"))
    assert second.ts == first.ts + 1000
    assert json.loads(second.raw or b"")["meta"]["lastUpdated"] == "2026-03-01T12:00:00.002Z"


async def test_a_resource_over_16_mb_is_refused_alone_in_its_batch(store: Store) -> None:
    small, large = await asyncio.gather(
        store.create("Patient", "small", a_patient(), permission=EVERYTHING),
        store.create("Patient", "large", a_patient("x" * 17 * 2**20), permission=EVERYTHING),
        return_exceptions=True,
    )
    assert isinstance(small, Version)
    assert isinstance(large, TooLarge)
    assert large.issues[0].code == "resource-too-large"
    almost = await store.create("Patient", "almost", a_patient(div="x" * 15 * 2**20), permission=EVERYTHING)
    assert (await put(store, "almost", a_patient())).vid == 2
    assert (await store.vread("Patient", "almost", 1, permission=EVERYTHING)).raw == almost.raw


@pytest.mark.parametrize(
    "id", ["", "a/b", "a b", "$ne", "x" * 65, "á", "a\0", "a\n", '{"$gt":""}', "../../etc"]
)
async def test_a_hostile_id_is_refused_by_writes_and_unknown_to_reads(store: Store, id: str) -> None:
    with pytest.raises(BadRequest):
        await store.create("Patient", id, a_patient(), permission=EVERYTHING)
    with pytest.raises(NotFound):
        await store.read("Patient", id, permission=EVERYTHING)
    with pytest.raises(NotFound):
        await store.vread("Patient", id, 1, permission=EVERYTHING)


@pytest.mark.parametrize("type", ["history", "locks", "system.users", "$cmd", "Pat.ient", "", "Patient\0"])
async def test_a_hostile_type_reaches_no_collection(store: Store, type: str) -> None:
    with pytest.raises(NotFound):
        await store.create(type, "x", {"resourceType": type}, permission=EVERYTHING)
    with pytest.raises(NotFound):
        await store.read(type, "x", permission=EVERYTHING)
    assert await store.database.list_collection_names() == []


async def test_the_longest_and_oddest_legal_ids_are_kept(store: Store) -> None:
    for id in ("x" * 64, "-", ".", "A.b-9"):
        await store.create("Patient", id, a_patient(), permission=EVERYTHING)
        assert (await store.read("Patient", id, permission=EVERYTHING)).id == id


async def test_one_tenant_does_not_see_another(make_store: Any) -> None:
    async with make_store() as one, make_store(tenant="other") as other:
        await one.create("Patient", "p1", a_patient(), permission=EVERYTHING)
        with pytest.raises(NotFound):
            await other.read("Patient", "p1", permission=EVERYTHING)
        await other.create("Patient", "p1", a_patient("Souza"), permission=EVERYTHING)
