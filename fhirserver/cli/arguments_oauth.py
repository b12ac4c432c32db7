"""The arguments of `users`, `clients` and `keys`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
    Add = Callable[..., argparse.ArgumentParser]
    Database = Callable[[argparse.ArgumentParser], None]

_ROLES = """\
roles: admin, manager, practitioner, reception, billing, auditor, custodian, patient (see docs/how-to/users.md).
admin, manager, practitioner, auditor and custodian sign in with a second factor, which is set up at the first sign-in."""

_SECRETS = """\
Second factors and signing keys are encrypted in the database (see docs/how-to/secrets.md). Running servers take the
new key up by themselves. Where several machines use one database: put the new key (64 hex digits) into the second
line of the file on each of them, then swap the lines on each, then run this with --file-is-ready."""


def add_oauth_commands(commands: Commands, add: Add, database: Database) -> None:
    """Adds the three commands. `add` makes a command's parser, `database` gives it the database arguments."""
    _users(commands, add, database)
    _clients(commands, add, database)
    keys = add(
        commands,
        "keys",
        "the keys that sign id_tokens, and the one that encrypts secrets",
        "fhirserver keys rotate",
    )
    actions = _actions(keys)
    for name, text in (("list", "list the published keys"), ("rotate", "make a new signing key")):
        database(add(actions, name, text, f"fhirserver keys {name}"))
    anew = add(
        actions, "rotate-secrets", "make a new key for secrets in the database, and encrypt them anew",
        "fhirserver keys rotate-secrets", _SECRETS,
    )  # fmt: skip
    anew.add_argument(
        "--file-is-ready", action="store_true", help="the key file begins with the new key already"
    )
    database(anew)
    lost = add(
        actions, "give-up-secrets", "start over where the secrets key is lost",
        "fhirserver keys give-up-secrets --yes",
        "Drops what nobody can read any more: second factors (each user sets up a new one, within a week), signing\n"
        "keys (new ones are made) and sign-ins. Accounts, passwords and grants stay.",
    )  # fmt: skip
    lost.add_argument("--yes", action="store_true", help="do it; without it nothing is done")
    database(lost)


def _actions(parser: argparse.ArgumentParser) -> Commands:
    return parser.add_subparsers(dest="action", metavar="ACTION", required=True)


def _users(commands: Commands, add: Add, database: Database) -> None:
    users = add(
        commands, "users", "manage the people who sign in", "fhirserver users add maria --role reception",
        f"Manages the people who sign in. There are none at first: make an admin.\n\n{_ROLES}",
    )  # fmt: skip
    actions = _actions(users)
    made = add(
        actions, "add", "add a user", "fhirserver users add dr.ana --role practitioner --fhir-user Practitioner/42",
        f"Adds a user. A password is made and printed, unless one is given.\n\n{_ROLES}",
    )  # fmt: skip
    made.add_argument("name", help="user name: letters, digits, dots; case does not matter; no CPF")
    made.add_argument("--display", default="", metavar="TEXT", help="name to show, such as 'Dra. Ana Souza'")
    _role_arguments(made, required=True)
    _password_arguments(made)
    database(made)
    database(add(actions, "list", "list the users", "fhirserver users list"))
    for name, text in (
        ("disable", "lock a user out, at once"),
        ("enable", "let a disabled user in again"),
        ("totp-reset", "forget a user's second factor, so that a new one can be set up within a week"),
    ):
        one = add(actions, name, text, f"fhirserver users {name} maria")
        one.add_argument("name", help="user name")
        database(one)
    password = add(actions, "password", "set a new password", "fhirserver users password maria")
    password.add_argument("name", help="user name")
    _password_arguments(password)
    database(password)
    roles = add(actions, "roles", "change roles, own resource or patients acted for",
                "fhirserver users roles maria --role reception --role billing")  # fmt: skip
    roles.add_argument("name", help="user name")
    _role_arguments(roles, required=False)
    database(roles)


def _role_arguments(parser: argparse.ArgumentParser, *, required: bool) -> None:
    none: list[str] | None = [] if required else None
    parser.add_argument(
        "--role", action="append", required=True, metavar="ROLE", help="a role; may be repeated"
    )
    parser.add_argument(
        "--fhir-user", metavar="TYPE/ID", help="the user's own resource: Practitioner/42, Patient/7 ..."
    )
    parser.add_argument(
        "--acts-for", action="append", default=none, metavar="ID",
        help="id of a patient that a patient or relative acts for; may be repeated",
    )  # fmt: skip


def _password_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ask", action="store_true", help="ask for the password at the terminal")
    parser.add_argument("--password-stdin", action="store_true", help="read the password from stdin")


def _clients(commands: Commands, add: Add, database: Database) -> None:
    clients = add(
        commands, "clients", "manage the apps that may ask for tokens", "fhirserver clients list --verbose"
    )
    actions = _actions(clients)
    text = """\
Adds an app or a backend service.

  --kind public        an app in the browser or on a phone: no secret, PKCE
  --kind confidential  an app with a server of its own: a secret, shown once
  --kind keys          an app or service that signs with its own keys (private_key_jwt)"""
    made = add(
        actions, "add", "add an app or backend service",
        "fhirserver clients add 'Minha Saude' --kind public --redirect-uri https://app.example/cb \\\n"
        "    --scope 'openid fhirUser launch/patient offline_access patient/*.rs'", text,
    )  # fmt: skip
    made.add_argument("name", help="name that users see")
    made.add_argument("--kind", choices=("public", "confidential", "keys"), required=True, help="see above")
    made.add_argument("--id", metavar="ID", help="client_id (default: a random one)")
    made.add_argument("--scope", required=True, help="the most it may be granted: SMART scopes")
    made.add_argument("--backend", action="store_true", help="may get tokens for itself (system/ scopes)")
    made.add_argument("--policy", metavar="ROLE", help="role that binds its system/ scopes (default: none)")
    made.add_argument("--first-party", action="store_true", help="the clinic's own: users are not asked")
    made.add_argument("--introspect", action="store_true", help="may ask about every token")
    _addresses(made, [])
    _key_arguments(made)
    database(made)
    listing = add(actions, "list", "list the clients", "fhirserver clients list")
    listing.add_argument("--verbose", action="store_true", help="with scopes and addresses")
    database(listing)
    update = add(actions, "update", "change name, scope or addresses of a client",
                 "fhirserver clients update my-app --redirect-uri https://app.example/cb2")  # fmt: skip
    update.add_argument("client_id", help="client_id")
    update.add_argument("--name", help="name that users see")
    update.add_argument("--scope", help="the most it may be granted; takes effect at the next request")
    update.add_argument("--policy", metavar="ROLE", help="role that binds its system/ scopes; '' for none")
    _addresses(update, None)
    database(update)
    for name, words in (
        ("disable", "lock a client out; its tokens end at once"),
        ("enable", "let a disabled or pending client in"),
        ("secret", "make a new secret; the old one ends at once"),
    ):
        one = add(actions, name, words, f"fhirserver clients {name} my-app")
        one.add_argument("client_id", help="client_id")
        database(one)
    keys = add(
        actions, "keys", "replace the keys of a client", "fhirserver clients keys my-app --jwks keys.json"
    )
    keys.add_argument("client_id", help="client_id")
    _key_arguments(keys)
    database(keys)


def _addresses(parser: argparse.ArgumentParser, none: list[str] | None) -> None:
    for flag, text in (
        ("--redirect-uri", "where users return to, compared character by character"),
        ("--launch-uri", "where the app is opened by the clinic's software"),
        ("--origin", "origin of the app's pages, for CORS"),
    ):
        parser.add_argument(
            flag, action="append", default=none, metavar="URL", help=f"{text}; may be repeated"
        )


def _key_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jwks", type=Path, metavar="FILE", help="public keys: a JWK or JWK Set")
    parser.add_argument("--jwks-uri", metavar="URL", help="where its public keys are (https)")
