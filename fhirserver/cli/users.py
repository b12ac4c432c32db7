"""`fhirserver users`: the accounts of people who sign in."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import sys
from collections.abc import Callable
from typing import TypeVar

from fhirserver.access.oauth.accounts import AccountRefused, Accounts
from fhirserver.access.oauth.parts import Parts, Visit
from fhirserver.access.oauth.passwords import PasswordRefused, generated
from fhirserver.access.oauth.signin import needs_factor
from fhirserver.cli.config import load_settings
from fhirserver.cli.database import database
from fhirserver.cli.terminal import CommandFailed, note, say
from fhirserver.store.oauth_users import UserExists, UserRecord

T = TypeVar("T")
RULES = {
    "short": "the password has fewer than 12 characters",
    "long": "the password has more than 256 characters",
    "common": "the password is one that guessing programs try; take several unrelated words",
    "own-data": "the password is the user's own name",
    "classes": "the password needs lower case, upper case, digits and signs (password_policy = br)",
    "same": "the password is the present one",
    "used": "the password was used before (password_policy = br)",
}


def run(options: argparse.Namespace) -> int:
    """Does what the command's own command says."""
    _COMMANDS[options.action](options)
    return 0


def with_parts(options: argparse.Namespace, work: Callable[[Parts, Visit], T]) -> T:
    """What `work` makes of the authorization server's parts. Raises CommandFailed."""
    from fhirserver.app import with_oauth

    with database(load_settings(options)) as reachable:
        try:
            return asyncio.run(with_oauth(reachable, work))
        except PasswordRefused as refused:
            raise CommandFailed(RULES[refused.rule]) from refused
        except AccountRefused as refused:
            raise CommandFailed(str(refused)) from refused
        except UserExists as refused:
            raise CommandFailed(f"there is a user {refused} already") from refused


def _password(options: argparse.Namespace) -> tuple[str, bool]:
    """The password to set, and whether it was made here."""
    if options.password_stdin:
        return sys.stdin.readline().rstrip("\r\n"), False
    if sys.stdin.isatty() and options.ask:
        first = getpass.getpass("password: ")
        if getpass.getpass("again: ") != first:
            raise CommandFailed("the two passwords differ")
        return first, False
    return generated(), True


def _add(options: argparse.Namespace) -> None:
    password, made = _password(options)

    def work(parts: Parts, visit: Visit) -> UserRecord:
        return Accounts(parts, visit).add(
            options.name,
            password,
            roles=options.role,
            fhir_user=options.fhir_user,
            acts_for=options.acts_for,
            display=options.display,
        )

    user = with_parts(options, work)
    say(f"user      {user.name} ({', '.join(user.roles)})")
    if made:
        say(f"password  {password}")
    note("The first sign-in asks the user for a password of their own.")
    if needs_factor(user.roles, None):
        note("The second factor is set up at the first sign-in, within a week.")


def _list(options: argparse.Namespace) -> None:
    users = with_parts(options, lambda parts, _: list(parts.store.users.all()))
    for user in users:
        state = "disabled" if user.disabled else "active"
        factor = "second factor" if user.totp else "to be set up" if needs_factor(user.roles, None) else "-"
        own = user.fhir_user or "-"
        say(f"{user.name:24} {state:9} {','.join(user.roles):24} {factor:14} {own}")
    if not users:
        note("There are no users yet; `fhirserver users add NAME --role admin` makes the first.")


def _change(options: argparse.Namespace, change: Callable[[Accounts, UserRecord], None]) -> None:
    def work(parts: Parts, visit: Visit) -> None:
        change(Accounts(parts, visit), _named(parts, options.name))

    with_parts(options, work)


def _named(parts: Parts, name: str) -> UserRecord:
    user = parts.store.users.named(name)
    if user is None:
        raise CommandFailed(f"there is no user {name}")
    return user


def _set_password(options: argparse.Namespace) -> None:
    password, made = _password(options)
    _change(options, lambda accounts, user: accounts.password(user, password))
    if made:
        say(f"password  {password}")
    note("Every session of the user has ended; the next sign-in asks for a password of their own.")


def _set_roles(options: argparse.Namespace) -> None:
    def change(accounts: Accounts, user: UserRecord) -> None:
        own = user.fhir_user if options.fhir_user is None else options.fhir_user or None
        acts_for = user.acts_for if options.acts_for is None else options.acts_for
        accounts.roles(user, options.role, fhir_user=own, acts_for=[id for id in acts_for if id])

    _change(options, change)


_COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "add": _add,
    "list": _list,
    "disable": lambda options: _change(options, lambda accounts, user: accounts.disable(user, True)),
    "enable": lambda options: _change(options, lambda accounts, user: accounts.disable(user, False)),
    "password": _set_password,
    "roles": _set_roles,
    "totp-reset": lambda options: _change(options, lambda accounts, user: accounts.reset_totp(user)),
}
