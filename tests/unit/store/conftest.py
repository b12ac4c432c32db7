from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from fhirserver.context import Version
from fhirserver.store import Store, connect
from tests.kit.teardown import ended
from tests.kit.trace import permitted

EVERYTHING = permitted("test")


@dataclass
class Fields:
    ix: dict[str, Any] = field(default_factory=dict)
    x: dict[str, Any] = field(default_factory=dict)
    cx: list[Any] = field(default_factory=list)
    geo: dict[str, Any] | None = None


class SmallIndexer:
    """Indexes gender, family names and subject: enough for the store, which only keeps what it is given."""

    def index(self, type: str, resource: dict[str, Any]) -> Fields:
        ix: dict[str, Any] = {}
        if "gender" in resource:
            ix["gender"] = [resource["gender"]]
        if "name" in resource:
            ix["family"] = [name["family"].casefold() for name in resource["name"]]
        if "subject" in resource:
            ix["patient"] = [f"default/{resource['subject']['reference']}"]
        geo = {"type": "Point", "coordinates": [-46.6, -23.5]} if type == "Location" else None
        return Fields(ix, {"family": ["x"]} if "name" in resource else {}, [], geo)


class Clock:
    """Moves on by a millisecond with each look, unless it is set still."""

    def __init__(self, start: int = 1_772_366_400_000_000) -> None:
        self.now = start
        self.step = 1000

    def __call__(self) -> int:
        self.now += self.step
        return self.now


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_store(mongodb_uri: str, database_name: str, clock: Clock) -> Callable[..., Any]:
    """Stores over the test's database, each with a client of its own, as worker processes have."""

    @asynccontextmanager
    async def make(**options: Any) -> AsyncIterator[Store]:
        client = connect(mongodb_uri)
        defaults: dict[str, Any] = {"tenant": "default", "indexer": SmallIndexer(), "clock": clock}
        try:
            store = Store.over(client, database_name, **{**defaults, **options})
            yield store
            await ended(store.close())
        finally:
            await ended(client.close())

    return make


@pytest.fixture
async def store(make_store: Callable[..., Any], anyio_backend: str) -> AsyncIterator[Store]:
    async with make_store() as store:
        yield store


@pytest.fixture
def new_id() -> Callable[[], str]:
    numbers = itertools.count()
    return lambda: f"id-{next(numbers)}"


def a_patient(family: str = "Silva", **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "name": [{"family": family}], **more}


def vids(versions: list[Version]) -> list[int]:
    return [version.vid for version in versions]
