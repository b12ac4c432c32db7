"""A database of indexed resources to search: stored as the store stores them, asked in FHIR's own words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlencode
from uuid import uuid4

from fhirserver.context import Permission
from fhirserver.outcome import BadRequest
from fhirserver.r4.definitions import Definitions
from fhirserver.search.index import Indexer
from fhirserver.search.query import SearchQuery, parse_query
from fhirserver.settings import Limits
from fhirserver.store.client import connect
from fhirserver.store.documents import prepare
from fhirserver.store.indexes import Collections
from fhirserver.store.search import FoundPage, Searcher
from fhirserver.terminology import Terminology
from fhirserver.terminology.questions import Questions
from tests.kit.trace import permitted

BASE = "https://clinic.example/fhir"
TENANT = "default"
ALL = permitted("test")
START = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
T = TypeVar("T")


@cache
def definitions() -> Definitions:
    return Definitions.load()


class Corpus:
    """Resources in a database of its own.

    `now`: what the clock shows, microseconds; each stored version takes a second.
    """

    def __init__(self, uri: str) -> None:
        self.runner = asyncio.Runner()
        self.name = f"test-{uuid4().hex[:12]}"
        self.client = self.run(self._connect(uri))
        self.database = self.client[self.name]
        self.limits = Limits()
        self.collections = Collections(self.database)
        self.indexer = Indexer(definitions(), TENANT, BASE)
        self.now = START

    async def _connect(self, uri: str) -> Any:
        return connect(uri)

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    def close(self) -> None:
        self.run(self.client.drop_database(self.name))
        self.run(self.client.close())
        self.runner.close()

    async def add_all(self, resources: Iterable[dict[str, Any]], tenant: str = TENANT) -> None:
        by_type: dict[str, list[Any]] = {}
        indexer = self.indexer if tenant == TENANT else Indexer(definitions(), tenant, BASE)
        for resource in resources:
            self.now += 1_000_000
            type = resource["resourceType"]
            id = resource.get("id") or uuid4().hex
            new = prepare(
                tenant,
                type,
                id,
                {**resource, "id": id},
                before=None,
                now=self.now,
                method="PUT",
                indexer=indexer,
            )
            by_type.setdefault(type, []).append(new.document)
        await self.collections.ensure(by_type)
        for type, documents in by_type.items():
            await self.database[type].insert_many(documents)

    def add(self, *resources: dict[str, Any], tenant: str = TENANT) -> None:
        self.run(self.add_all(resources, tenant))

    def delete(self, type: str, id: str) -> None:
        key = f"{TENANT}/{type}/{id}"
        tomb = {"_id": key, "t": TENANT, "v": 2, "ts": self.now, "m": "DELETE", "del": True}
        self.run(self.database[type].replace_one({"_id": key}, tomb))

    def searcher(self, **options: Any) -> Searcher:
        terms = Questions(Terminology.of_shipped(), BASE, self.limits.expansion)
        return Searcher(self.database, definitions(), b"k" * 32, self.limits, TENANT, terms, **options)

    def query(self, url: str, **options: Any) -> SearchQuery:
        path, _, text = url.partition("?")
        pairs = parse_qsl(text, keep_blank_values=True)
        parts = [unquote(part) for part in path.split("/") if part]
        compartment = (parts[0], parts[1]) if len(parts) == 3 else None
        type = parts[-1] if parts and parts[-1] != "*" else None
        return parse_query(
            definitions(), type, pairs, limits=self.limits, tenant=TENANT, base_url=BASE,
            compartment=compartment, now=self.now, **options,
        )  # fmt: skip

    def page(
        self, url: str, permission: Permission = ALL, cursor: str | None = None, **options: Any
    ) -> FoundPage:
        query = replace(self.query(url, **options), cursor=cursor)
        found: FoundPage = self.run(self.searcher().search(query, permission))
        return found

    def find(self, url: str, permission: Permission = ALL) -> list[str]:
        """The matches of the first page: ids, or Type/id at system level; in the order of the page."""
        return names(self.page(url, permission).matches, url)

    def found(self, url: str, permission: Permission = ALL) -> str:
        """The sorted ids of the first page, separated by blanks."""
        return " ".join(sorted(self.find(url, permission)))

    def walk(
        self, url: str, permission: Permission = ALL, meanwhile: Callable[[int], None] | None = None
    ) -> list[str]:
        """The matches of all pages in order."""
        found: list[str] = []
        cursor, at = None, 0
        while True:
            page = self.page(url, permission, cursor)
            found += names(page.matches, url)
            cursor = page.next
            if cursor is None:
                return found
            at += 1
            if meanwhile is not None:
                meanwhile(at)

    def included(self, url: str, permission: Permission = ALL) -> str:
        return " ".join(sorted(f"{v.type}/{v.id}" for v in self.page(url, permission).included))


def names(versions: Sequence[Any], url: str) -> list[str]:
    path = url.partition("?")[0]
    typed = path and not path.endswith("*")
    return [v.id if typed else f"{v.type}/{v.id}" for v in versions]


@contextmanager
def corpus_of(uri: str, *resources: dict[str, Any]) -> Iterator[Corpus]:
    corpus = Corpus(uri)
    try:
        corpus.add(*resources)
        yield corpus
    finally:
        corpus.close()


def url_of(type: str, *pairs: tuple[str, str]) -> str:
    """The URL of a search with these pairs, percent-encoded."""
    return f"{type}?{urlencode(pairs)}"


def refused(corpus: Corpus, type: str, *pairs: tuple[str, str]) -> str:
    """The error code of a search that is refused; "" where it is not."""
    try:
        corpus.find(url_of(type, *pairs))
    except BadRequest as error:
        return error.issues[0].code
    return ""
