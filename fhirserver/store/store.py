"""The Store: every version of every resource, and the only way to them."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from pymongo.asynchronous.client_session import AsyncClientSession

from fhirserver.context import JsonObject, Permission, Version
from fhirserver.store import history, labels, migrate, read, transaction, write
from fhirserver.store.batcher import OnBatch, ignore_batch
from fhirserver.store.client import Client
from fhirserver.store.documents import HISTORY, Clock, Indexer, system_clock
from fhirserver.store.home import Database, Home
from fhirserver.store.indexes import LOCKS, Collections
from fhirserver.store.lanes import SessionLane, SharedLane
from fhirserver.store.masked import shown
from fhirserver.store.parts import Parts
from fhirserver.store.restrict import Compile, Restrictions, compile_nothing
from fhirserver.store.seen import trace_of
from fhirserver.store.turns import Turns

T = TypeVar("T")


class Store:
    """Versions of resources in one database for one tenant.

    Every call takes the `permission` under which it is made; what that does not cover does not exist for it. A
    permission without an audit context is a fault of the caller (RuntimeError). What of a resource is hidden from the
    caller is not in the versions that are given out; `change` in `modify` sees the whole, and hands it to nobody.
    Errors are OutcomeErrors; Unavailable (with retry_after) while the database does not answer.
    """

    def __init__(self, parts: Parts, client: Client, locks: transaction.Locks | None = None) -> None:
        self._parts = parts
        self._client = client
        self._locks = locks

    @classmethod
    def over(
        cls,
        client: Client,
        database: str,
        *,
        tenant: str,
        indexer: Indexer,
        clock: Clock = system_clock,
        compile: Compile = compile_nothing,
        on_batch: OnBatch = ignore_batch,
        audit: Database | None = None,
    ) -> Store:
        """A Store over the `database` of `client`. `compile`: store/compile.py's compile_restriction.

        `audit`: the database of the AuditEvents where that is another one.
        """
        home = Home(client[database], audit)
        parts = Parts(
            home=home,
            lane=SharedLane(home, on_batch),
            collections=Collections(home),
            restrictions=Restrictions(home, compile),
            indexer=indexer,
            clock=clock,
            tenant=tenant,
            turns=Turns(),
        )
        return cls(parts, client)

    @property
    def database(self) -> Database:
        """The database of everything but, perhaps, the AuditEvents."""
        return self._parts.home.database

    @property
    def home(self) -> Home:
        """The collections, for the other parts of store/."""
        return self._parts.home

    @property
    def collections(self) -> Collections:
        """The collections and their indexes."""
        return self._parts.collections

    @property
    def session(self) -> AsyncClientSession | None:
        """The session of this Store's transaction, None outside of one. Use it only within `alone`."""
        return self._parts.lane.session

    async def alone(self, call: Callable[[], Awaitable[T]]) -> T:
        """The answer of `call`, which uses `session` itself: the rest of the transaction waits."""
        return await self._parts.alone(call)

    async def prepare(self) -> None:
        """Bring the database to this server's form and index plan. Raises CannotStart for a newer one."""
        await migrate.migrate(self._parts.home.database)
        await self._parts.collections.prepare()

    async def missing(self) -> list[str]:
        """The indexes that should be there and are not; empty when all is well. Raises Unavailable."""
        return await self._parts.collections.missing()

    async def close(self) -> None:
        """Wait until everything that was accepted is answered. The client stays open."""
        await self._parts.lane.close()

    async def read(self, type: str, id: str, *, permission: Permission) -> Version:
        """The current version. Raises NotFound, or Gone after a deletion."""
        trace = trace_of(permission)
        version = await read.read(self._parts, type, id, permission)
        trace.seen.append(version)
        return shown(version, permission)

    async def vread(self, type: str, id: str, vid: int, *, permission: Permission) -> Version:
        """Version `vid`. Raises NotFound, or Gone where that version is a deletion."""
        trace = trace_of(permission)
        version = await read.vread(self._parts, type, id, vid, permission)
        trace.seen.append(version)
        return shown(version, permission)

    async def current(self, type: str, id: str, *, permission: Permission) -> Version | None:
        """The current version, also a deletion, or None."""
        trace = trace_of(permission)
        version = await read.current(self._parts, type, id, permission)
        if version is None:
            return None
        trace.seen.append(version)
        return shown(version, permission)

    async def create(self, type: str, id: str, resource: JsonObject, *, permission: Permission) -> Version:
        """Store the first version of a resource; stamps id and meta.

        Raises Conflict where the id was ever used, TooLarge, BadRequest for an id that R4 does not allow,
        Forbidden where the permission does not cover what is written.
        """
        trace = trace_of(permission)
        version = await write.create(self._parts, type, id, resource, permission)
        trace.seen.append(version)
        return shown(version, permission)

    async def modify(
        self,
        type: str,
        id: str,
        change: write.Change,
        *,
        permission: Permission,
        method: str,
        submitted: JsonObject | None = None,
    ) -> Version:
        """Store what `change` makes of the current version, as a compare-and-set.

        `change` gets the current version (perhaps a deletion, None where there is none) and answers the new
        resource, DELETE, or None to leave things as they are; then what is current is returned. It runs again
        when another write came first, so it must have no effect of its own and must not modify the same
        resource. `method`: the verb to record. `submitted`: the resource as it was sent, where it is all sent: one that
        the permission does not cover is refused (Forbidden) whatever is stored. Raises what change raises, NotFound
        where nothing is there to leave or delete, Conflict after too many lost races.
        """
        trace = trace_of(permission)
        version = await write.modify(self._parts, type, id, change, permission, method, submitted)
        trace.seen.append(version)
        return shown(version, permission)

    async def history(
        self,
        *,
        type: str | None = None,
        id: str | None = None,
        since: int | None = None,
        at: tuple[int, int] | None = None,
        count: int,
        cursor: str | None = None,
        permission: Permission,
    ) -> history.HistoryPage:
        """One page of the versions of an instance, a type, or the system, newest first, deletions included.

        `since`, `at`: see history.Question. `cursor`: `next` of the page before. Raises NotFound for an
        instance that never was, BadRequest for a damaged cursor.
        """
        trace = trace_of(permission)
        question = history.Question(type, id, since, at)
        page = await history.history(self._parts, question, count=count, cursor=cursor, permission=permission)
        trace.seen.extend(page.versions)
        if permission.masks is None:
            return page
        return dataclasses.replace(page, versions=tuple(shown(each, permission) for each in page.versions))

    async def owners(self, type: str, id: str) -> tuple[str, ...] | None:
        """The patients of what is stored under this id, none too; None where there is nothing or only a deletion.

        For the audit of requests that were given nothing: it gives out no resource and asks for no permission.
        """
        return await read.owners(self._parts, type, id)

    async def labels(self, type: str | None = None, *, permission: Permission) -> JsonObject:
        """A Meta with every profile, tag and security label in use, in `type` or anywhere."""
        trace_of(permission)
        return await labels.labels(self._parts, type, permission)

    async def transaction(self, work: Callable[[Store], Awaitable[T]], *, types: Iterable[str] = ()) -> T:
        """The result of `work`, all of whose writes take effect together or not at all.

        `work` gets a Store of its own and may run more than once. Its concurrent calls travel together.
        `types`: the types it may write, so that their collections are made before it begins (a collection
        that is made while it runs costs it a second run). Raises what work raises, Conflict(contention),
        Unavailable.
        """
        if self._parts.lane.session is not None:
            raise RuntimeError("a transaction cannot hold another one")
        await self._parts.collections.ensure([LOCKS, HISTORY, *types])

        def bind(session: AsyncClientSession) -> tuple[SessionLane, transaction.Locks]:
            lane = SessionLane(self._parts.home, session)
            return lane, transaction.Locks(
                self._parts.home.database, session, self._parts.tenant, self._parts.turns
            )

        async def do(lane: SessionLane, locks: transaction.Locks) -> T:
            return await work(Store(dataclasses.replace(self._parts, lane=lane), self._client, locks))

        return await transaction.run(self._client, do, bind)

    async def lock(self, key: str) -> None:
        """Inside a transaction: of all transactions with this `key`, one runs to its end at a time.

        Take it before anything else; what was read earlier may be out of date then (and cost another run).
        """
        locks = self._locks
        if locks is None:
            raise RuntimeError("a lock needs a transaction to hold it")
        if await locks.take_turn(key):
            await self._parts.alone(lambda: locks.write(key))
