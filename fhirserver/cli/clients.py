"""`fhirserver clients`: the apps and backend services that may ask for tokens."""

from __future__ import annotations

import argparse
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fhirserver.access.oauth import registering
from fhirserver.access.oauth.clients import ClientRefused
from fhirserver.access.oauth.parts import Parts, Visit
from fhirserver.cli.terminal import CommandFailed, note, say
from fhirserver.cli.users import with_parts
from fhirserver.store.oauth import ClientExists, ClientRecord

KINDS = {"public": "none", "confidential": "client_secret_basic", "keys": "private_key_jwt"}


def run(options: argparse.Namespace) -> int:
    """Does what the command's own command says."""
    try:
        _COMMANDS[options.action](options)
    except ClientRefused as refused:
        raise CommandFailed(f"{refused.field}: {refused}") from refused
    except ClientExists as refused:
        raise CommandFailed(f"there is a client {refused} already") from refused
    return 0


def _jwks(file: Path | None) -> dict[str, Any] | None:
    if file is None:
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise CommandFailed(f"{file} holds no JSON: {problem}") from problem
    return content if isinstance(content, dict) and "keys" in content else {"keys": [content]}


def _add(options: argparse.Namespace) -> None:
    grants = ["authorization_code", "refresh_token"] if options.redirect_uri else []
    if options.backend:
        grants.append("client_credentials")
    jwks = _jwks(options.jwks)

    def work(parts: Parts, visit: Visit) -> tuple[ClientRecord, str | None]:
        record = ClientRecord(
            options.id or uuid.uuid4().hex,
            options.name,
            KINDS[options.kind],
            parts.clock(),
            jwks=jwks,
            jwks_uri=options.jwks_uri,
            redirect_uris=tuple(options.redirect_uri),
            launch_uris=tuple(options.launch_uri),
            allowed_origins=tuple(options.origin),
            grant_types=tuple(grants),
            scope=options.scope,
            first_party=options.first_party,
            can_introspect=options.introspect,
            system_policy=options.policy,
        )
        return registering.add(parts, visit, record)

    record, secret = with_parts(options, work)
    say(f"client_id      {record.client_id}")
    if secret is not None:
        say(f"client_secret  {secret}")
        note("The secret is not shown again.")


def _list(options: argparse.Namespace) -> None:
    names = {method: kind for kind, method in KINDS.items()}
    clients = with_parts(options, lambda parts, _: list(parts.store.clients.all()))
    for one in clients:
        say(f"{one.client_id:34} {one.status:9} {names[one.auth_method]:13} {one.name}")
        if options.verbose:
            for label, values in (
                ("scope", [one.scope]),
                ("policy", [one.system_policy] if one.system_policy else []),
                ("grants", one.grant_types),
                ("redirect", one.redirect_uris),
                ("launch", one.launch_uris),
                ("origin", one.allowed_origins),
                (
                    "keys",
                    [one.jwks_uri]
                    if one.jwks_uri
                    else [k["kid"] for k in (one.jwks or {"keys": []})["keys"]],
                ),
            ):
                if values:
                    say(f"  {label:10} {' '.join(map(str, values))}")
    if not clients:
        note("There are no clients yet; see `fhirserver clients add --help`.")


def _change(options: argparse.Namespace, **values: Any) -> None:
    def work(parts: Parts, visit: Visit) -> None:
        registering.change(parts, visit, _known(parts, options.client_id), **values)

    with_parts(options, work)


def _known(parts: Parts, client_id: str) -> ClientRecord:
    record = parts.store.clients.get(client_id)
    if record is None:
        raise CommandFailed(f"there is no client {client_id}")
    return record


def _keys(options: argparse.Namespace) -> None:
    if (options.jwks is None) == (options.jwks_uri is None):
        raise CommandFailed("name either --jwks FILE or --jwks-uri URL")
    _change(options, jwks=_jwks(options.jwks), jwks_uri=options.jwks_uri)


def _secret(options: argparse.Namespace) -> None:
    secret = with_parts(
        options, lambda parts, visit: registering.new_secret(parts, visit, _known(parts, options.client_id))
    )
    say(f"client_secret  {secret}")


def _update(options: argparse.Namespace) -> None:
    given = {
        "name": options.name,
        "scope": options.scope,
        "redirect_uris": options.redirect_uri,
        "launch_uris": options.launch_uri,
        "allowed_origins": options.origin,
    }
    values = {n: tuple(v) if isinstance(v, list) else v for n, v in given.items() if v is not None}
    if options.policy is not None:
        values["system_policy"] = options.policy or None
    if not values:
        raise CommandFailed("name what to change, such as --scope or --redirect-uri")
    _change(options, **values)


_COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "add": _add,
    "list": _list,
    "update": _update,
    "disable": lambda options: _change(options, status="disabled"),
    "enable": lambda options: _change(options, status="active"),
    "keys": _keys,
    "secret": _secret,
}
