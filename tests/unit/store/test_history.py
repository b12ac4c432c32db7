"""History pages. Source: hl7.org/fhir/R4/http.html#history"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from fhirserver.context import Permission, Version
from fhirserver.outcome import BadRequest, Forbidden, NotFound
from fhirserver.store import DELETE, Store
from fhirserver.store.history import read_cursor, write_cursor
from tests.kit.trace import permitted
from tests.unit.store.conftest import EVERYTHING, Clock, a_patient

pytestmark = pytest.mark.anyio


async def put(store: Store, type: str, id: str, resource: Any) -> Version:
    async def change(_: Version | None) -> Any:
        return resource

    return await store.modify(type, id, change, permission=EVERYTHING, method="PUT")


async def fill(store: Store) -> None:
    """Patient a: 1, 2, deleted 3, 4. Patient b: 1, 2. Encounter e: 1. In the order of time below."""
    await put(store, "Patient", "a", a_patient("one"))
    await put(store, "Patient", "b", a_patient("one"))
    await put(store, "Patient", "a", a_patient("two"))
    await put(store, "Encounter", "e", {"resourceType": "Encounter"})
    await put(store, "Patient", "a", DELETE)
    await put(store, "Patient", "b", a_patient("two"))
    await put(store, "Patient", "a", a_patient("four"))


ALL = [
    "Patient/a/4",
    "Patient/b/2",
    "Patient/a/3",
    "Encounter/e/1",
    "Patient/a/2",
    "Patient/b/1",
    "Patient/a/1",
]


async def pages(
    store: Store, count: int, permission: Permission = EVERYTHING, **question: Any
) -> list[list[str]]:
    found, cursor = [], None
    while True:
        page = await store.history(**question, count=count, cursor=cursor, permission=permission)
        found.append([f"{version.type}/{version.id}/{version.vid}" for version in page.versions])
        cursor = page.next
        if cursor is None:
            return found
        assert len(found) < 50


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ({}, ALL),
        ({"type": "Patient"}, [each for each in ALL if each.startswith("Patient")]),
        ({"type": "Patient", "id": "a"}, ["Patient/a/4", "Patient/a/3", "Patient/a/2", "Patient/a/1"]),
        ({"type": "Encounter"}, ["Encounter/e/1"]),
        ({"type": "Observation"}, []),
    ],
)
@pytest.mark.parametrize("count", [1, 2, 3, 7, 100])
async def test_pages_are_complete_and_newest_first(
    store: Store, question: Any, expected: list[str], count: int
) -> None:
    await fill(store)
    found = await pages(store, count, **question)
    assert [each for page in found for each in page] == expected
    assert all(len(page) == count for page in found[:-1])
    assert found[-1] or not expected, "the last page is not an empty one"


async def test_entries_carry_bytes_verbs_and_deletions(store: Store) -> None:
    await fill(store)
    page = await store.history(type="Patient", id="a", count=10, permission=EVERYTHING)
    assert [version.method for version in page.versions] == ["PUT", "DELETE", "PUT", "PUT"]
    assert [version.deleted for version in page.versions] == [False, True, False, False]
    assert [json.loads(v.raw)["meta"]["versionId"] for v in page.versions if v.raw] == ["4", "2", "1"]
    assert page.total == 4
    assert (await store.history(type="Patient", id="a", count=0, permission=EVERYTHING)).total == 4


async def test_since_includes_the_moment_itself(store: Store) -> None:
    await fill(store)
    moment = (await store.vread("Patient", "a", 2, permission=EVERYTHING)).ts
    assert await pages(store, 2, since=moment) == [ALL[0:2], ALL[2:4], ALL[4:5]]
    assert await pages(store, 100, since=moment + 1) == [ALL[:4]]


async def test_at_finds_what_was_current_within_the_period(store: Store) -> None:
    await fill(store)
    second = (await store.vread("Patient", "a", 2, permission=EVERYTHING)).ts
    third = second + 2000  # the deletion; the encounter came between
    assert await pages(store, 10, at=(second, second + 1)) == [["Patient/a/2", "Patient/b/1"]]
    assert await pages(store, 1, at=(second + 500, third)) == [
        ["Encounter/e/1"],
        ["Patient/a/2"],
        ["Patient/b/1"],
    ]
    assert await pages(store, 10, at=(second - 10_000, second - 9_000)) == [[]]
    assert await pages(store, 10, type="Patient", id="a", at=(third, third + 1)) == [["Patient/a/3"]]
    future = third + 10**9
    assert await pages(store, 10, at=(future, future + 1)) == [
        ["Patient/a/4", "Patient/b/2", "Encounter/e/1"]
    ]


async def test_at_looks_further_when_much_was_replaced(store: Store) -> None:
    await put(store, "Patient", "steady", a_patient())
    for n in range(20):
        await put(store, "Patient", "busy", a_patient(str(n)))
    late = (await store.read("Patient", "busy", permission=EVERYTHING)).ts + 10**6
    found = await pages(store, 2, at=(late, late + 1))
    assert [each for page in found for each in page] == ["Patient/busy/20", "Patient/steady/1"]


async def test_a_version_that_a_crash_left_in_both_places_is_listed_once(store: Store) -> None:
    await fill(store)
    document = await store.database["Patient"].find_one({"_id": "default/Patient/a"}, {"ix": 0, "x": 0})
    assert document is not None
    left = {**document, "_id": f"{document['_id']}/4", "k": document["_id"], "type": "Patient"}
    await store.database["history"].insert_one(left)
    for count in (1, 3, 100):
        assert [each for page in await pages(store, count) for each in page] == ALL


async def test_pages_are_stable_while_others_write(store: Store) -> None:
    await fill(store)
    page = await store.history(count=3, permission=EVERYTHING)
    await put(store, "Patient", "b", a_patient("three"))
    await put(store, "Encounter", "e", {"resourceType": "Encounter", "status": "planned"})
    rest = await store.history(count=10, cursor=page.next, permission=EVERYTHING)
    assert [f"{v.type}/{v.id}/{v.vid}" for v in rest.versions] == ALL[3:]


async def test_history_within_a_transaction_sees_its_writes(store: Store) -> None:
    await fill(store)

    async def work(bound: Store) -> list[list[str]]:
        await put(bound, "Patient", "b", DELETE)
        return await pages(bound, 100)

    assert await store.transaction(work) == [["Patient/b/3", *ALL]]


async def test_an_instance_that_never_was_is_not_found(store: Store) -> None:
    for id in ("missing", "$x", "a/b"):
        with pytest.raises(NotFound):
            await store.history(type="Patient", id=id, count=10, permission=EVERYTHING)


@pytest.mark.parametrize(
    "cursor", ["", "x", "e30", "!!", "W10", "WzEsMiwzXQ", "WyJhIiwgImIiLCAxXQ", "á", "\0", "W" * 10_000]
)
async def test_a_damaged_cursor_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(BadRequest):
        await store.history(count=10, cursor=cursor, permission=EVERYTHING)
    assert read_cursor(write_cursor((5, "k", 2))) == (5, "k", 2)


async def test_type_pages_survive_equal_times(store: Store, clock: Clock) -> None:
    for n in range(10):
        clock.now = 1_772_366_400_000_000
        await put(store, "Patient", f"p{n}", a_patient())
    found = [each for page in await pages(store, 3) for each in page]
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == 10


# A rule in words: what a restriction does not cover does not exist for the agent, in whatever version.

RESTRICTED = permitted("app", restrictions={"Observation": "only of Patient/mine"})  # type: ignore[dict-item]


def only_mine(permission: Permission, type: str) -> dict[str, Any] | None:
    return {"ix.patient": "default/Patient/mine"} if permission.restriction(type) else None


def an_observation(patient: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "subject": {"reference": f"Patient/{patient}"}, **more}


async def test_a_restricted_row_is_missing_in_the_same_words(make_store: Any) -> None:
    async with make_store(compile=only_mine) as store:
        await put(store, "Observation", "theirs", an_observation("other"))
        await put(store, "Observation", "mine", an_observation("mine"))
        assert (await store.read("Observation", "mine", permission=RESTRICTED)).vid == 1
        outcomes = []
        for id in ("theirs", "missing"):
            for call in (
                store.read("Observation", id, permission=RESTRICTED),
                store.vread("Observation", id, 1, permission=RESTRICTED),
                store.history(type="Observation", id=id, count=5, permission=RESTRICTED),
                put_as(store, RESTRICTED, id, None),
            ):
                with pytest.raises(NotFound) as caught:
                    await call
                outcomes.append(caught.value.to_json())
        assert all(outcome == outcomes[0] for outcome in outcomes)
        assert await store.current("Observation", "theirs", permission=RESTRICTED) is None


async def put_as(store: Store, permission: Permission, id: str, resource: Any) -> Version:
    async def change(_: Version | None) -> Any:
        return resource

    return await store.modify("Observation", id, change, permission=permission, method="PUT")


async def test_a_restricted_agent_writes_only_what_it_may_see(make_store: Any) -> None:
    async with make_store(compile=only_mine) as store:
        await put(store, "Observation", "theirs", an_observation("other"))
        await put(store, "Observation", "mine", an_observation("mine"))
        for resource in (an_observation("mine"), DELETE):
            with pytest.raises(NotFound):
                await put_as(store, RESTRICTED, "theirs", resource)
        with pytest.raises(Forbidden):
            await put_as(store, RESTRICTED, "mine", an_observation("other"))
        with pytest.raises(Forbidden):
            await store.create("Observation", "new", an_observation("other"), permission=RESTRICTED)
        assert (await store.read("Observation", "theirs", permission=EVERYTHING)).vid == 1
        assert (await put_as(store, RESTRICTED, "mine", an_observation("mine", status="final"))).vid == 2
        assert (
            await store.create("Observation", "new", an_observation("mine"), permission=RESTRICTED)
        ).vid == 1
        assert (await put_as(store, RESTRICTED, "new", DELETE)).deleted


async def test_history_shows_only_versions_that_were_within_the_restriction(make_store: Any) -> None:
    async with make_store(compile=only_mine) as store:
        await put(store, "Observation", "o", an_observation("other"))  # by mistake on the wrong patient
        await put(store, "Observation", "o", an_observation("mine"))
        await put(store, "Observation", "o", DELETE)
        await put(store, "Observation", "p", an_observation("other"))
        await put(store, "Observation", "p", DELETE)
        await put(store, "Observation", "o", an_observation("mine", status="final"))
        for count in (1, 2, 10):
            for question in ({}, {"type": "Observation"}, {"type": "Observation", "id": "o"}):
                found = [each for page in await pages(store, count, RESTRICTED, **question) for each in page]
                assert found == ["Observation/o/4", "Observation/o/3", "Observation/o/2"]
        with pytest.raises(NotFound):
            await store.vread("Observation", "o", 1, permission=RESTRICTED)
        assert (await store.vread("Observation", "o", 2, permission=RESTRICTED)).vid == 2
        assert len((await pages(store, 100))[0]) == 6, "positive control: without a restriction all are there"


async def test_a_denied_type_does_not_exist(store: Store) -> None:
    await fill(store)
    denied = permitted("app", denied=frozenset({"Patient"}))
    with pytest.raises(NotFound):
        await store.read("Patient", "a", permission=denied)
    with pytest.raises(Forbidden):
        await store.create("Patient", "c", a_patient(), permission=denied)
    assert await pages(store, 10, denied) == [["Encounter/e/1"]]
    await asyncio.gather(store.read("Encounter", "e", permission=denied))


async def test_a_restriction_without_a_compiler_is_never_ignored(store: Store) -> None:
    await put(store, "Observation", "o", an_observation("mine"))
    with pytest.raises(NotImplementedError):
        await store.read("Observation", "o", permission=RESTRICTED)
