"""All or nothing, one after the other where it matters. Source: hl7.org/fhir/R4/http.html#trules."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from fhirserver.context import Version
from fhirserver.outcome import BadRequest, Conflict, NotFound, OutcomeError, Unprocessable
from fhirserver.store import DELETE, Store
from tests.unit.store.conftest import EVERYTHING, a_patient

pytestmark = pytest.mark.anyio


async def put(store: Store, id: str, resource: Any, type: str = "Patient") -> Version:
    async def change(_: Version | None) -> Any:
        return resource

    return await store.modify(type, id, change, permission=EVERYTHING, method="PUT")


async def documents(store: Store) -> dict[str, int]:
    names = await store.database.list_collection_names()
    return {name: await store.database[name].count_documents({}) for name in names if name != "locks"}


async def test_concurrent_calls_of_a_transaction_are_committed_together_in_few_calls(make_store: Any) -> None:
    async with make_store() as store:
        await store.create("Patient", "old", a_patient(), permission=EVERYTHING)

        async def work(bound: Store) -> list[Version]:
            return await asyncio.gather(
                *(bound.create("Patient", f"p{n}", a_patient(), permission=EVERYTHING) for n in range(200)),
                *(
                    bound.create("Encounter", f"e{n}", {"resourceType": "Encounter"}, permission=EVERYTHING)
                    for n in range(100)
                ),
                put(bound, "old", a_patient("New")),
            )

        versions = await store.transaction(work, types=["Patient", "Encounter"])
        assert len(versions) == 301
        assert await documents(store) == {"Patient": 201, "Encounter": 100, "history": 1}
        assert (await store.read("Patient", "old", permission=EVERYTHING)).vid == 2


async def test_a_failure_leaves_nothing(store: Store) -> None:
    await store.create("Patient", "old", a_patient(), permission=EVERYTHING)

    async def work(bound: Store) -> None:
        await bound.create("Patient", "p1", a_patient(), permission=EVERYTHING)
        await put(bound, "old", DELETE)
        await bound.create("Observation", "o1", {"resourceType": "Observation"}, permission=EVERYTHING)
        assert (await bound.read("Patient", "p1", permission=EVERYTHING)).vid == 1, "it sees its own writes"
        raise Unprocessable("no", code="no")

    with pytest.raises(Unprocessable):
        await store.transaction(work)
    assert await documents(store) == {"Patient": 1, "Observation": 0, "history": 0}
    assert (await store.read("Patient", "old", permission=EVERYTHING)).vid == 1


async def test_others_see_nothing_before_the_commit(store: Store) -> None:
    async def work(bound: Store) -> None:
        await bound.create("Patient", "p1", a_patient(), permission=EVERYTHING)
        with pytest.raises(NotFound):
            await store.read("Patient", "p1", permission=EVERYTHING)

    await store.transaction(work, types=["Patient"])
    assert (await store.read("Patient", "p1", permission=EVERYTHING)).vid == 1


async def test_a_taken_id_fails_the_whole_transaction_once(store: Store) -> None:
    await store.create("Patient", "p1", a_patient(), permission=EVERYTHING)
    runs = 0

    async def work(bound: Store) -> None:
        nonlocal runs
        runs += 1
        await asyncio.gather(
            *(bound.create("Patient", f"p{n}", a_patient(), permission=EVERYTHING) for n in range(3)),
            bound.create("Encounter", "e", {"resourceType": "Encounter"}, permission=EVERYTHING),
        )

    with pytest.raises(Conflict) as caught:
        await store.transaction(work)
    assert caught.value.issues[0].code == "id-exists"
    assert runs <= 2, "it is not repeated, but for collections that it had to make"
    assert await documents(store) == {"Patient": 1, "Encounter": 0, "history": 0}


async def test_a_failure_that_work_hides_is_not_committed(store: Store) -> None:
    await store.create("Patient", "p1", a_patient(), permission=EVERYTHING)

    async def work(bound: Store) -> str:
        await bound.create("Patient", "p2", a_patient(), permission=EVERYTHING)
        with pytest.raises(Conflict):
            await bound.create("Patient", "p1", a_patient(), permission=EVERYTHING)
        with pytest.raises(Conflict):
            await bound.create("Patient", "p3", a_patient(), permission=EVERYTHING)
        return "done"

    with pytest.raises(Conflict):
        await store.transaction(work, types=["Patient"])
    assert (await documents(store))["Patient"] == 1


async def test_transactions_that_change_the_same_resource_lose_no_update(make_store: Any) -> None:
    async with make_store() as one, make_store() as other:
        await one.create("Patient", "p1", a_patient(count=0), permission=EVERYTHING)

        async def work(bound: Store) -> None:
            async def add_one(current: Version | None) -> Any:
                assert current is not None
                resource = json.loads(current.raw or b"")
                return {**resource, "count": resource["count"] + 1}

            await bound.modify("Patient", "p1", add_one, permission=EVERYTHING, method="PUT")

        await asyncio.gather(*(s.transaction(work) for _ in range(5) for s in (one, other)))
        last = await one.read("Patient", "p1", permission=EVERYTHING)
        assert (json.loads(last.raw or b"")["count"], last.vid) == (10, 11)
        assert await one.database["history"].count_documents({}) == 10


@pytest.mark.parametrize("grouped", [False, True])
async def test_a_lost_race_is_run_again_even_if_work_words_it_anew(make_store: Any, grouped: bool) -> None:
    async with make_store() as one, make_store() as other:
        await one.create("Patient", "p1", a_patient(), permission=EVERYTHING)
        runs = 0

        async def work(bound: Store) -> Version:
            nonlocal runs
            runs += 1
            await bound.read("Patient", "p1", permission=EVERYTHING)
            if runs == 1:
                await put(other, "p1", a_patient("Souza"))
            try:
                return await put(bound, "p1", a_patient("Lima"))
            except OutcomeError as error:
                refusal = Unprocessable(issues=error.issues)
                raise (ExceptionGroup("group", [refusal]) if grouped else refusal) from None

        assert (await one.transaction(work)).vid == 3
        assert runs == 2


async def test_of_many_conditional_creates_under_one_lock_one_creates(make_store: Any) -> None:
    async with make_store() as one, make_store() as other:

        async def create_if_none(store: Store, id: str) -> str:
            async def work(bound: Store) -> str:
                await bound.lock("Patient?identifier=123")

                async def find() -> Any:
                    return await bound.database["Patient"].find_one(
                        {"ix.family": "silva"}, session=bound.session
                    )

                if (found := await bound.alone(find)) is not None:
                    return str(found["_id"]).split("/")[-1]
                return (await bound.create("Patient", id, a_patient(), permission=EVERYTHING)).id

            return await store.transaction(work, types=["Patient"])

        ids = await asyncio.gather(
            *(create_if_none(s, f"p{n}-{s is one}") for n in range(50) for s in (one, other))
        )
        assert len(set(ids)) == 1
        assert await one.database["Patient"].count_documents({}) == 1


async def test_transactions_with_the_same_lock_run_one_after_the_other(make_store: Any) -> None:
    """Even from two processes, where only the database stands between them."""
    async with make_store() as one, make_store() as other:
        inside: list[str] = []
        first_is_in, finish = asyncio.Event(), asyncio.Event()

        async def first(bound: Store) -> None:
            await bound.lock("key")
            first_is_in.set()
            await finish.wait()
            await bound.create("Patient", "p1", a_patient(), permission=EVERYTHING)
            inside.append("first")

        async def second(bound: Store) -> None:
            finish.set()
            await bound.lock("key")
            assert (await bound.read("Patient", "p1", permission=EVERYTHING)).vid == 1
            inside.append("second")

        async with asyncio.TaskGroup() as group:
            group.create_task(one.transaction(first, types=["Patient"]))
            await first_is_in.wait()
            group.create_task(other.transaction(second))
        assert inside == ["first", "second"]


async def test_locks_of_different_keys_do_not_wait_for_each_other(store: Store) -> None:
    both = asyncio.Barrier(2)

    async def work(bound: Store, key: str) -> None:
        await bound.lock(key)
        await both.wait()

    async with asyncio.timeout(5):
        await asyncio.gather(
            store.transaction(lambda b: work(b, "a")), store.transaction(lambda b: work(b, "b"))
        )


async def test_a_lock_needs_a_transaction_and_hides_its_key(store: Store) -> None:
    with pytest.raises(RuntimeError):
        await store.lock("x")

    async def work(bound: Store) -> None:
        await bound.lock("Patient?identifier=cpf|12345678909")
        await bound.lock("Patient?identifier=cpf|12345678909")

    await store.transaction(work)
    lock = await store.database["locks"].find_one({})
    assert lock is not None
    assert "12345678909" not in str(lock)


async def test_an_error_of_a_search_within_is_its_callers_alone(store: Store) -> None:
    async def work(bound: Store) -> None:
        async def refuse() -> None:
            raise BadRequest("bad criteria", code="bad")

        with pytest.raises(BadRequest):
            await bound.alone(refuse)
        await bound.create("Patient", "p1", a_patient(), permission=EVERYTHING)

    await store.transaction(work)
    assert (await store.read("Patient", "p1", permission=EVERYTHING)).vid == 1


async def test_a_version_left_in_history_by_a_crash_does_not_hinder_a_transaction(store: Store) -> None:
    """A crash between history and replace leaves the current version in the history too."""
    await store.create("Patient", "p1", a_patient(), permission=EVERYTHING)
    document = await store.database["Patient"].find_one({}, {"ix": 0, "x": 0})
    assert document is not None
    left = {**document, "_id": "default/Patient/p1/1", "k": document["_id"], "type": "Patient"}
    await store.database["history"].insert_one(left)

    async def work(bound: Store) -> None:
        await put(bound, "p1", a_patient("Souza"))

    await store.transaction(work)
    page = await store.history(type="Patient", id="p1", count=10, permission=EVERYTHING)
    assert [version.vid for version in page.versions] == [2, 1]


async def test_a_cancelled_transaction_leaves_nothing(store: Store) -> None:
    inside = asyncio.Event()

    async def work(bound: Store) -> None:
        await bound.lock("key")
        await bound.create("Patient", "p1", a_patient(), permission=EVERYTHING)
        inside.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.transaction(work, types=["Patient"]))
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await documents(store))["Patient"] == 0
    async with asyncio.timeout(5):  # and its lock is free
        await store.transaction(lambda bound: bound.lock("key"))
