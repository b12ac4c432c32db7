"""Imported code systems in the database: the switch of versions, and selection as it is in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from fhirserver.outcome import Conflict
from fhirserver.store import DELETE, connect
from fhirserver.store.client import Client
from fhirserver.store.indexes import CONCEPTS, SYSTEMS
from fhirserver.store.terminology import MongoTerminology
from fhirserver.store.terminology_import import Imports
from fhirserver.terminology import Terminology, Verdict
from fhirserver.terminology.concepts import Concept
from fhirserver.terminology.expand import Options, expand
from fhirserver.terminology.filters import Filter
from fhirserver.terminology.importers import Head, ImportProblem, Reading
from fhirserver.terminology.shipped import Shipped
from fhirserver.terminology.subsume import subsumption
from fhirserver.terminology.systems import Branch, MemorySystem, Selection, System
from fhirserver.terminology.valuesets import Include, ValueSet
from tests.kit.teardown import ended
from tests.kit.terminology import a_code_system
from tests.unit.store.conftest import EVERYTHING, Fields

pytestmark = pytest.mark.anyio
URL = "urn:test:animals"
SHIPPED = Shipped()


@pytest.fixture
async def client(mongodb_uri: str, anyio_backend: str) -> AsyncIterator[Client]:
    client = connect(mongodb_uri)
    yield client
    await ended(client.close())


@pytest.fixture
def imports(client: Client, database_name: str) -> Imports:
    return Imports(client[database_name], "default")


@pytest.fixture
def terminology(client: Client, database_name: str) -> Terminology:
    return Terminology(SHIPPED, MongoTerminology(client[database_name], "default", SHIPPED, 5000))


def animals() -> MemorySystem:
    return MemorySystem(a_code_system(URL))


def reading(concepts: Iterator[Concept] | None = None, version: str = "1") -> Reading:
    return Reading(Head(URL, version, "Animals"), concepts if concepts is not None else iter(animals()))


async def system(terminology: Terminology, version: str | None = None) -> System:
    found = await terminology.system(URL, version)
    assert found is not None
    return found


def branch(*filters: tuple[str, str, str], codes: set[str] | None = None) -> Branch:
    return Branch(None if codes is None else frozenset(codes), tuple(Filter(*each) for each in filters))


SELECTIONS = [
    Selection(),
    Selection((branch(codes={"cat", "unicorn"}),)),
    *(
        Selection((branch(each),))
        for each in (
            ("concept", "is-a", "dog"), ("concept", "descendent-of", "mammal"), ("concept", "is-not-a", "dog"),
            ("concept", "generalizes", "poodle"), ("concept", "generalizes", "unicorn"), ("code", "regex", "[cd]o?[agt]+"),
            ("display", "regex", ".*o.*"), ("legs", "regex", "[24]"), ("legs", "=", "4"), ("legs", "in", "2,8"),
            ("legs", "not-in", "2,8"), ("legs", "exists", "true"), ("legs", "exists", "false"),
            ("definition", "exists", "true"), ("display", "=", "Cat"), ("parent", "=", "dog"), ("parent", "exists", "false"),
            ("child", "=", "poodle"), ("child", "=", "unicorn"), ("inactive", "=", "true"), ("inactive", "=", "false"),
            ("inactive", "in", "true,false"), ("inactive", "not-in", "true"), ("inactive", "exists", "true"),
            ("inactive", "regex", "t.*"), ("code", "in", "cat, dog"), ("concept", "not-in", "cat,dog"),
        )
    ),
    Selection((branch(("concept", "is-a", "mammal"), ("legs", "exists", "true")),)),
    Selection((branch(codes={"dodo"}), branch(("concept", "is-a", "dog")))),
    Selection(excluded=(branch(("concept", "is-a", "dog")), branch(codes={"dodo"}))),
    Selection(excluded=(branch(),)),
    Selection(within=frozenset({"cat", "dodo"}), active=True),
    Selection(words=("do",)), Selection(words=("ca", "felis")), Selection(words=("gat",)), Selection(words=("cao",)),
    Selection(active=True), Selection(selectable=True), Selection(active=True, selectable=True),
]  # fmt: skip


async def test_the_database_selects_as_memory_does(imports: Imports, terminology: Terminology) -> None:
    await imports.run(reading())
    stored, memory = await system(terminology), animals()
    assert len(SELECTIONS) == 41
    different = []
    for selection in SELECTIONS:
        ours, theirs = await stored.select(selection, 0, 10), await memory.select(selection, 0, 10)
        if ours.total != theirs.total or {c.code for c in ours.concepts} != {c.code for c in theirs.concepts}:
            different.append((selection, ours, theirs))
    assert different == []


async def test_a_concept_comes_back_as_it_was(imports: Imports, terminology: Terminology) -> None:
    await imports.run(reading())
    stored = await system(terminology)
    assert await stored.find(["cat", "poodle", "unicorn"]) == await animals().find(["cat", "poodle"])
    assert (stored.info.count, stored.info.hierarchical, "legs" in stored.info.properties) == (5, True, True)


async def test_pages_and_totals_of_many_concepts(imports: Imports, terminology: Terminology) -> None:
    await imports.run(reading(Concept(f"c{n:05}", f"Name {n % 7} x{n}") for n in range(12_000)))
    stored = await system(terminology)
    page = await stored.select(Selection(), 11_998, 5)
    assert ([c.code for c in page.concepts], page.total) == (["c11998", "c11999"], 12_000)
    found = await stored.select(Selection(words=("x11999",)), 0, 5)
    assert ([c.code for c in found.concepts], found.total) == (["c11999"], 1)
    many = await stored.select(Selection(words=("name",)), 3, 2)
    assert ([c.code for c in many.concepts], many.total) == (["c00003", "c00004"], None)


async def test_a_new_import_takes_the_place_of_the_old(
    imports: Imports, terminology: Terminology, client: Client, database_name: str
) -> None:
    assert await imports.run(reading()) == 5
    assert await imports.run(reading(iter([Concept("emu", "Emu")]))) == 1
    stored = await system(terminology)
    assert set(await stored.find(["emu", "cat"])) == {"emu"}
    assert await client[database_name][CONCEPTS].count_documents({}) == 1
    assert [info.count for info in await imports.systems()] == [1]


async def test_versions_live_beside_each_other(imports: Imports, terminology: Terminology) -> None:
    await imports.run(reading(iter([Concept("old")]), "1.9"))
    await imports.run(reading(iter([Concept("new")]), "1.10"))
    assert (await system(terminology)).info.version == "1.10"
    assert set(await (await system(terminology, "1.9")).find(["old", "new"])) == {"old"}
    assert await imports.remove(URL, "1.10") == 1
    assert (await system(terminology)).info.version == "1.9"
    assert await imports.remove(URL, None) == 1
    assert await terminology.system(URL) is None
    assert await imports.remove(URL, None) == 0


async def test_an_import_that_fails_changes_nothing(
    imports: Imports, terminology: Terminology, client: Client, database_name: str
) -> None:
    def broken() -> Iterator[Concept]:
        yield from (Concept(f"n{n}") for n in range(1500))
        raise ImportProblem("line 1501")

    with pytest.raises(ImportProblem):
        await imports.run(reading(broken()))
    assert await terminology.system(URL) is None
    await imports.run(reading())
    for concepts in (broken(), iter([Concept("a"), Concept("a")]), iter(())):
        with pytest.raises(ImportProblem):
            await imports.run(reading(concepts))
    assert (await system(terminology)).info.count == 5
    assert await client[database_name][CONCEPTS].count_documents({}) == 5
    assert "pending" not in (await client[database_name][SYSTEMS].find_one({}) or {})


async def test_of_two_imports_at_a_time_the_later_wins(
    imports: Imports, terminology: Terminology, client: Client, database_name: str
) -> None:
    await imports._begin(Head(URL, "1", "Animals"), imports._key(Head(URL, "1", "Animals")), "cut-off")
    await client[database_name][CONCEPTS].insert_one({"_id": "cut-off/x", "s": "cut-off", "n": 0})
    await imports.run(reading())  # what the import that was cut off has left is gone
    assert await client[database_name][CONCEPTS].count_documents({}) == 5

    def overtaken() -> Iterator[Concept]:
        yield Concept("early")

    first = reading(overtaken())
    key = imports._key(first.head)
    before = await imports._begin(first.head, key, "first")
    await imports.run(reading())
    with pytest.raises(Conflict) as refused:
        await imports._switch(key, "first", first.head, 1, {"hierarchical": False, "properties": []})
    assert refused.value.issues[0].code == "import-overtaken"
    assert before is not None
    assert (await system(terminology)).info.count == 5


async def test_value_sets_and_subsumption_reach_into_the_database(
    imports: Imports, terminology: Terminology
) -> None:
    await imports.run(reading())
    stored = await system(terminology)
    assert await subsumption(stored, "mammal", "poodle") == "subsumes"
    listed = Include("urn:other", None, (), (), ())
    dogs = Include(URL, None, None, (Filter("concept", "is-a", "dog"),), ())
    expansion = await expand(terminology, ValueSet("urn:vs", None, (dogs, listed)), Options())
    assert [entry.concept.code for entry in expansion.entries] == ["dog", "poodle"]


async def test_the_synchronous_question_says_that_it_cannot_ask_the_database(
    imports: Imports, terminology: Terminology
) -> None:
    whole = f"{URL}?fhir_vs"
    assert terminology.member(whole, URL, "cat").reason == "system-unknown"
    await imports.run(reading())
    assert await terminology.refresh()
    assert not await terminology.refresh()
    assert terminology.member(whole, URL, "cat").reason == "system-in-database"
    assert terminology.member(whole, URL, "cat").verdict is Verdict.UNKNOWN


class Urls:
    """Indexes what terminology asks for: url and version."""

    def index(self, type: str, resource: dict[str, Any]) -> Fields:
        return Fields({"url": [resource["url"]], "version": [resource.get("version", "")]})


def replacing(resource: dict[str, Any]) -> Any:
    async def change(current: Any) -> dict[str, Any]:
        return dict(resource)

    return change


WHOLE = {
    "resourceType": "ValueSet", "url": "urn:vs", "status": "active", "compose": {"include": [{"system": URL}]},
}  # fmt: skip
EMPTY = a_code_system(URL, concept=[{"code": "unicorn"}])


async def test_small_stored_resources_answer_at_once(make_store: Any, terminology: Terminology) -> None:
    async with make_store(indexer=Urls()) as store:
        await store.create("ValueSet", "v", dict(WHOLE), permission=EVERYTHING)
        await store.create("CodeSystem", "c", a_code_system(URL), permission=EVERYTHING)
        assert await terminology.refresh()
        assert terminology.member("urn:vs", URL, "cat", "gato").display_fits is True
        assert terminology.member("urn:vs", None, "unicorn").verdict is Verdict.NO
        assert not await terminology.refresh()
        await store.modify("CodeSystem", "c", replacing(EMPTY), permission=EVERYTHING, method="PUT")
        assert await terminology.refresh()
        assert terminology.member("urn:vs", None, "unicorn").verdict is Verdict.YES
        await store.modify("ValueSet", "v", deleting, permission=EVERYTHING, method="DELETE")
        assert await terminology.refresh()
        assert terminology.member("urn:vs", None, "unicorn").reason == "value-set-unknown"


async def deleting(current: Any) -> Any:
    return DELETE


async def test_large_stored_resources_are_left_to_the_operations(
    make_store: Any, terminology: Terminology
) -> None:
    many = a_code_system(URL, concept=[{"code": f"c{n}", "display": "x" * 100} for n in range(1200)])
    async with make_store(indexer=Urls()) as store:
        await store.create("CodeSystem", "c", many, permission=EVERYTHING)
        await store.create("ValueSet", "v", dict(WHOLE), permission=EVERYTHING)
        assert await terminology.refresh()
        assert terminology.member("urn:vs", URL, "c7").reason == "too-large"
        assert set(await (await system(terminology)).find(["c7", "cat"])) == {"c7"}


async def test_every_worker_sees_a_change_at_once(
    make_store: Any, terminology: Terminology, client: Client, database_name: str
) -> None:
    other = Terminology(SHIPPED, MongoTerminology(client[database_name], "default", SHIPPED, 5000))
    foreign = Terminology(SHIPPED, MongoTerminology(client[database_name], "elsewhere", SHIPPED, 5000))
    async with make_store(indexer=Urls()) as store:
        await store.create("CodeSystem", "c", a_code_system(URL), permission=EVERYTHING)
        for each in (terminology, other):
            assert set(await (await system(each)).find(["cat", "unicorn"])) == {"cat"}
        await store.modify("CodeSystem", "c", replacing(EMPTY), permission=EVERYTHING, method="PUT")
        for each in (terminology, other):
            assert set(await (await system(each)).find(["cat", "unicorn"])) == {"unicorn"}
        assert await foreign.system(URL) is None  # another tenant's
