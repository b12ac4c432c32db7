"""Who may do what with the audit log in its database: the roles as data, and the check that nobody holds too much.

The server's own user of the log may find and insert. Removing, and making collections and indexes, are the matter of
other users, whose URIs only single commands know. Source: docs/how-to/database-users.md; privileges by
mongodb.com/docs/manual/reference/privilege-actions.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pymongo.errors import OperationFailure

from fhirserver.outcome import OutcomeError
from fhirserver.settings import Settings
from fhirserver.store.client import CannotStart, Client, Document, check, connect, translated
from fhirserver.store.home import AUDIT_EVENTS, AUDIT_TYPE, Database, Home
from fhirserver.store.indexes import Collections
from fhirserver.store.ledger import CHECKPOINTS, TILES, VERIFICATIONS, WRITERS, Ledger

_ANYWHERE = ""  # as a resource's collection: every one of the database
_ROLE_EXISTS = 51002
_CHANGING = frozenset(
    {
        "anyAction",
        "collMod",
        "convertToCapped",
        "createIndex",
        "dropCollection",
        "dropDatabase",
        "remove",
        "renameCollectionSameDB",
        "update",
    }
)  # fmt: skip  - an index may let documents expire
_ANYTHING = frozenset({"applyOps", "grantRole"})  # on whatever resource: whoever may grant roles has them all
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Role:
    """A role in the audit log's database. `about`: for whom. `privileges`: (collection, its actions)."""

    name: str
    about: str
    privileges: tuple[tuple[str, tuple[str, ...]], ...]

    def document(self, database: str) -> Document:
        """What createRole and updateRole take beside the name."""
        found = [
            {"resource": {"db": database, "collection": name}, "actions": list(actions)}
            for name, actions in self.privileges
        ]
        return {"privileges": found, "roles": []}


ROLES = (
    Role(
        "audit_append",
        "the server: records events",
        (
            (AUDIT_EVENTS, ("find", "insert", "listIndexes")),
            (WRITERS, ("find", "insert")),
            (_ANYWHERE, ("listCollections",)),
        ),
    ),
    Role(
        "audit_seal",
        "the server: seals what was recorded, and remembers verifications",
        (
            (AUDIT_EVENTS, ("find", "listIndexes")),
            (WRITERS, ("find", "insert")),
            (CHECKPOINTS, ("find", "insert", "listIndexes")),
            (TILES, ("find", "insert")),
            (VERIFICATIONS, ("find", "insert")),
        ),
    ),
    Role(
        "audit_purge",
        "fhirserver audit purge: removes events whose retention has ended",
        ((AUDIT_EVENTS, ("find", "remove")), (CHECKPOINTS, ("find",))),
    ),
    Role(
        "audit_migrate",
        "fhirserver audit prepare: makes the indexes; neither reads nor changes an event",
        (
            (AUDIT_EVENTS, ("createCollection", "createIndex", "dropIndex", "listIndexes")),
            (CHECKPOINTS, ("createCollection", "createIndex", "dropIndex", "listIndexes")),
            (_ANYWHERE, ("listCollections",)),
        ),
    ),
)
USERS: Mapping[str, tuple[str, ...]] = {
    "audit": ("audit_append", "audit_seal"),
    "audit-purge": ("audit_purge",),
    "audit-migrate": ("audit_migrate",),
}
"""The users that the how-to page makes, and their roles."""


async def create_roles(database: Database) -> None:
    """Create ROLES in the audit log's database, or bring those that are there to these privileges.

    Raises OutcomeError, where the user may not.
    """
    for role in ROLES:
        definition = role.document(database.name)
        with translated():
            try:
                await database.command({"createRole": role.name, **definition})
            except OperationFailure as error:
                if error.code != _ROLE_EXISTS:
                    raise
                await database.command({"updateRole": role.name, **definition})


async def prepare(database: Database) -> None:
    """Make the indexes of the audit log, and so its collections, where they are missing. Raises OutcomeError."""
    await Collections(database).ensure([AUDIT_TYPE])
    await Ledger(database).prepare()


async def audit_home(settings: Settings, client: Client) -> Home:
    """All collections: those of `client`, and the audit log where it has a connection or database of its own.

    Raises CannotStart where its users could change it.
    """
    database = client[settings.database]
    uri, name = settings.audit.mongo_uri, settings.audit.database
    if uri is None:
        return Home(database, client[name] if name else None)
    apart = connect(uri.get_secret_value())
    try:
        await check(apart)
        audit = apart[name or settings.database]
        await _check_users(client, audit)
    except BaseException:
        await apart.close()
        raise
    return Home(database, audit)


async def check_prepared(home: Home) -> None:
    """Prepare the log; a user that may only find and insert must find it prepared. Raises OutcomeError, CannotStart."""
    try:
        await prepare(home.audit)
    except OutcomeError as error:
        if error.issues[0].code != "database-permission":
            raise
        raise CannotStart(
            "Indexes of the audit log are not there, and the user of the audit log's connection may not "
            "make them: run `fhirserver audit prepare` (docs/how-to/database-users.md)."
        ) from error


async def _check_users(client: Client, audit: Database) -> None:
    """Refuse users of this server who could change or remove events. Raises CannotStart.

    `client`: of everything else; its user counts where both reach the same server. A MongoDB without users cannot
    protect its log from those who reach it; that is said in the log.
    """
    privileges = await _privileges(audit)
    if privileges is None:
        _log.warning("the audit database knows no users: whoever reaches it can change it")
        return
    asked = [("FHIRSERVER_AUDIT__MONGO_URI", privileges)]
    if await _process(client) == await _process(audit.client):
        asked.append(("FHIRSERVER_MONGODB_URI", await _privileges(client[audit.name]) or []))
    for setting, held in asked:
        if excess := excess_of(held, audit.name):
            raise CannotStart(
                f"The user of {setting} may change the audit log: it has {', '.join(excess)} on "
                f"{audit.name}.{AUDIT_EVENTS}. docs/how-to/database-users.md says which users to make."
            )


def excess_of(privileges: Iterable[Mapping[str, Any]], database: str) -> list[str]:
    """What of `privileges` (of connectionStatus) would let their holder change events in `database`, sorted."""
    return sorted({
        action
        for privilege in privileges
        for action in privilege["actions"]
        if action in _ANYTHING or (action in _CHANGING and _covers(privilege["resource"], database))
    })  # fmt: skip


async def _privileges(database: Database) -> list[Mapping[str, Any]] | None:
    """What the user of a connection holds, None where nobody has to be a user."""
    with translated():
        status = await database.command({"connectionStatus": 1, "showPrivileges": True})
    info = status["authInfo"]
    return info["authenticatedUserPrivileges"] if info["authenticatedUsers"] else None


async def _process(client: Client) -> Any:
    """What tells the mongod (or mongos) behind a connection from every other one."""
    with translated():
        hello = await client.admin.command("hello")
    return hello["topologyVersion"]["processId"]


def _covers(resource: Mapping[str, Any], database: str) -> bool:
    """Whether a privilege's resource holds the collection of events. Source: mongodb.com/docs, resource documents."""
    if resource.get("anyResource"):
        return True
    return resource.get("db") in ("", database) and resource.get("collection") in ("", AUDIT_EVENTS)
