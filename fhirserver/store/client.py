"""The connection to MongoDB: how it is made, what it must be, and its errors in the words of outcome.py.

Writes are acknowledged by a majority and journaled, reads see only what a majority holds: nothing that was
answered can be undone by a crash or a failover. Sources: mongodb.com/docs/manual/reference/write-concern,
github.com/mongodb/specifications (retryable writes, transactions).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from bson.errors import BSONError
from pymongo import AsyncMongoClient, MongoClient
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    DocumentTooLarge,
    DuplicateKeyError,
    ExecutionTimeout,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
    WTimeoutError,
)

from fhirserver.outcome import Conflict, Internal, OutcomeError, TooCostly, TooLarge, Unavailable
from fhirserver.store.pool import PoolEvents, PrimaryEvents

Document = dict[str, Any]
Client = AsyncMongoClient[Document]
BlockingClient = MongoClient[Document]

REPLICA_SET = "rs0"
OLDEST_VERSION = (6, 0)
SELECTION_MS = 2000  # how long a call waits for a primary before it is Unavailable
SILENCE_MS = 20_000  # how long a call waits for an answer
CONFIRM_MS = 10_000  # how long a write waits for its majority
LARGEST_DOCUMENT = 16 * 2**20  # a limit of MongoDB

_GUARANTEES: dict[str, Any] = {
    "appname": "fhirserver",
    "w": "majority",
    "journal": True,
    "wTimeoutMS": CONFIRM_MS,
    "readConcernLevel": "majority",
    "readPreference": "primary",
    "retryWrites": True,
    "retryReads": True,
    "socketTimeoutMS": SILENCE_MS,
    "waitQueueTimeoutMS": 10_000,
    "maxIdleTimeMS": 300_000,
    "tz_aware": True,
}

_DUPLICATE_KEY = 11000
_TOO_LARGE = {10334, 17419, 17420, 17280}
_WRITE_CONFLICT = {112, 24, 46}
_NOT_ALLOWED = {13, 18}
_DISK_FULL = 14031
_UNAVAILABLE = {  # not primary, shutting down, stepping down, network: all mend themselves
    6, 7, 89, 91, 134, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436,
}  # fmt: skip

_log = logging.getLogger(__name__)


class CannotStart(Exception):
    """The database cannot be used as it is; the text tells the operator what to do."""


def socket_uri(path: str) -> str:
    """The URI of the embedded MongoDB that listens on the Unix socket `path`."""
    return f"mongodb://{quote(path, safe='')}/?replicaSet={REPLICA_SET}"


def connect(
    uri: str,
    *,
    pool: int = 64,
    selection_ms: int = SELECTION_MS,
    on_pool: Callable[[str], None] | None = None,
    on_state: Callable[[str], None] | None = None,
) -> Client:
    """A client for `uri` with the guarantees that the store rests on, whatever the URI asks for.

    `on_pool`, `on_state`: told what happens to connections and to the primary (see store/pool.py). Nothing is
    sent yet. Raises CannotStart for a URI that cannot be used.
    """
    listeners = [
        *((PoolEvents(on_pool),) if on_pool is not None else ()),
        *((PrimaryEvents(on_state),) if on_state is not None else ()),
    ]
    try:
        return AsyncMongoClient(
            uri,
            serverSelectionTimeoutMS=selection_ms,
            connectTimeoutMS=selection_ms,
            maxPoolSize=pool,
            event_listeners=listeners,
            **_GUARANTEES,
        )
    except (InvalidURI, ConfigurationError, ValueError) as error:
        raise _unusable(error) from error


def connect_blocking(uri: str, *, pool: int = 16) -> BlockingClient:
    """A client with the same guarantees whose calls block: for worker threads, never for the event loop.

    Raises CannotStart for a URI that cannot be used.
    """
    try:
        return MongoClient(
            uri,
            serverSelectionTimeoutMS=SELECTION_MS,
            connectTimeoutMS=SELECTION_MS,
            maxPoolSize=pool,
            connect=False,
            **_GUARANTEES,
        )
    except (InvalidURI, ConfigurationError, ValueError) as error:
        raise _unusable(error) from error


def _unusable(error: Exception) -> CannotStart:
    return CannotStart(
        "The MongoDB URI cannot be used. It has the form "
        f"mongodb://host1,host2/?replicaSet=name ({type(error).__name__})."
    )


async def check(client: Client) -> str:
    """Refuse a database that cannot hold the store's promises; returns its version, such as '6.0.5'.

    Raises CannotStart: unreachable, standalone, older than 6.0, or credentials refused.
    """
    try:
        hello = await client.admin.command("hello")
        build = await client.admin.command("buildInfo")
    except ServerSelectionTimeoutError as error:
        raise CannotStart(
            "MongoDB does not answer, or its replica set has no primary. Check that it runs, that the URI "
            "names its hosts and replica set, and that a replica set of one was initiated (rs.initiate())."
        ) from error
    except OperationFailure as error:
        if error.code not in _NOT_ALLOWED:
            raise
        raise CannotStart("MongoDB refuses the credentials of the URI (FHIRSERVER_MONGODB_URI).") from error
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise CannotStart(
            "This MongoDB is a standalone server; transactions need a replica set. Start mongod with "
            "--replSet rs0, run rs.initiate() once, and add ?replicaSet=rs0 to the URI. One member is enough."
        )
    version: str = build["version"]
    if tuple(int(part) for part in version.split("-")[0].split(".")[:2]) < OLDEST_VERSION:
        raise CannotStart(f"MongoDB {version} is too old; 6.0 or newer is needed.")
    return version


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the driver raises inside into an OutcomeError."""
    try:
        yield
    except (PyMongoError, BSONError, OverflowError) as error:
        raise translate(error) from error


def is_ambiguous(error: Exception) -> bool:
    """True where a write may or may not have been applied, so that sending it again must find that out."""
    return isinstance(error, ConnectionFailure | WTimeoutError | WriteConcernError) and not isinstance(
        error, ServerSelectionTimeoutError
    )


def unavailable(text: str = "The database does not answer now; try again.", code: str = "") -> Unavailable:
    """The error of every call that the database did not answer."""
    return Unavailable(text, code=code or "database-unavailable", retry_after=1)


def translate(error: Exception) -> OutcomeError:
    """The OutcomeError for `error` of the driver. Library texts stay in the log."""
    code = error.code if isinstance(error, OperationFailure) else None
    if isinstance(error, WTimeoutError | WriteConcernError):
        return unavailable(
            "The database could not confirm the write in time; try again.", "write-unconfirmed"
        )
    if isinstance(error, ConnectionFailure) or code in _UNAVAILABLE:
        return unavailable()
    if isinstance(error, DocumentTooLarge) or code in _TOO_LARGE:
        return too_large()
    if isinstance(error, DuplicateKeyError) or code == _DUPLICATE_KEY:
        return Conflict("Another resource with this id exists already.", code="id-exists")
    if isinstance(error, BulkWriteError):
        return translate_write_error(error)
    if isinstance(error, ExecutionTimeout):
        return TooCostly("The database needed longer than allowed for this; narrow it down.", code="too-slow")
    if code in _WRITE_CONFLICT:
        return contention()
    if code == _DISK_FULL:
        _log.error("database out of disk space")
        return unavailable("The server's storage is full.", "storage-full")
    if code in _NOT_ALLOWED:
        _log.error("database refused the operation for lack of a role")
        return Internal("The server is not allowed to do this in its database.", code="database-permission")
    _log.error("database error", extra={"error": type(error).__name__, "code": code})
    return Internal("The database failed in an unexpected way.", code="database-error")


def translate_write_error(error: BulkWriteError) -> OutcomeError:
    """The OutcomeError for the first failed operation of a bulk write."""
    details = error.details or {}
    failed = details.get("writeErrors")
    if failed and not details.get("writeConcernErrors"):
        return translate(OperationFailure("bulk write", failed[0].get("code"), failed[0]))
    return translate(WriteConcernError("bulk write"))


def too_large(size: int = LARGEST_DOCUMENT) -> TooLarge:
    """The error of a resource that MongoDB cannot hold as one document of `size` bytes."""
    return TooLarge(
        f"With its search index the resource would take {size / 2**20:.1f} MB; the database holds at most "
        "16 MB for one resource. Split it, or keep large attachments outside and reference them by URL.",
        code="resource-too-large",
    )


def contention() -> Conflict:
    """The error of a write that lost too many races."""
    return Conflict(
        "Too many others changed the same resources at the same time; try again.",
        code="contention",
        retry_after=1,
    )
