"""Importing a code system: a new set of concepts is built beside the old one, then takes its place in one write."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from pymongo.errors import BulkWriteError, PyMongoError
from pymongo.write_concern import WriteConcern

from fhirserver.outcome import Conflict
from fhirserver.store.client import Document, translate, translate_write_error, translated
from fhirserver.store.indexes import CONCEPTS, SYSTEMS, Collections
from fhirserver.store.lanes import Database
from fhirserver.store.terminology import info_of
from fhirserver.store.terminology_concepts import document_of
from fhirserver.terminology.concepts import Concept, SystemInfo
from fhirserver.terminology.importers import Head, ImportProblem, Reading

_BATCH = 1000
_DUPLICATE = 11000


class Imports:
    """The imported code systems of one tenant."""

    def __init__(self, database: Database, tenant: str) -> None:
        self._database = database
        self._tenant = tenant
        self._systems = database[SYSTEMS]
        # the switch at the end waits for a majority, and with it for all that was written before
        self._concepts = database[CONCEPTS].with_options(write_concern=WriteConcern(w=1))

    async def run(
        self, reading: Reading, *, grace: float = 0.0, progress: Callable[[int], None] = lambda count: None
    ) -> int:
        """Import `reading` as the content of its url and version, replacing what was there; the number of concepts.

        Until the end the old content is served, whatever happens. `grace`: seconds for which it stays for questions
        under way. Raises ImportProblem, Conflict (another import of the same version began), Unavailable.
        """
        await Collections(self._database).ensure([CONCEPTS, SYSTEMS])
        head, key = reading.head, self._key(reading.head)
        new = secrets.token_hex(8)
        before = await self._begin(head, key, new)
        try:
            count, seen = await self._fill(new, reading.concepts, progress)
            if not count:
                raise ImportProblem("there is no concept in the files")
            await self._switch(key, new, head, count, seen)
        except BaseException:
            await self._drop(new)
            with translated():
                await self._systems.update_one({"_id": key, "pending": new}, {"$unset": {"pending": 1}})
                await self._systems.delete_one(
                    {"_id": key, "set": {"$exists": False}, "pending": {"$exists": False}}
                )
            raise
        if before is not None:
            await asyncio.sleep(grace)
            await self._drop(before)
        return count

    async def systems(self) -> list[SystemInfo]:
        """What is imported, by url and version."""
        with translated():
            rows = self._systems.find({"t": self._tenant, "set": {"$exists": True}}, sort=[("_id", 1)])
            return [info_of(row) for row in await rows.to_list()]

    async def remove(self, url: str, version: str | None) -> int:
        """Remove one version of a system, or all; the number of versions removed."""
        query: Document = {"t": self._tenant, "url": url} | (
            {"version": version} if version is not None else {}
        )
        with translated():
            rows = await self._systems.find(query).to_list()
            await self._systems.delete_many({"_id": {"$in": [row["_id"] for row in rows]}})
        for row in rows:
            for name in ("set", "pending"):
                if name in row:
                    await self._drop(row[name])
        return sum("set" in row for row in rows)

    def _key(self, head: Head) -> str:
        return f"{self._tenant}/{head.url}|{head.version}"

    async def _begin(self, head: Head, key: str, new: str) -> str | None:
        """Announce the import; the set that is there now. What an import that was cut off has left is dropped."""
        announced = {"t": self._tenant, "url": head.url, "version": head.version, "pending": new}
        with translated():
            old = await self._systems.find_one_and_update({"_id": key}, {"$set": announced}, upsert=True)
        if old is not None and "pending" in old:
            await self._drop(old["pending"])
        return old.get("set") if old is not None else None

    async def _fill(
        self, new: str, concepts: Iterator[Concept], progress: Callable[[int], None]
    ) -> tuple[int, Document]:
        """Write the concepts; their number, and what was seen of them."""
        count = 0
        hierarchical = False
        properties: set[str] = set()
        while batch := list(islice(concepts, _BATCH)):
            for concept in batch:
                hierarchical = hierarchical or bool(concept.parents)
                properties.update(each.code for each in concept.properties)
            documents = [document_of(new, self._tenant, count + at, each) for at, each in enumerate(batch)]
            await self._insert(documents)
            count += len(batch)
            progress(len(batch))
        return count, {"hierarchical": hierarchical, "properties": sorted(properties)}

    async def _insert(self, documents: list[Document]) -> None:
        try:
            await self._concepts.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            twice = [e["keyValue"]["_id"] for e in error.details["writeErrors"] if e["code"] == _DUPLICATE]
            if twice:
                code = twice[0].partition("/")[2]
                raise ImportProblem(f"the code {code} is in the files more than once") from None
            raise translate_write_error(error) from error
        except PyMongoError as error:
            raise translate(error) from error

    async def _switch(self, key: str, new: str, head: Head, count: int, seen: Document) -> None:
        told: dict[str, Any] = {
            "set": new,
            "name": head.name,
            "title": head.title,
            "language": head.language,
            "value_set": head.value_set,
            "count": count,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            **seen,
        }
        with translated():
            done = await self._systems.update_one(
                {"_id": key, "pending": new}, {"$set": told, "$unset": {"pending": 1}}
            )
        if not done.matched_count:
            raise Conflict("Another import of this version has begun meanwhile.", code="import-overtaken")

    async def _drop(self, set_id: str) -> None:
        with translated():
            await self._database[CONCEPTS].delete_many({"s": set_id})
