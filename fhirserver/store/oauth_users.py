"""People who sign in: accounts, sessions, and failed attempts. See store/oauth.py for the rules of the house."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from fhirserver.store.client import Document, translated
from fhirserver.store.vault import Vault, place

if TYPE_CHECKING:
    from pymongo.synchronous.database import Database


USERS, SESSIONS = "oauth_users", "oauth_sessions"


class UserExists(Exception):
    """A user of that name is there already."""


@dataclass(frozen=True, slots=True)
class UserRecord:
    """An account.

    `id`: stable and random, the `sub` of tokens. `name`: what is typed to sign in, lower case. `password`: argon2id
    hash. `old_passwords`: hashes that the Brazilian policy forbids to use again, newest first. `fhir_user`: "Type/id" of
    the person's own resource. `acts_for`: patient ids, beside their own, that a patient or related person acts for.
    `totp`: the seed of the second factor (base32), `totp_step`: the last 30 s step whose code was used. `enrol_until`:
    the second factor may be set up until then. `must_change`: the password was set by somebody else, and the next sign-in
    asks for an own one. `signed_in`: when the user last signed in.
    """

    id: str
    name: str
    password: str
    created: datetime
    display: str = ""
    roles: tuple[str, ...] = ()
    fhir_user: str | None = None
    acts_for: tuple[str, ...] = ()
    disabled: bool = False
    totp: str | None = None
    totp_step: int = 0
    enrol_until: datetime | None = None
    old_passwords: tuple[str, ...] = ()
    must_change: bool = False
    signed_in: datetime | None = None


_LISTS = ("roles", "acts_for", "old_passwords")
_FIELDS = frozenset(field.name for field in fields(UserRecord))


class Users:
    """The accounts of a tenant. Their seeds are sealed. Reading a seed that cannot be opened raises Unavailable."""

    def __init__(self, database: Database[Document], tenant: str, vault: Vault) -> None:
        self._rows = database[USERS]
        self._tenant = tenant
        self._vault = vault

    def _user(self, row: Document) -> UserRecord:
        values: dict[str, Any] = {name: value for name, value in row.items() if name in _FIELDS}
        values |= {name: tuple(values[name]) for name in _LISTS}
        if values.get("totp") is not None:
            values["totp"] = self._vault.open(values["totp"], place(USERS, row["_id"], "totp"))
        return UserRecord(**values)

    def _sealed(self, id: str, values: dict[str, Any]) -> dict[str, Any]:
        if values.get("totp") is None:
            return values
        where = place(USERS, f"{self._tenant}/{id}", "totp")
        return {**values, "totp": self._vault.seal(values["totp"], where)}

    def get(self, id: str) -> UserRecord | None:
        """The account with this id, disabled or not."""
        with translated():
            row = self._rows.find_one({"_id": f"{self._tenant}/{id}"})
        return self._user(row) if row else None

    def named(self, name: str) -> UserRecord | None:
        """The account that signs in by this name."""
        with translated():
            row = self._rows.find_one({"t": self._tenant, "name": name.casefold()})
        return self._user(row) if row else None

    def names(self, ids: Iterable[str]) -> dict[str, str]:
        """By what names the accounts with these ids sign in; those that are not there are left out."""
        keys = [f"{self._tenant}/{id}" for id in ids]
        with translated():
            rows = list(self._rows.find({"_id": {"$in": keys}}, {"id": 1, "name": 1}))
        return {row["id"]: row["name"] for row in rows}

    def add(self, record: UserRecord) -> None:
        """Raises UserExists."""
        row: Document = {"_id": f"{self._tenant}/{record.id}", "t": self._tenant}
        values = {n: list(v) if n in _LISTS else v for n, v in asdict(record).items()}
        row |= self._sealed(record.id, values)
        with translated():
            try:
                self._rows.insert_one(row)
            except DuplicateKeyError:
                raise UserExists(record.name) from None

    def change(self, id: str, **values: Any) -> None:
        """Set fields of UserRecord."""
        sealed = self._sealed(id, values)
        with translated():
            self._rows.update_one({"_id": f"{self._tenant}/{id}"}, {"$set": sealed})

    def use_code(self, id: str, step: int) -> bool:
        """Note that the code of this 30 s step was used; False where it, or a later one, was before."""
        with translated():
            done = self._rows.update_one(
                {"_id": f"{self._tenant}/{id}", "totp_step": {"$lt": step}}, {"$set": {"totp_step": step}}
            )
        return done.modified_count == 1

    def all(self) -> Iterator[UserRecord]:
        """Every account, by name."""
        with translated():
            yield from map(self._user, self._rows.find({"t": self._tenant}).sort("name", 1))


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A browser that has signed in, or is about to.

    `digest`: SHA-256 of the cookie, hex. `stage`: factor (password given, second factor missing), enrol (second factor
    must be set up), renew (an own password must be chosen), full. `auth_time`: when the password was given. `idle`: unused
    until then it ends. `tries`: wrong codes so far. `pending`: the seed that is being set up. `before`: when the user had
    signed in before.
    """

    digest: str
    user: str
    stage: str
    auth_time: datetime
    idle: datetime
    end: datetime
    tries: int = 0
    pending: str | None = None
    before: datetime | None = None


_SESSION = frozenset(field.name for field in fields(SessionRecord))


class Sessions:
    """The sign-ins of a tenant. A seed that is being set up is sealed."""

    def __init__(self, database: Database[Document], tenant: str, vault: Vault) -> None:
        self._rows = database[SESSIONS]
        self._tenant = tenant
        self._vault = vault

    def add(self, record: SessionRecord) -> None:
        """Keep a session."""
        key = f"{self._tenant}/{record.digest}"
        row = {"_id": key, "t": self._tenant, **asdict(record)}
        if record.pending is not None:
            row["pending"] = self._vault.seal(record.pending, place(SESSIONS, key, "pending"))
        with translated():
            self._rows.insert_one(row)

    def get(self, digest: str, now: datetime, idle: datetime | None = None) -> SessionRecord | None:
        """The session, if it lives at `now`; `idle` moves its idle end."""
        alive = {"_id": f"{self._tenant}/{digest}", "idle": {"$gt": now}, "end": {"$gt": now}}
        with translated():
            if idle is None:
                row = self._rows.find_one(alive)
            else:
                row = self._rows.find_one_and_update(
                    alive, {"$set": {"idle": idle}}, return_document=ReturnDocument.AFTER
                )
        if row is None:
            return None
        values = {n: v for n, v in row.items() if n in _SESSION}
        if values.get("pending") is not None:
            values["pending"] = self._vault.open(values["pending"], place(SESSIONS, row["_id"], "pending"))
        return SessionRecord(**values)

    def count_try(self, digest: str) -> int:
        """Count a try of a code, before it is checked; how many there were with this one."""
        with translated():
            row = self._rows.find_one_and_update(
                {"_id": f"{self._tenant}/{digest}"},
                {"$inc": {"tries": 1}},
                return_document=ReturnDocument.AFTER,
            )
        return int(row["tries"]) if row else 1_000_000

    def end(self, digest: str) -> None:
        """End a session."""
        with translated():
            self._rows.delete_one({"_id": f"{self._tenant}/{digest}"})

    def end_all(self, user: str) -> None:
        """End every session of a user."""
        with translated():
            self._rows.delete_many({"t": self._tenant, "user": user})


@dataclass(frozen=True, slots=True)
class AttemptCount:
    """`last`: when the last one was. `end`: when the count begins anew."""

    count: int
    last: datetime
    end: datetime


class Attempts:
    """Failed attempts by a key (an account from an address, an address, a client)."""

    def __init__(self, database: Database[Document], tenant: str) -> None:
        self._rows = database["oauth_attempts"]
        self._tenant = tenant

    def get(self, key: str, now: datetime) -> AttemptCount | None:
        """The count of `key`; None where none runs."""
        with translated():
            row = self._rows.find_one({"_id": f"{self._tenant}/{key}", "end": {"$gt": now}})
        return AttemptCount(int(row["count"]), row["last"], row["end"]) if row else None

    def count(self, key: str, now: datetime, end: datetime, *, slides: bool = True) -> int:
        """Count one more; the number since the count began.

        `end`: the count begins anew after it. It moves with each one, or (`slides` False) stays that of the first.
        """
        alive = {"$gt": ["$end", now]}
        step: list[Document] = [
            {
                "$set": {
                    "count": {"$cond": [alive, {"$add": [{"$ifNull": ["$count", 0]}, 1]}, 1]},
                    "last": now,
                    "end": end if slides else {"$cond": [alive, "$end", end]},
                }
            }
        ]
        with translated():
            for again in (True, False):
                try:
                    row = self._rows.find_one_and_update(
                        {"_id": f"{self._tenant}/{key}"},
                        step,
                        upsert=True,
                        return_document=ReturnDocument.AFTER,
                    )
                    return int(row["count"]) if row else 1
                except DuplicateKeyError:  # another made it at the same moment
                    if not again:
                        raise
        return 1

    def undo(self, key: str) -> None:
        """Take one back."""
        with translated():
            self._rows.update_one(
                {"_id": f"{self._tenant}/{key}", "count": {"$gt": 0}}, {"$inc": {"count": -1}}
            )

    def forget(self, key: str) -> None:
        """Begin at none again."""
        with translated():
            self._rows.delete_one({"_id": f"{self._tenant}/{key}"})
