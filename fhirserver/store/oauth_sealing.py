"""Everything that is sealed in the authorization server's collections: made so, checked, sealed anew, given up.

A row in `keys` holds a text that the tenant's secrets key sealed first. It tells a wrong key file at the start, before
anything is written under it, and two servers with different key files from one another.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from pymongo import ReturnDocument

from fhirserver.outcome import Unavailable
from fhirserver.store.client import CannotStart, Document, translated
from fhirserver.store.keys import KEYS as SHARED
from fhirserver.store.oauth_users import SESSIONS, USERS
from fhirserver.store.vault import Vault, is_sealed, place

if TYPE_CHECKING:
    from datetime import datetime

    from pymongo.synchronous.database import Database

KEYS = "oauth_keys"
_PROOF = "this database and this key belong together"
_FIELDS = ((USERS, "totp"), (SESSIONS, "pending"), (KEYS, "jwk"))


class _Secret(NamedTuple):
    """A value that is, or is to be, sealed."""

    collection: str
    row: str
    field: str
    value: Any


class Sealing:
    """The sealed values of a tenant."""

    def __init__(self, database: Database[Document], tenant: str, vault: Vault) -> None:
        self._database = database
        self._tenant = tenant
        self._vault = vault

    def prepare(self) -> None:
        """Check that key file and database belong together; seal what an older server left in clear.

        Raises CannotStart, Unavailable.
        """
        proof = proof_id(self._tenant)
        with translated():
            row = self._database[SHARED].find_one({"_id": proof})
        if row is None:
            sealed = {"proof": self._vault.seal(_PROOF, proof), "done": False}
            with translated():
                row = self._database[SHARED].find_one_and_update(
                    {"_id": proof},
                    {"$setOnInsert": sealed},
                    upsert=True,
                    return_document=ReturnDocument.AFTER,
                )
        check_proof(self._vault, self._tenant, row)
        if row is not None and not row["done"]:
            for secret in self._secrets():
                if not (isinstance(secret.value, str) and is_sealed(secret.value)):
                    text = secret.value if isinstance(secret.value, str) else json.dumps(secret.value)
                    self._put(secret, text)
            with translated():
                self._database[SHARED].update_one({"_id": proof}, {"$set": {"done": True}})

    def rotate(self) -> tuple[str, int]:
        """Make a new key and seal everything under it: its id, and how many values. Raises Unavailable, CannotStart.

        One at a time: a second rotation in between would drop the key that half of the values are still sealed with.
        """
        with self._vault.alone():
            self.anew()  # nothing may be left under the key that the file is about to lose
            self._vault.rotate()
            return self.anew()

    def anew(self) -> tuple[str, int]:
        """Seal everything under the key that seals now: its id, and how many values. Raises Unavailable, CannotStart."""
        done = 0
        for secret in self._secrets():
            text = self._vault.open(secret.value, place(secret.collection, secret.row, secret.field))
            done += self._put(secret, text)
        proof = proof_id(self._tenant)
        fresh = self._vault.seal(_PROOF, proof)
        with translated():
            self._database[SHARED].update_one({"_id": proof}, {"$set": {"proof": fresh}})
        return self._vault.present, done

    def give_up(self, enrol_until: datetime) -> int:
        """Drop what was sealed, for a key that is lost; how many users must set up a second factor, until then."""
        mine = {"t": self._tenant}
        with translated():
            self._database[KEYS].delete_many(mine)
            self._database[SESSIONS].delete_many(mine)
            done = self._database[USERS].update_many(
                {**mine, "totp": {"$ne": None}},
                {"$set": {"totp": None, "totp_step": 0, "enrol_until": enrol_until}},
            )
            self._database[SHARED].delete_one({"_id": proof_id(self._tenant)})
        return done.modified_count

    def _secrets(self) -> Iterator[_Secret]:
        for collection, field in _FIELDS:
            with translated():
                rows = list(
                    self._database[collection].find({"t": self._tenant, field: {"$ne": None}}, {field: 1})
                )
            yield from (_Secret(collection, row["_id"], field, row[field]) for row in rows)

    def _put(self, secret: _Secret, text: str) -> int:
        """Replace a value that nobody has changed meanwhile."""
        sealed = self._vault.seal(text, place(secret.collection, secret.row, secret.field))
        unchanged = {"_id": secret.row, secret.field: secret.value}
        with translated():
            done = self._database[secret.collection].update_one(unchanged, {"$set": {secret.field: sealed}})
        return done.modified_count


def proof_id(tenant: str) -> str:
    """The row that belongs to the secrets key of a tenant, in the collection of shared keys."""
    return f"{tenant}/secrets"


def check_proof(vault: Vault, tenant: str, row: Document | None) -> None:
    """Raises CannotStart where the key file is not the one that sealed the tenant's secrets."""
    if row is None:
        return
    try:
        vault.open(row["proof"], proof_id(tenant))
    except Unavailable:
        raise CannotStart(
            f"The secrets key file {vault.file} is missing, cannot be read, or is not the one that this database was "
            "encrypted with (second factors and signing keys). Put the right file there, mode 0600: from the backup, or "
            "from the other machine that uses the database. If it is lost: fhirserver keys give-up-secrets."
        ) from None
