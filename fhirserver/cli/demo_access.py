"""Who can sign in to the demo clinic: a user for each role and three clients, with made-up passwords.

Made once, on a new data folder, and kept there in a file that only its owner can read, so that each start can say them.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pyotp
from joserfc.jwk import ECKey

from fhirserver.access.oauth import registering
from fhirserver.access.oauth.accounts import Accounts
from fhirserver.access.oauth.parts import Parts, Visit
from fhirserver.access.oauth.passwords import generated
from fhirserver.cli.client import FhirClient
from fhirserver.cli.terminal import say
from fhirserver.settings import Settings
from fhirserver.store.oauth import ClientRecord

FILE, KEY_FILE = "demo-access.json", "demo-backend-key.json"
_USER_SCOPES = "openid fhirUser launch launch/patient launch/encounter offline_access online_access patient/*.cruds user/*.cruds"
_CALLBACKS = ("http://localhost:3000/callback", "http://127.0.0.1:3000/callback")
_STAFF = (
    ("admin", None),
    ("manager", None),
    ("practitioner", "Practitioner"),
    ("reception", None),
    ("billing", None),
    ("auditor", None),
    ("custodian", None),
)


def open_doors(settings: Settings, client: FhirClient) -> None:
    """Makes users and clients. `settings`: with the URI of the running MongoDB. `client`: may read the demo clinic."""
    from fhirserver.app import with_oauth

    own = {"Practitioner": _first(client, "Practitioner"), "Patient": _first(client, "Patient")}
    child = _first(client, "RelatedPerson", "patient")

    def work(parts: Parts, visit: Visit) -> dict[str, Any]:
        return {
            "users": _users(parts, visit, own, child),
            "clients": _clients(parts, visit, settings.data_dir / KEY_FILE),
        }

    _write(settings.data_dir / FILE, asyncio.run(with_oauth(settings, work)))


def _first(client: FhirClient, type: str, member: str | None = None) -> str | None:
    """Type/id of the first resource, or what its `member` refers to."""
    entries = client.get(f"{type}?_count=1&_sort=_id").json().get("entry", [])
    if not entries:
        return None
    resource = entries[0]["resource"]
    return str(resource[member]["reference"]) if member else f"{type}/{resource['id']}"


def _users(parts: Parts, visit: Visit, own: dict[str, str | None], child: str | None) -> list[dict[str, str]]:
    accounts, told = Accounts(parts, visit), []
    for role, type in (*_STAFF, ("patient", "Patient")):
        fhir_user = own[type] if type else None
        acts_for = (child.partition("/")[2],) if role == "patient" and child else ()
        if role == "patient" and fhir_user is None:
            continue
        password = generated()
        user = accounts.add(
            role,
            password,
            roles=(role,),
            fhir_user=fhir_user,
            acts_for=acts_for,
            display=f"Demo {role}",
            lasting=True,
        )
        line = {"name": role, "password": password}
        if user.enrol_until is not None:
            line["totp"] = pyotp.random_base32()
            parts.store.users.change(user.id, totp=line["totp"], enrol_until=None)
        told.append(line)
    return told


def _clients(parts: Parts, visit: Visit, key_file: Path) -> list[dict[str, str]]:
    key = ECKey.generate_key("P-384", {"kid": "demo-backend", "use": "sig", "alg": "ES384"})
    _write(key_file, dict(key.as_dict(private=True)))
    common: dict[str, Any] = {
        "created": parts.clock(),
        "redirect_uris": _CALLBACKS,
        "grant_types": ("authorization_code", "refresh_token"),
        "scope": _USER_SCOPES,
    }
    wanted = (
        ClientRecord("demo-app", "Demo app", "none", allowed_origins=("http://localhost:3000",), **common),
        ClientRecord("demo-web", "Demo web application", "client_secret_basic", **common),
        ClientRecord(
            "demo-backend",
            "Demo backend service",
            "private_key_jwt",
            parts.clock(),
            jwks={"keys": [dict(key.as_dict(private=False))]},
            grant_types=("client_credentials",),
            scope="system/*.cruds",
        ),
    )
    told = []
    for record in wanted:
        _, secret = registering.add(parts, visit, record)
        told.append({"client_id": record.client_id, "kind": record.auth_method, "secret": secret or ""})
    return told


def _write(file: Path, content: dict[str, Any]) -> None:
    """For the owner's eyes only, from its first moment on."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        json.dump(content, out, indent=1)


def say_doors(root: str, data_dir: Path) -> None:
    """Prints who can sign in, if the demo's doors were made on this folder."""
    try:
        doors = json.loads((data_dir / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    say(f"sign in   {root}/auth/apps as one of these (kept in {data_dir / FILE}):")
    for user in doors["users"]:
        code = f"  code: oathtool --totp -b {user['totp']}" if "totp" in user else ""
        say(f"  {user['name']:13} {user['password']}{code}")
    say("apps      see docs/how-to/apps.md")
    for client in doors["clients"]:
        what = {
            "none": f"public, returns to {_CALLBACKS[0]}",
            "client_secret_basic": f"secret {client['secret']}",
            "private_key_jwt": f"key in {data_dir / KEY_FILE}",
        }[client["kind"]]
        say(f"  {client['client_id']:13} {what}")
    say("token     fhirserver token --user practitioner --scope 'user/*.rs'")
