"""Where each collection lives: everything in one database, AuditEvents perhaps in another.

AuditEvents are resources like any other to those who read and search, but stand in a collection of their own that
nothing updates, if wanted behind a connection of their own whose user may only find and insert. They take no part in
transactions: what a transaction did must be told even where it comes to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.command_cursor import AsyncCommandCursor
from pymongo.asynchronous.database import AsyncDatabase

from fhirserver.outcome import NotSupported
from fhirserver.store.client import Document, translated
from fhirserver.store.documents import is_type

AUDIT_TYPE = "AuditEvent"
AUDIT_EVENTS = "audit_events"
Database = AsyncDatabase[Document]


class Home:
    """The collections of one server, by resource type (or by name, for those that hold no resources).

    `audit`: the database of the AuditEvents where that is another one.
    """

    def __init__(self, database: Database, audit: Database | None = None) -> None:
        self.database = database
        self.audit = audit if audit is not None else database

    def __getitem__(self, name: str) -> AsyncCollection[Document]:
        return self.audit[AUDIT_EVENTS] if name == AUDIT_TYPE else self.database[name]

    def session(self, name: str, session: AsyncClientSession | None) -> AsyncClientSession | None:
        """The session in which `name` is used inside a transaction with `session`."""
        return None if name == AUDIT_TYPE else session

    def joined(self, name: str) -> str:
        """The collection's name for a $lookup. Raises NotSupported where it lies in another database."""
        if name != AUDIT_TYPE:
            return name
        if self.audit is not self.database:
            raise NotSupported(
                "AuditEvents are kept in a database of their own; search them directly, by their own parameters.",
                code="search-across-databases",
            )
        return AUDIT_EVENTS

    async def types(self) -> list[str]:
        """The resource types that have a collection, in order."""
        with translated():
            names = await self.database.list_collection_names()
            kept_apart = self.audit is not self.database
            audited = AUDIT_EVENTS in (await self.audit.list_collection_names() if kept_apart else names)
        return sorted([*filter(is_type, names), *([AUDIT_TYPE] if audited else ())])

    async def aggregate(self, stages: Sequence[Mapping[str, Any]]) -> AsyncCommandCursor[Document]:
        """What a pipeline without a collection gives."""
        return await self.database.aggregate(stages)

    async def explain(self, type: str, command: Mapping[str, Any]) -> Document:
        """How the database would run `command`, a find or aggregate whose first value is put in here."""
        database = self.audit if type == AUDIT_TYPE else self.database
        first = next(iter(command))
        asked = {**command, first: self[type].name}
        return await database.command({"explain": asked, "verbosity": "executionStats"})


def home_of(database: Database | Home) -> Home:
    """The Home in a single database, or the one given."""
    return database if isinstance(database, Home) else Home(database)
