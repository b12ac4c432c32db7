"""The few driver calls of the store, each for many operations at once, inside or outside a session.

Outside a transaction a call whose acknowledgement was lost is sent again; every one of them can be: a second
insert or replace of the same version is a duplicate key, and a look at the stored version tells whose it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo import ReplaceOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError

from fhirserver.outcome import OutcomeError
from fhirserver.store.client import Document, is_ambiguous, translate, translated

Collection = AsyncCollection[Document]
Session = AsyncClientSession | None
Replacement = tuple[str, int, RawBSONDocument]  # key, the version it replaces, the new document

_DUPLICATE_KEY = 11000
_SENDINGS = 2  # each waits for a primary as long as a call may


async def find(
    collection: Collection, keys: Sequence[str], fields: Mapping[str, int], session: Session = None
) -> list[Document | None]:
    """The document of each key, None where there is none."""
    with translated():
        cursor = collection.find({"_id": {"$in": list(set(keys))}}, fields, session=session)
        found = {document["_id"]: document for document in await cursor.to_list()}
    return [found.get(key) for key in keys]


async def insert(
    collection: Collection, documents: Sequence[RawBSONDocument], session: Session = None
) -> list[bool | OutcomeError]:
    """Insert each document; False where its `_id` was taken."""
    return await _write(collection, documents, documents, session)


async def replace(
    collection: Collection, replacements: Sequence[Replacement], session: Session = None
) -> list[bool | OutcomeError]:
    """Replace each document if it still is at the given version; False where it is not.

    As an upsert: at another version the filter matches nothing, the upsert collides with the existing `_id`, and
    the duplicate key error names the operation that lost (a bulk write counts matches only in total).
    """
    requests: list[Any] = [
        ReplaceOne({"_id": key, "v": v}, document, upsert=True) for key, v, document in replacements
    ]
    return await _write(collection, requests, [document for *_, document in replacements], session)


async def keep(
    history: Collection, documents: Sequence[Document], session: Session = None
) -> list[bool | OutcomeError]:
    """Put superseded versions into the history; a version that is there already is the same one."""
    unique = {document["_id"]: document for document in documents}
    if session is not None:  # a duplicate key would end the transaction
        requests = [ReplaceOne({"_id": id}, document, upsert=True) for id, document in unique.items()]
        with translated():
            await history.bulk_write(requests, ordered=False, session=session)
        return [True] * len(documents)
    ids = list(unique)
    outcome = dict(zip(ids, await _insert_tolerant(history, list(unique.values())), strict=True))
    return [outcome[document["_id"]] for document in documents]


async def _insert_tolerant(history: Collection, documents: list[Document]) -> list[bool | OutcomeError]:
    for sending in range(1, _SENDINGS + 1):
        try:
            await history.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            answers = _answers(error, len(documents))
            if not _is_unconfirmed(error):
                return [answer if isinstance(answer, OutcomeError) else True for answer in answers]
            last: Exception = error
        except PyMongoError as error:
            last = error
        else:
            return [True] * len(documents)
        if sending == _SENDINGS or not (_is_unconfirmed(last) or is_ambiguous(last)):
            raise translate(last) from last
    raise AssertionError("unreachable")


async def _write(
    collection: Collection, operations: Sequence[Any], documents: Sequence[RawBSONDocument], session: Session
) -> list[bool | OutcomeError]:
    inserting = operations is documents
    sent_before = False
    for sending in range(1, _SENDINGS + 1):
        try:
            if inserting:
                await collection.insert_many(operations, ordered=False, session=session)
            else:
                await collection.bulk_write(operations, ordered=False, session=session)
            return [True] * len(documents)
        except BulkWriteError as error:
            if session is not None:
                if error.has_error_label("TransientTransactionError"):
                    raise translate(error) from error
                return _answers(error, len(documents))
            if not _is_unconfirmed(error):
                answers = _answers(error, len(documents))
                return await _own(collection, answers, documents) if sent_before else answers
            last: Exception = error
        except PyMongoError as error:
            if session is not None or not is_ambiguous(error):
                raise translate(error) from error
            last = error
        if sending == _SENDINGS:
            raise translate(last) from last
        sent_before = True
    raise AssertionError("unreachable")


def _answers(error: BulkWriteError, count: int) -> list[bool | OutcomeError]:
    answers: list[bool | OutcomeError] = [True] * count
    for failed in (error.details or {}).get("writeErrors", ()):
        code = failed.get("code")
        answers[failed["index"]] = (
            False if code == _DUPLICATE_KEY else translate(OperationFailure("bulk write", code, failed))
        )
    return answers


def _is_unconfirmed(error: Exception) -> bool:
    return isinstance(error, BulkWriteError) and bool((error.details or {}).get("writeConcernErrors"))


async def _own(
    collection: Collection, answers: list[bool | OutcomeError], documents: Sequence[RawBSONDocument]
) -> list[bool | OutcomeError]:
    """After a repeated sending: a duplicate that is the very same version was the first sending's success."""
    doubtful = [at for at, answer in enumerate(answers) if answer is False]
    stored = await find(
        collection, [documents[at]["_id"] for at in doubtful], {"v": 1, "ts": 1, "m": 1, "raw": 1}
    )
    for at, document in zip(doubtful, stored, strict=True):
        ours = documents[at]
        answers[at] = document is not None and all(
            document.get(name) == ours.get(name) for name in ("v", "ts", "m", "raw")
        )
    return answers
