"""Transactions: all writes of one piece of work, or none.

The work may run several times (a transaction that lost against another leaves nothing behind), so it must
have no effect but through its Store. Only what the database calls transient is tried again, within bounds of
number and time. Source: github.com/mongodb/specifications/blob/master/source/transactions/transactions.md
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import TypeVar

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import ConnectionFailure, PyMongoError, ServerSelectionTimeoutError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from fhirserver.outcome import OutcomeError
from fhirserver.store.client import CONFIRM_MS, Client, contention, translate, translated, unavailable
from fhirserver.store.indexes import LOCKS
from fhirserver.store.lanes import Database, SessionLane
from fhirserver.store.turns import Turns

T = TypeVar("T")

ATTEMPTS = 20
SECONDS = 10.0
_COMMITS = 5
_FIRST_PAUSE = 0.004
_LONGEST_PAUSE = 0.25
_TRANSIENT = "TransientTransactionError"
_UNKNOWN = "UnknownTransactionCommitResult"
_MAJORITY = WriteConcern(w="majority", j=True, wtimeout=CONFIRM_MS)


class Locks:
    """The locks of one transaction; given back when it ends, whichever way.

    A lock is a write to a document of that key: the database lets two transactions that do so not both
    commit. The turn that is taken first only keeps those of the same process from running into each other.
    """

    def __init__(self, database: Database, session: AsyncClientSession, tenant: str, turns: Turns) -> None:
        self._database = database
        self._session = session
        self._tenant = tenant
        self._turns = turns
        self._held: set[str] = set()
        self._stack = AsyncExitStack()

    def id_of(self, key: str) -> str:
        """What the key is known by: keys name identifiers of persons, which have no business in a lock."""
        digest = hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=20)
        return f"{self._tenant}/{digest.hexdigest()}"

    async def take_turn(self, key: str) -> bool:
        """Wait for the turn of `key`; False where this transaction has the lock already."""
        id = self.id_of(key)
        if id in self._held:
            return False
        self._held.add(id)
        await self._stack.enter_async_context(self._turns.turn(f"lock {id}"))
        return True

    async def write(self, key: str) -> None:
        """Write the lock's document."""
        with translated():
            await self._database[LOCKS].update_one(
                {"_id": self.id_of(key)},
                {"$inc": {"n": 1}, "$set": {"at": datetime.now(UTC)}},
                upsert=True,
                session=self._session,
            )

    async def release(self) -> None:
        """Give all turns back."""
        await self._stack.aclose()


async def run(
    client: Client,
    work: Callable[[SessionLane, Locks], Awaitable[T]],
    make_parts: Callable[[AsyncClientSession], tuple[SessionLane, Locks]],
) -> T:
    """The result of `work`, committed. Raises what work raised, Conflict, Unavailable."""
    deadline = time.monotonic() + SECONDS
    for pause in _pauses():
        try:
            return await _attempt(client, work, make_parts)
        except (OutcomeError, PyMongoError) as error:
            if not is_transient(error):
                raise translate(error) if isinstance(error, PyMongoError) else error from error
            if time.monotonic() + pause > deadline:
                raise _given_up(error) from error
        await asyncio.sleep(pause)
    raise contention()


async def _attempt(
    client: Client,
    work: Callable[[SessionLane, Locks], Awaitable[T]],
    make_parts: Callable[[AsyncClientSession], tuple[SessionLane, Locks]],
) -> T:
    async with client.start_session() as session:
        lane, locks = make_parts(session)
        try:
            await session.start_transaction(read_concern=ReadConcern("snapshot"), write_concern=_MAJORITY)
            try:
                result = await work(lane, locks)
            except (OutcomeError, ExceptionGroup):
                if lane.failure is not None and is_transient(lane.failure):
                    raise lane.failure from lane.failure.__cause__  # work may have put it into other words
                raise
            finally:
                await lane.close()  # the session must be at rest before it commits or aborts
            if lane.failure is not None:  # work swallowed it, the database did not
                raise lane.failure
            await _commit(session)
        finally:
            if session.in_transaction:
                with suppress(PyMongoError):  # then the database ends it by itself
                    await session.abort_transaction()
            await locks.release()
        return result


async def _commit(session: AsyncClientSession) -> None:
    error: PyMongoError | None = None
    for pause in _pauses(_COMMITS):
        try:
            await session.commit_transaction()
        except PyMongoError as failure:
            if not failure.has_error_label(_UNKNOWN):
                raise
            error = failure
        else:
            return
        await asyncio.sleep(pause)
    raise unavailable(
        "The database did not say whether the transaction took effect; look before you send it again.",
        "commit-unknown",
    ) from error


def is_transient(error: BaseException) -> bool:
    """True where the database says that the whole transaction can be run again."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ServerSelectionTimeoutError):
            return False  # it was waited for long enough
        if isinstance(cause, PyMongoError):
            return cause.has_error_label(_TRANSIENT)
        cause = cause.__cause__
    return False


def _given_up(error: BaseException) -> OutcomeError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionFailure):
            return unavailable()
        cause = cause.__cause__
    return contention()


def _pauses(attempts: int = ATTEMPTS) -> Iterator[float]:
    for attempt in range(attempts):
        yield random.uniform(0, min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE))  # noqa: S311
