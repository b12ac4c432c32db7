"""A clinic's own search parameters: which are stored, and for which of them everything stored is indexed.

A parameter is its SearchParameter resource at one version; a new version must be indexed anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fhirserver.r4.definitions import Definitions
from fhirserver.r4.jsontext import parse_json
from fhirserver.store.client import translated
from fhirserver.store.documents import system_clock
from fhirserver.store.lanes import Database
from fhirserver.store.migrate import SERVER
from fhirserver.store.packages import packaged


@dataclass(frozen=True, slots=True)
class OwnParameters:
    """`resources`: the active ones. `stamp`: "id/version" of each, for one of a package its url; what changes when any of them does.

    `pending`: canonical urls of those for which a reindex has not finished yet.
    """

    resources: tuple[dict[str, Any], ...]
    stamp: frozenset[str]
    pending: frozenset[str]


async def own_parameters(database: Database, tenant: str, core: Definitions) -> OwnParameters:
    """The active SearchParameter resources that are not R4's own, those of packages included."""
    query = {"t": tenant, "ix.status": "active"}
    with translated():
        cursor = database["SearchParameter"].find(query, {"raw": 1, "v": 1}).sort("_id", 1)
        found = [(row, parse_json(row["raw"])) for row in await cursor.to_list()]
        record = await database[SERVER].find_one({"_id": _record(tenant)})
    given = {
        resource["url"]: (f"{package}/{resource['url']}|{resource.get('version', '')}", resource)
        for package, resource in await packaged(database, tenant, "SearchParameter")
        if resource.get("status") != "retired"
    }
    given |= {resource["url"]: (f"{row['_id']}/{row['v']}", resource) for row, resource in found}
    own = [pair for url, pair in sorted(given.items()) if url not in core.by_url]
    done = set(record["done"]) if record else set()
    stamps = {resource["url"]: stamp for stamp, resource in own}
    pending = frozenset(url for url, stamp in stamps.items() if stamp not in done)
    return OwnParameters(tuple(resource for _, resource in own), frozenset(stamps.values()), pending)


async def mark_indexed(database: Database, tenant: str, stamp: Iterable[str]) -> None:
    """Record that everything stored is indexed for the parameters of `stamp`, and for no others."""
    with translated():
        await database[SERVER].update_one(
            {"_id": _record(tenant)},
            {"$set": {"done": sorted(stamp), "at": system_clock()}},
            upsert=True,
        )


def _record(tenant: str) -> str:
    return f"{tenant}/search-parameters"
