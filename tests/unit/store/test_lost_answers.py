"""Writes whose acknowledgement was lost on the way: they are done once, and their writer is told so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from fhirserver.context import Version
from fhirserver.outcome import Conflict, Unavailable
from fhirserver.store import Store
from tests.kit.mongo import failing
from tests.unit.store.conftest import EVERYTHING, a_patient

pytestmark = pytest.mark.anyio

UNCONFIRMED = {
    "writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}
}  # it is stored
CUT_OFF = {"closeConnection": True}

Fail = Callable[..., AbstractAsyncContextManager[None]]


@pytest.fixture
def fail(mongodb_uri: str) -> Fail:
    def fail(command: str, how: dict[str, Any], times: int = 1) -> AbstractAsyncContextManager[None]:
        return failing(mongodb_uri, command, how, times)

    return fail


async def put(store: Store, id: str, resource: Any) -> Version:
    async def change(_: Version | None) -> Any:
        return resource

    return await store.modify("Patient", id, change, permission=EVERYTHING, method="PUT")


@pytest.mark.parametrize("how", [UNCONFIRMED, CUT_OFF])
async def test_a_create_is_stored_once_and_acknowledged(
    store: Store, fail: Fail, how: dict[str, Any]
) -> None:
    await store.create("Patient", "p0", a_patient(), permission=EVERYTHING)
    async with fail("insert", how):
        created = await asyncio.gather(
            *(store.create("Patient", f"p{n}", a_patient(), permission=EVERYTHING) for n in range(3)),
            return_exceptions=True,
        )
    assert isinstance(created[0], Conflict), "one of another writer is no success"
    for version in created[1:]:
        assert isinstance(version, Version)
        assert (await store.read("Patient", version.id, permission=EVERYTHING)).raw == version.raw


@pytest.mark.parametrize("command", ["insert", "update"])
@pytest.mark.parametrize("how", [UNCONFIRMED, CUT_OFF])
async def test_a_modify_makes_one_version(
    store: Store, fail: Fail, how: dict[str, Any], command: str
) -> None:
    await store.create("Patient", "p", a_patient(), permission=EVERYTHING)
    async with fail(command, how):
        assert (await put(store, "p", a_patient("Souza"))).vid == 2
    page = await store.history(type="Patient", id="p", count=10, permission=EVERYTHING)
    assert [version.vid for version in page.versions] == [2, 1]


@pytest.mark.parametrize("how", [UNCONFIRMED, CUT_OFF])
async def test_a_commit_is_sent_again_until_its_fate_is_known(
    store: Store, fail: Fail, how: dict[str, Any]
) -> None:
    runs = 0

    async def work(bound: Store) -> None:
        nonlocal runs
        runs += 1
        await bound.create("Patient", "p", a_patient(), permission=EVERYTHING)

    async with fail("commitTransaction", how, times=2):
        await store.transaction(work, types=["Patient"])
    assert (await store.read("Patient", "p", permission=EVERYTHING)).vid == 1
    assert runs == 1


async def test_what_stays_unconfirmed_is_unavailable(store: Store, fail: Fail) -> None:
    await store.create("Patient", "p0", a_patient(), permission=EVERYTHING)
    async with fail("insert", UNCONFIRMED, times=10):
        with pytest.raises(Unavailable) as caught:
            await store.create("Patient", "p", a_patient(), permission=EVERYTHING)
    assert caught.value.issues[0].code == "write-unconfirmed"
    assert caught.value.retry_after == 1
