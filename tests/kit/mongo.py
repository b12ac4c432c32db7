"""A real MongoDB for tests: one embedded mongod for each pytest worker, a fresh database for each test.

Fixtures (import them into a conftest.py): `mongodb_uri`, `database_name`. FHIRSERVER_TEST_MONGODB_URI names a
replica set to use instead, started with --setParameter enableTestCommands=1.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymongo
import pytest

from fhirserver.store import Mongod, connect


@contextmanager
def running_mongod(folder: Path, options: tuple[str, ...] = ()) -> Iterator[Mongod]:
    """A supervised mongod in `folder`, for any event loop; its supervisor lives in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="mongod", daemon=True)
    thread.start()
    try:
        fail_points = {"enableTestCommands": "1"}
        mongod = Mongod(folder, cache_gb=0.25, parameters=fail_points, options=options)
        asyncio.run_coroutine_threadsafe(mongod.start(), loop).result(60)
        try:
            yield mongod
        finally:
            asyncio.run_coroutine_threadsafe(mongod.stop(), loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@dataclass(frozen=True)
class Guarded:
    """A MongoDB that lets nobody in without a name. Every user's password is its name."""

    plain_uri: str

    def uri(self, user: str, database: str) -> str:
        """The URI for `user` of `database`."""
        found = self.plain_uri.replace("mongodb://", f"mongodb://{user}:{user}@")
        return f"{found}&authSource={database}"

    def add_user(self, user: str, database: str, *roles: str) -> str:
        """Make a user; its URI."""
        with pymongo.MongoClient[dict[str, Any]](self.uri("root", "admin")) as client:
            client[database].command("createUser", user, pwd=user, roles=list(roles))
        return self.uri(user, database)


@contextmanager
def guarded_mongod(folder: Path) -> Iterator[Guarded]:
    """A replica set with authentication (key file and users) in `folder`, with the user root."""
    with running_mongod(folder) as open_one, pymongo.MongoClient[dict[str, Any]](open_one.uri) as client:
        client.admin.command("createUser", "root", pwd="root", roles=["root"])
    key = folder / "key"
    key.write_text(secrets.token_hex(32))
    key.chmod(0o600)
    with running_mongod(folder, ("--auth", "--keyFile", str(key))) as closed_one:
        yield Guarded(closed_one.uri)


@asynccontextmanager
async def failing(uri: str, command: str, how: dict[str, Any], times: int = 1) -> AsyncIterator[None]:
    """The next `times` calls of `command` fail in the database, as its fail point says in `how`."""
    async with connect(uri) as client:
        data = {"failCommands": [command], "appName": "fhirserver", **how}
        await client.admin.command("configureFailPoint", "failCommand", mode={"times": times}, data=data)
        try:
            yield
        finally:
            await client.admin.command("configureFailPoint", "failCommand", mode="off")


@pytest.fixture(scope="session")
def mongodb_uri() -> Iterator[str]:
    """The URI of a replica set for the whole test session of this worker."""
    if given := os.environ.get("FHIRSERVER_TEST_MONGODB_URI"):
        yield given
        return
    folder = Path(tempfile.mkdtemp(prefix="fhirtest-"))  # short: a Unix socket lives in it
    try:
        with running_mongod(folder) as mongod:
            yield mongod.uri
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database_name(mongodb_uri: str) -> Iterator[str]:
    """The name of a database that is not there yet; dropped after the test."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield name
    with pymongo.MongoClient(mongodb_uri, socketTimeoutMS=60_000) as client:
        client.drop_database(name)
