"""How single operations reach the database: in company.

SharedLane gathers what concurrent requests ask of one collection; SessionLane gathers what one transaction
asks, one call at a time, since a session carries only one. Both answer the same questions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError

from fhirserver.outcome import OutcomeError
from fhirserver.store import ops
from fhirserver.store.batcher import Batcher, OnBatch, ignore_batch
from fhirserver.store.client import Document, translate
from fhirserver.store.documents import HISTORY, VERSION_FIELDS, WITHOUT_SEARCH, Prepared
from fhirserver.store.home import Database as Database
from fhirserver.store.home import Home

Run = Callable[[ops.Collection, list[Any], ops.Session], Awaitable[Sequence[Any]]]

# What of the index the restrictions of most permissions speak of: whose it is, and how it is labelled.
LOOKED = ("~Patient", "~Practitioner", "_security")
_LOOKED_AT = VERSION_FIELDS | {f"ix.{field}": 1 for field in LOOKED}
_WORTH_A_LOOK = (
    16  # reads that a further call must bring while another is under way: few large calls cost least
)
_OVERHEAD = 512  # bytes of an operation beside its document


async def _read(collection: ops.Collection, keys: list[str], session: ops.Session) -> Sequence[Any]:
    return await ops.find(collection, keys, VERSION_FIELDS, session)


async def _look(collection: ops.Collection, keys: list[str], session: ops.Session) -> Sequence[Any]:
    return await ops.find(collection, keys, _LOOKED_AT, session)


async def _load(collection: ops.Collection, keys: list[str], session: ops.Session) -> Sequence[Any]:
    return await ops.find(collection, keys, WITHOUT_SEARCH, session)


_RUN: dict[str, Run] = {
    "read": _read,
    "look": _look,
    "load": _load,
    "insert": ops.insert,
    "keep": ops.keep,
    "replace": ops.replace,
}


def _weigh(operation: str, item: Any) -> int:
    if operation == "insert":
        return len(item.raw) + _OVERHEAD
    if operation == "replace":
        return len(item[2].raw) + _OVERHEAD
    return len(item.get("raw", b"")) + _OVERHEAD if operation == "keep" else 0


class Lane(Protocol):
    """The operations that versions are read and written with."""

    @property
    def session(self) -> AsyncClientSession | None:
        """The session of the transaction, None outside of one."""

    async def run(self, operation: str, collection: str, item: Any) -> Any:
        """Do `operation` ("read", "look", "load", "insert", "keep", "replace") with `item`, as ops.py says."""

    async def close(self) -> None:
        """Wait for what is under way."""


async def read(lane: Lane, collection: str, key: str) -> Document | None:
    """What an answer needs of a stored version."""
    found: Document | None = await lane.run("read", collection, key)
    return found


async def look(lane: Lane, collection: str, key: str) -> Document | None:
    """The same of a current version, and what its index holds for the fields LOOKED."""
    found: Document | None = await lane.run("look", collection, key)
    return found


async def load(lane: Lane, collection: str, key: str) -> Document | None:
    """All of a stored version but its search fields."""
    found: Document | None = await lane.run("load", collection, key)
    return found


async def insert(lane: Lane, collection: str, new: Prepared) -> bool:
    """Store a first version; False where its key was taken."""
    done: bool = await lane.run("insert", collection, new.document)
    return done


async def replace(lane: Lane, collection: str, vid: int, new: Prepared) -> bool:
    """Store `new` in the place of version `vid`; False where that is not the current version any more."""
    done: bool = await lane.run("replace", collection, (new.key, vid, new.document))
    return done


async def keep(lane: Lane, document: Document) -> None:
    """Put the history form of a version into the history, where it may be already."""
    await lane.run("keep", HISTORY, document)


class SharedLane:
    """One Batcher for each operation and collection, shared by all requests of the process."""

    session = None

    def __init__(self, home: Home, on_batch: OnBatch = ignore_batch) -> None:
        self._home = home
        self._on_batch = on_batch
        self._batchers: dict[tuple[str, str], Batcher[Any, Any]] = {}

    async def run(self, operation: str, collection: str, item: Any) -> Any:
        """Do `operation` with what other requests ask of the same collection."""
        batcher = self._batchers.get((operation, collection))
        if batcher is None:
            batcher = self._batchers[operation, collection] = self._make(operation, collection)
        return await batcher.submit(item)

    async def close(self) -> None:
        """Wait for what is under way."""
        for batcher in list(self._batchers.values()):
            await batcher.drain()

    def _make(self, operation: str, name: str) -> Batcher[Any, Any]:
        run, collection = _RUN[operation], self._home[name]

        async def flush(items: list[Any]) -> Sequence[Any]:
            return await run(collection, items, None)

        reading = operation in ("read", "look", "load")
        return Batcher(
            operation,
            flush,
            most=200 if reading else 32,  # while one batch of writes waits for the disk, the next is encoded
            weigh=None if reading else lambda item: _weigh(operation, item),
            flights=2 if reading else 3,
            worth=_WORTH_A_LOOK if reading else 1,
            on_batch=self._on_batch,
        )


class SessionLane:
    """All that one transaction asks, in the order of its waves: what waits together makes few calls.

    After a failure every further operation fails with the same error: the database has ended the transaction.
    """

    def __init__(self, home: Home, session: AsyncClientSession, on_batch: OnBatch = ignore_batch) -> None:
        self.session: AsyncClientSession | None = session
        self._home = home
        self.failure: OutcomeError | None = None
        self._batcher: Batcher[tuple[str, str, Any], Any] = Batcher(
            "transaction",
            self._flush,
            most=2000,
            weigh=lambda item: _weigh(item[0], item[2]),
            on_batch=on_batch,
        )

    async def run(self, operation: str, collection: str, item: Any) -> Any:
        """Do `operation` within the transaction."""
        return await self._batcher.submit((operation, collection, item))

    async def close(self) -> None:
        """Wait for what is under way."""
        await self._batcher.drain()

    async def _flush(self, items: list[tuple[str, str, Any]]) -> list[Any]:
        answers: list[Any] = [None] * len(items)
        groups: dict[tuple[str, str], list[int]] = {}
        for at, (operation, collection, _) in enumerate(items):
            groups.setdefault((operation, collection), []).append(at)
        for (operation, collection), places in groups.items():
            found = await self._run_group(operation, collection, [items[at][2] for at in places])
            for at, answer in zip(places, found, strict=True):
                answers[at] = answer
        return answers

    async def _run_group(self, operation: str, collection: str, items: list[Any]) -> Sequence[Any]:
        if self.failure is not None:
            return [self.failure] * len(items)
        if operation == "call":
            return [await self._call(item) for item in items]
        try:
            session = self._home.session(collection, self.session)
            found = await _RUN[operation](self._home[collection], items, session)
        except OutcomeError as error:
            self.failure = error
            raise
        for answer in found:
            if isinstance(answer, OutcomeError):
                self.failure = answer
        return found

    async def _call(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """A search, a count: whatever needs the session for itself. Its errors are its caller's alone."""
        try:
            return await call()
        except OutcomeError as error:
            if isinstance(error.__cause__, PyMongoError):
                self.failure = error
            return error
        except PyMongoError as error:
            self.failure = translate(error)
            self.failure.__cause__ = error
            return self.failure
