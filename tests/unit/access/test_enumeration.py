"""Who is counted, what counts, and when it is over: identifiers tried one by one, on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from fhirserver.access.enumeration import WINDOW, Guesses, identifiers
from fhirserver.access.scopes import Scopes
from fhirserver.context import Agent, Entry, Interaction, Kind, Page, Result, Version
from fhirserver.outcome import Throttled
from fhirserver.r4.definitions import Definitions
from fhirserver.store import connect
from fhirserver.store.misses import Misses

pytestmark = pytest.mark.anyio
LIMIT = 3
DEFINITIONS = Definitions.load()
NOBODY = Result(200, page=Page("searchset", ()))
SOMEBODY = Result(200, page=Page("searchset", (Entry(Version("Patient", "p", 1, 0, b"{}")),)))


def search(*values: str, name: str = "identifier", type: str = "Patient") -> Interaction:
    return Interaction(Kind.SEARCH_TYPE, type, query=((name, ",".join(values)),))


def an_agent(user: str | None = "u", client: str = "c") -> Agent:
    return Agent("x", client=client, user=user, scopes=Scopes())


class Worker:
    """A worker process; those of one test share a database and a clock."""

    def __init__(self, misses: Misses, clock: Callable[[], float]) -> None:
        self.waits: list[int] = []
        self.guesses = Guesses(misses, lambda agent: 9 if agent.client == "bulk" else LIMIT, clock)

    async def asks(
        self, interaction: Interaction, result: Result = NOBODY, agent: Agent | None = None
    ) -> bool:
        """True where the answer is given."""
        agent = agent or an_agent()
        try:
            self.guesses.admit(agent, interaction, DEFINITIONS)
            await self.guesses.answered(agent, interaction, result, DEFINITIONS)
        except Throttled as refused:
            self.waits.append(refused.retry_after or 0)
            return False
        return True


def in_database(uri: str, name: str, work: Callable[[Misses], object]) -> None:
    async def run() -> None:
        client = connect(uri)
        try:
            await work(Misses(client[name], "default"))  # type: ignore[misc]
        finally:
            await client.close()

    asyncio.run(run())


def test_different_identifiers_in_vain_are_counted_across_workers_until_they_are_old(
    mongodb_uri: str, database_name: str
) -> None:
    async def work(misses: Misses) -> None:
        now = [1_000_000.0]
        one, other = (Worker(misses, lambda: now[0]) for _ in range(2))
        assert await one.asks(search("1"))
        assert await one.asks(search("1"))  # the same
        assert await one.asks(search("2"), SOMEBODY)
        assert await other.asks(search("3"))
        assert await one.asks(search("4"))  # the third in vain: the limit
        assert not await one.asks(search("5"))
        assert not await other.asks(search("6"))  # another worker sees it with the next one
        assert all(0 < wait <= WINDOW.total_seconds() for wait in one.waits + other.waits)
        assert await one.asks(search("7", name="name"))
        assert await one.asks(search("8"), agent=an_agent("another"))
        assert await one.asks(search("9"), agent=Agent("open-mode"))  # no token is asked for
        now[0] += WINDOW.total_seconds() + 1
        assert await one.asks(search("10"))
        assert await other.asks(search("11"))

    in_database(mongodb_uri, database_name, work)


def test_an_app_without_a_user_may_have_a_limit_of_its_own(mongodb_uri: str, database_name: str) -> None:
    async def work(misses: Misses) -> None:
        worker = Worker(misses, lambda: 1_000_000.0)
        values = [str(number) for number in range(9)]
        assert await worker.asks(search(*values), agent=an_agent(None, "bulk"))
        assert not await worker.asks(search("x"), agent=an_agent(None, "bulk"))
        assert not await worker.asks(search(*values), agent=an_agent(None, "other"))

    in_database(mongodb_uri, database_name, work)


def test_what_was_tried_long_ago_is_forgotten(mongodb_uri: str, database_name: str) -> None:
    async def work(misses: Misses) -> None:
        at = datetime(2026, 3, 1, tzinfo=UTC)
        assert await misses.add("u", ["1", "2"], at, WINDOW) == 2
        assert await misses.add("u", ["2", "3"], at + timedelta(minutes=4), WINDOW) == 3
        assert (
            await misses.add("u", ["4"], at + timedelta(minutes=6), WINDOW) == 3
        )  # 1 is old, 2 was tried again
        assert await misses.add("v", ["4"], at, WINDOW) == 1

    in_database(mongodb_uri, database_name, work)


@pytest.mark.parametrize(
    ("interaction", "count"),
    [
        (search("a,b"), 2),
        (search("a\\,b"), 1),
        (search("https://x|529.982.247-25", "52998224725", "urn:y|52998224725"), 1),
        (search("x|CPF|1", name="identifier:of-type"), 1),
        (search("a", name="patient.identifier", type="Observation"), 1),
        (search("a", name="subject:Patient.identifier", type="Observation"), 1),
        (search("a", name="patient:identifier", type="Observation"), 1),
        (search("a", type="RelatedPerson"), 1),
        (search("a", name="identifier:not"), 1),
        (search("true", name="identifier:missing"), 0),
        (search("a", type="Appointment"), 0),
        (search("a", name="performer.identifier", type="Observation"), 1),
        (search("a", name="performer:Practitioner.identifier", type="Observation"), 0),
        (search("a", name="encounter.identifier", type="Observation"), 0),
        (search("a", name="appointment.actor:Patient.identifier", type="Encounter"), 1),
        (search("a", name="actor:identifier", type="Appointment"), 1),
        (search("a", name="_has:Patient:general-practitioner:identifier", type="Practitioner"), 1),
        (search("a", name="_has:Appointment:actor:patient.identifier", type="Practitioner"), 1),
        (search("a", name="_has:Appointment:actor:identifier", type="Patient"), 0),
        (search('identifier eq "a" or (not identifier eq b)', name="_filter"), 2),
        (search("patient.identifier eq a", name="_filter", type="Encounter"), 1),
        (search("patient[identifier eq a].name co b", name="_filter", type="Encounter"), 1),
        (search("name co identifier", name="_filter"), 0),
        (search("529.982.247-25", name="_content"), 1),
        (search("52998224725", name="patient._content", type="Encounter"), 1),
        (search("silva 1980", name="_content"), 0),
        (search("52998224725", name="_content", type="Observation"), 0),
        (search("a" * 100_000, name="_filter"), 0),
        (search("a", name="link:Patient." * 5000 + "identifier"), 0),
        (search("a", name="_has:Patient:link:" * 5000 + "identifier"), 0),
        (Interaction(Kind.SEARCH_SYSTEM, query=(("_type", "Patient"), ("identifier", "a"))), 1),
        (Interaction(Kind.PATCH, "Patient", query=(("identifier", "a"),)), 1),
        (Interaction(Kind.PATCH, "Patient", "p", query=(("identifier", "a"),)), 0),
        (search("a", name="name"), 0),
        (Interaction(Kind.CREATE, "Patient", query=(("identifier", "a"),)), 0),
    ],
)
def test_what_asks_for_a_patient_by_identifier(interaction: Interaction, count: int) -> None:
    assert len(identifiers(interaction, DEFINITIONS).texts) == count


PATIENT = b'{"resourceType":"Patient","identifier":[{"value":"1.1"}]}'


@pytest.mark.parametrize(
    ("interaction", "matches", "count"),
    [
        (search("11"), [PATIENT], 0),
        (search("11", "2"), [PATIENT], 1),
        (search("x|", "2", "3"), [PATIENT] * 3, 2),  # many have the system: nothing is said of the others
        (search("1", "2", "3"), [PATIENT] * 3, 3),
        (search("11", "2", "3", name="patient.identifier", type="Observation"), [b"{}"] * 3, 2),
        (search("11", name="patient.identifier", type="Observation"), [b"{}"] * 3, 0),
        (search("2", name="identifier:not"), [PATIENT], 1),
        (search("identifier eq 2 or name co a", name="_filter"), [PATIENT], 1),
        (search("identifier eq 11", name="_filter"), [PATIENT], 0),
    ],
)
def test_a_match_counts_for_the_identifier_that_it_has_only(
    interaction: Interaction, matches: list[bytes], count: int
) -> None:
    assert len(identifiers(interaction, DEFINITIONS).in_vain(matches)) == count
