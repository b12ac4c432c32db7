"""Making anew what search sees of stored resources. Resumable: the place is kept for each type.

Only search fields change; version, time and bytes stay. A resource that is written meanwhile is left alone: its
writer knows the same parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pymongo import UpdateOne

from fhirserver.r4.jsontext import parse_json
from fhirserver.store.client import translated
from fhirserver.store.documents import SEARCH_FIELDS, Indexer
from fhirserver.store.home import AUDIT_TYPE
from fhirserver.store.indexes import Collections
from fhirserver.store.lanes import Database
from fhirserver.store.migrate import MIGRATIONS, SERVER, STALE

_BATCH = 200


async def reindex(
    database: Database,
    tenant: str,
    indexer: Indexer,
    stamp: Iterable[str],
    *,
    types: Iterable[str] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    """Index all resources (of `types`, if given) again; the number of resources done in this run.

    `stamp`: identifies the parameters; a run for the same ones goes on where an earlier one stopped.
    """
    run = "\n".join([f"form {MIGRATIONS[-1].version}", *sorted(stamp)])
    known = [type for type in await Collections(database).types() if type != AUDIT_TYPE]  # never updated
    total = 0
    for type in known if types is None else [name for name in known if name in set(types)]:
        place = f"{tenant}/reindex/{type}"
        with translated():
            record = await database[SERVER].find_one({"_id": place})
        last = record["last"] if record and record["run"] == run else None
        while rows := await _rows(database, tenant, type, last):
            changes = [_change(type, row, indexer) for row in rows]
            last = rows[-1]["_id"]
            with translated():
                await database[type].bulk_write(changes, ordered=False)
                await database[SERVER].update_one(
                    {"_id": place}, {"$set": {"run": run, "last": last}}, upsert=True
                )
            total += len(rows)
            progress(len(rows))
    with translated():
        await database[SERVER].delete_many({"_id": {"$regex": f"^{tenant}/reindex/"}})
        if types is None:
            await database[SERVER].update_one({"_id": STALE}, {"$addToSet": {"done": tenant}})
    return total


async def _rows(database: Database, tenant: str, type: str, last: str | None) -> list[dict[str, Any]]:
    start = last if last is not None else f"{tenant}/"
    query = {"_id": {"$gt": start, "$lt": f"{tenant}0"}, "del": {"$exists": False}}
    with translated():
        return await database[type].find(query, {"raw": 1, "v": 1}).sort("_id", 1).limit(_BATCH).to_list()


def _change(type: str, row: dict[str, Any], indexer: Indexer) -> UpdateOne:
    indexed = indexer.index(type, parse_json(row["raw"]))
    fields = {"ix": indexed.ix, "x": indexed.x, "cx": indexed.cx, "geo": indexed.geo}
    kept = {name: value for name, value in fields.items() if value or name == "ix"}
    gone = {name: "" for name in SEARCH_FIELDS if name not in kept}
    update: dict[str, Any] = {"$set": kept} | ({"$unset": gone} if gone else {})
    return UpdateOne({"_id": row["_id"], "v": row["v"]}, update)
