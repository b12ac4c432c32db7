"""`fhirserver audit roles` and `prepare`: who may do what with the audit log in its database, and what it must hold."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable

from fhirserver.cli.config import UsageError, load_settings
from fhirserver.cli.terminal import CommandFailed, say
from fhirserver.outcome import OutcomeError
from fhirserver.settings import Settings
from fhirserver.store.audit_access import ROLES, USERS, create_roles, prepare
from fhirserver.store.client import CannotStart, connect
from fhirserver.store.home import Database


def print_or_create_roles(options: argparse.Namespace) -> int:
    """Print the roles as a script for mongosh, or create them."""
    settings = load_settings(options)
    if not options.create:
        say(script(settings))
        return 0
    _as_administrator(settings, create_roles)
    say(f"{', '.join(role.name for role in ROLES)} in {_name(settings)}")
    return 0


def make_indexes(options: argparse.Namespace) -> int:
    """Make what the server's own user of the log may not make."""
    settings = load_settings(options)
    _as_administrator(settings, prepare)
    say(f"the audit log in {_name(settings)} has its indexes")
    return 0


def script(settings: Settings) -> str:
    """Roles and users of the audit log, and the server's user of everything else, for mongosh."""
    name = _name(settings)
    lines = [f"const log = db.getSiblingDB({json.dumps(name)})"]
    for role in ROLES:
        privileges = ",\n".join(f"  {json.dumps(each)}" for each in role.document(name)["privileges"])
        lines.append(f"// {role.about}")
        lines.append(f'log.createRole({{role: "{role.name}", roles: [], privileges: [\n{privileges}]}})')
    for user, roles in USERS.items():
        lines.append(
            f"log.createUser({{user: {json.dumps(user)}, pwd: passwordPrompt(), roles: {json.dumps(roles)}}})"
        )
    lines.append(
        f"// everything but the audit log\ndb.getSiblingDB({json.dumps(settings.database)}).createUser("
        '{user: "fhir", pwd: passwordPrompt(), roles: ["readWrite"]})'
    )
    return "\n".join(lines)


def _name(settings: Settings) -> str:
    name = settings.audit.database
    if not name or name == settings.database:
        raise UsageError(
            "whoever may write to the server's own database can change a log in it: name another one, such as "
            "FHIRSERVER_AUDIT__DATABASE=fhir_audit"
        )
    return name


def _as_administrator(settings: Settings, work: Callable[[Database], Awaitable[None]]) -> None:
    """Do `work` in the log's database as the user of FHIRSERVER_AUDIT__MIGRATE_URI."""
    uri, name = settings.audit.migrate_uri, _name(settings)
    if uri is None:
        raise UsageError("FHIRSERVER_AUDIT__MIGRATE_URI names the user who may do this; it is not set")

    async def call() -> None:
        client = connect(uri.get_secret_value())
        try:
            await work(client[name])
        finally:
            await client.close()

    try:
        asyncio.run(call())
    except (CannotStart, OutcomeError) as problem:
        raise CommandFailed(f"not done: {problem}") from problem
