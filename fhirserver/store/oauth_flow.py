"""What lives for seconds or minutes of one sign-in: requests, launches, codes. See store/oauth.py."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from fhirserver.store.client import Document, translated

if TYPE_CHECKING:
    from pymongo.synchronous.database import Database


@dataclass(frozen=True, slots=True)
class TxnRecord:
    """A checked authorization request that waits for its user.

    `digest`: of the number that the forms carry. `params`: the request's parameters, as they were checked; empty where
    someone came to a page of ours. `client_id`: None there too. `browser`: digest of the cookie of the browser that
    answers it, None until the first page was shown. `created`: a session older than this was there before.
    """

    digest: str
    params: dict[str, str]
    client_id: str | None
    created: datetime
    end: datetime
    browser: str | None = None


_TXN = frozenset(one.name for one in fields(TxnRecord))


class Txns:
    """Authorization requests under way."""

    def __init__(self, database: Database[Document], tenant: str) -> None:
        self._rows = database["oauth_txns"]
        self._tenant = tenant

    def add(self, record: TxnRecord) -> None:
        """Keep a request."""
        row = {"_id": f"{self._tenant}/{record.digest}", "t": self._tenant, **asdict(record)}
        with translated():
            self._rows.insert_one(row)

    def bind(self, digest: str, browser: str, now: datetime) -> TxnRecord | None:
        """The request, which from now on belongs to this browser; None where it belongs to another, or ended."""
        mine = {"_id": f"{self._tenant}/{digest}", "end": {"$gt": now}, "browser": {"$in": [None, browser]}}
        with translated():
            row = self._rows.find_one_and_update(
                mine, {"$set": {"browser": browser}}, return_document=ReturnDocument.AFTER
            )
        return _txn(row)

    def get(self, digest: str, browser: str, now: datetime) -> TxnRecord | None:
        """The request of this browser."""
        mine = {"_id": f"{self._tenant}/{digest}", "end": {"$gt": now}, "browser": browser}
        with translated():
            return _txn(self._rows.find_one(mine))

    def take(self, digest: str, browser: str, now: datetime) -> TxnRecord | None:
        """The request of this browser, for the last time: it is answered once."""
        mine = {"_id": f"{self._tenant}/{digest}", "end": {"$gt": now}, "browser": browser}
        with translated():
            return _txn(self._rows.find_one_and_delete(mine))


def _txn(row: Document | None) -> TxnRecord | None:
    return TxnRecord(**{n: v for n, v in row.items() if n in _TXN}) if row else None


@dataclass(frozen=True, slots=True)
class LaunchRecord:
    """A launch context made by the clinic's software. `context`: members of the later token response."""

    digest: str
    client_id: str
    user: str
    context: dict[str, Any]
    end: datetime
    used: bool = False


_LAUNCH = frozenset(one.name for one in fields(LaunchRecord))


class Launches:
    """Launch contexts that wait for their app."""

    def __init__(self, database: Database[Document], tenant: str) -> None:
        self._rows = database["oauth_launches"]
        self._tenant = tenant

    def add(self, record: LaunchRecord) -> None:
        """Keep a launch."""
        row = {"_id": f"{self._tenant}/{record.digest}", "t": self._tenant, **asdict(record)}
        with translated():
            self._rows.insert_one(row)

    def get(self, digest: str, now: datetime) -> LaunchRecord | None:
        """The launch, if it is not used yet."""
        with translated():
            return _launch(self._rows.find_one(self._fresh(digest, now)))

    def take(self, digest: str, now: datetime) -> LaunchRecord | None:
        """The launch, used from now on; None where it was used before."""
        with translated():
            return _launch(self._rows.find_one_and_update(self._fresh(digest, now), {"$set": {"used": True}}))

    def _fresh(self, digest: str, now: datetime) -> Document:
        return {"_id": f"{self._tenant}/{digest}", "used": False, "end": {"$gt": now}}


def _launch(row: Document | None) -> LaunchRecord | None:
    return LaunchRecord(**{n: v for n, v in row.items() if n in _LAUNCH}) if row else None


@dataclass(frozen=True, slots=True)
class CodeRecord:
    """An authorization code, kept longer than it is valid so that a second use is seen.

    `expires`: it can be redeemed until then. `grant`: id of the grant that it was issued for.
    """

    digest: str
    client_id: str
    redirect_uri: str
    challenge: str
    grant: str
    expires: datetime
    end: datetime
    nonce: str | None = None
    used: bool = field(default=False)


_CODE = frozenset(one.name for one in fields(CodeRecord))


class Codes:
    """Authorization codes, and the ids of assertions that were used."""

    def __init__(self, database: Database[Document], tenant: str) -> None:
        self._rows = database["oauth_codes"]
        self._jti = database["oauth_jti"]
        self._tenant = tenant

    def add(self, record: CodeRecord) -> None:
        """Keep a code."""
        row = {"_id": f"{self._tenant}/{record.digest}", "t": self._tenant, **asdict(record)}
        with translated():
            self._rows.insert_one(row)

    def take(self, digest: str, client_id: str) -> CodeRecord | None:
        """The client's code as it was before; it is used from now on. None where this client has no such code."""
        with translated():
            row = self._rows.find_one_and_update(
                {"_id": f"{self._tenant}/{digest}", "client_id": client_id}, {"$set": {"used": True}}
            )
        return CodeRecord(**{n: v for n, v in row.items() if n in _CODE}) if row else None

    def first_use(self, client_id: str, jti: str, end: datetime) -> bool:
        """Note an assertion's id (its digest); False where this client has used it before."""
        with translated():
            try:
                self._jti.insert_one({"_id": f"{self._tenant}/{client_id}/{jti}", "end": end})
            except DuplicateKeyError:
                return False
        return True
