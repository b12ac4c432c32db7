"""`fhirserver keys`: the keys that sign id_tokens, and the one that encrypts secrets in the database."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable

from fhirserver.access.oauth.parts import Parts, Visit
from fhirserver.access.oauth.signin import ENROL_WITHIN
from fhirserver.cli.config import load_settings
from fhirserver.cli.database import database
from fhirserver.cli.terminal import CommandFailed, note, say
from fhirserver.cli.users import with_parts


def run(options: argparse.Namespace) -> int:
    """Does what the command's own command says."""
    _COMMANDS[options.action](options)
    return 0


def _list(options: argparse.Namespace) -> None:
    for key in with_parts(options, lambda parts, _: parts.keys.all()):
        state = f"retired {key.retired:%Y-%m-%d %H:%M}Z" if key.retired else "signs"
        say(f"{key.kid:20} made {key.created:%Y-%m-%d %H:%M}Z  {state}")


def _rotate(options: argparse.Namespace) -> None:
    say(with_parts(options, lambda parts, _: parts.keys.rotate()))
    note("It signs from now on; the key before stays published for 24 hours.")


def _rotate_secrets(options: argparse.Namespace) -> None:
    def work(parts: Parts, visit: Visit) -> tuple[str, int]:
        sealing = parts.store.sealing
        id, count = sealing.anew() if options.file_is_ready else sealing.rotate()
        visit.note("key-rotated", detail=(("changed", id), ("what", "secrets")))
        return id, count

    id, count = with_parts(options, work)
    say(f"{id}  {count} secrets are encrypted with this key now")
    note(
        "Back the key file up, apart from the database. The key before stays in its second line until the next rotation."
    )


def _give_up_secrets(options: argparse.Namespace) -> None:
    if not options.yes:
        raise CommandFailed(
            "this drops every second factor, signing key and sign-in that the lost key encrypted; say --yes to do it"
        )
    from fhirserver.app import with_oauth

    def work(parts: Parts, visit: Visit) -> int:
        lost = parts.store.sealing.give_up(parts.clock() + ENROL_WITHIN)
        visit.note("security-configured", detail=(("changed", "secrets key"), ("what", "given up")))
        return lost

    with database(load_settings(options)) as reachable:
        count = asyncio.run(with_oauth(reachable, work, with_key=False))
    say(f"{count} users set up a second factor anew, within a week")
    note("Restart the servers: they make a new key, or take the one that stands in the key file.")


_COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "list": _list,
    "rotate": _rotate,
    "rotate-secrets": _rotate_secrets,
    "give-up-secrets": _give_up_secrets,
}
