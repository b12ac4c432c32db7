"""What is remembered of tokens and situations, and for how long. docs/decisions/0023."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import pytest

from fhirserver.access.consent import ConsentBook
from fhirserver.access.roles import Roles
from fhirserver.access.situation import FRESH, Situations
from fhirserver.access.tokens import TokenCheck, digest
from fhirserver.access.vocabulary import DefinedVocabulary
from fhirserver.context import Agent
from fhirserver.outcome import NotAuthenticated
from fhirserver.r4.definitions import Definitions
from fhirserver.store.relations import ConsentChange
from fhirserver.store.tokens import TokenRecord

BASE = "https://clinic.example/fhir"


@cache
def vocabulary() -> DefinedVocabulary:
    return DefinedVocabulary(Definitions.load())


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Kept:
    """The tokens of a database, which counts questions."""

    records: dict[str, TokenRecord] = field(default_factory=dict)
    asked: int = 0

    async def get(self, name: str) -> TokenRecord | None:
        self.asked += 1
        return self.records.get(name)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(clock: Clock) -> Kept:
    record = TokenRecord(
        digest("good"), "user/*.rs", clock.now + 60, user="u", fhir_user="Practitioner/1",
        roles=frozenset(("practitioner",)), audience=BASE,
    )  # fmt: skip
    return Kept({record.digest: record})


@pytest.fixture
def check(kept: Kept, clock: Clock) -> TokenCheck:
    return TokenCheck(kept, vocabulary(), BASE, clock)  # type: ignore[arg-type]


def agent(check: TokenCheck, shown: str = "good") -> Agent:
    return asyncio.run(check.agent(shown))


def test_a_token_is_looked_up_once_in_a_while(check: TokenCheck, kept: Kept, clock: Clock) -> None:
    first = agent(check)
    assert agent(check) is first
    assert kept.asked == 1
    clock.now += FRESH + 1
    assert agent(check) is first
    assert kept.asked == 2


def test_a_revoked_token_works_five_seconds_at_most(check: TokenCheck, kept: Kept, clock: Clock) -> None:
    agent(check)
    kept.records.clear()
    clock.now += FRESH
    with pytest.raises(NotAuthenticated):
        agent(check)


def test_a_token_ends_when_it_says(check: TokenCheck, clock: Clock) -> None:
    clock.now += 58
    agent(check)
    clock.now += 2
    with pytest.raises(NotAuthenticated):
        agent(check)


def test_a_change_of_roles_makes_another_agent(check: TokenCheck, kept: Kept, clock: Clock) -> None:
    before = agent(check)
    kept.records = {n: replace(r, roles=frozenset(("reception",))) for n, r in kept.records.items()}
    clock.now += FRESH
    after = agent(check)
    assert after.roles == {"reception"}
    assert after.key != before.key


@pytest.mark.parametrize(
    "change",
    [{"audience": "https://other.example/fhir"}, {"scope": "patient/*.rs"},
     {"roles": frozenset(("patient",)), "fhir_user": None}],
)  # fmt: skip
def test_a_token_for_another_server_or_without_its_patient_is_refused(
    check: TokenCheck, kept: Kept, change: dict[str, Any]
) -> None:
    kept.records = {n: replace(r, **change) for n, r in kept.records.items()}
    with pytest.raises(NotAuthenticated):
        agent(check)
    with pytest.raises(NotAuthenticated):
        agent(check, "unknown")


@dataclass
class Asked:
    """Relations and emergencies of a database, which count questions."""

    grants: dict[str, float] = field(default_factory=dict)
    changes: list[ConsentChange] = field(default_factory=list)
    since: list[int | None] = field(default_factory=list)
    links: int = 0
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def roles_of(self, practitioner: str) -> tuple[frozenset[str], frozenset[str]]:
        return frozenset(("PractitionerRole/r",)), frozenset(("Organization/o",))

    async def linked(self, actors: Any, lo: int, hi: int) -> frozenset[str]:
        self.links += 1
        self.begun.set()
        await asyncio.sleep(0)
        assert set(actors) == {"Practitioner/1", "PractitionerRole/r"}
        return frozenset(("p1",))

    async def consents(self, since: int | None) -> list[ConsentChange]:
        self.since.append(since)
        return self.changes

    async def standing(self, user: str, now: float) -> dict[str, tuple[float, str, str]]:
        return {patient: (until, "btg-1", "fell") for patient, until in self.grants.items() if until > now}


DOCTOR = Agent("x", user="u", fhir_user="Practitioner/1", roles=frozenset(("practitioner",)), key="k")


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def situations(asked: Asked, clock: Clock) -> Situations:
    book = ConsentBook(asked, clock, FRESH)  # type: ignore[arg-type]
    return Situations(asked, asked, book, Roles(vocabulary(), {}), 100, 10, clock)  # type: ignore[arg-type]


def of(situations: Situations) -> Any:
    return asyncio.run(situations.of(DOCTOR))


def test_a_situation_is_read_once_in_a_while(situations: Situations, asked: Asked, clock: Clock) -> None:
    first = of(situations)
    assert (first.linked, first.names) == ({"p1"}, {"Practitioner/1", "PractitionerRole/r", "Organization/o"})
    assert of(situations) is first
    assert asked.links == 1
    clock.now += FRESH
    assert of(situations) is not first


def test_who_asks_at_the_same_time_shares_one_reading(situations: Situations, asked: Asked) -> None:
    async def together() -> set[int]:
        found = await asyncio.gather(*(situations.of(DOCTOR) for _ in range(5)))
        return {id(each) for each in found}

    assert len(asyncio.run(together())) == 1
    assert asked.links == 1


def test_what_was_read_before_a_change_is_not_kept(situations: Situations, asked: Asked) -> None:
    async def changed_meanwhile() -> None:
        before = asyncio.create_task(situations.of(DOCTOR))
        await asked.begun.wait()
        situations.forget("u")
        after = await situations.of(DOCTOR)
        assert after is not await before
        assert await situations.of(DOCTOR) is after

    asyncio.run(changed_meanwhile())
    assert asked.links == 2


def test_an_emergency_ends_to_the_second(situations: Situations, asked: Asked, clock: Clock) -> None:
    asked.grants["p9"] = clock.now + 3
    assert of(situations).opened == {"p9": ("btg-1", "fell")}
    clock.now += 2.9
    assert of(situations).opened == {"p9": ("btg-1", "fell")}
    clock.now += 0.1
    assert of(situations).opened == {}


def test_a_grant_of_this_process_takes_effect_at_once(
    situations: Situations, asked: Asked, clock: Clock
) -> None:
    assert of(situations).opened == {}
    asked.grants["p9"] = clock.now + 60
    assert of(situations).opened == {}
    situations.forget("u")
    assert of(situations).opened == {"p9": ("btg-1", "fell")}


def test_consents_are_followed_by_time_and_forgotten_when_written(
    situations: Situations, asked: Asked, clock: Clock
) -> None:
    raw = b'{"resourceType":"Consent","provision":{"type":"deny"}}'
    asked.changes = [ConsentChange("c1", 50_000_000, ("p1",), raw)]
    assert [policy.patients for policy in of(situations).policies] == [("p1",)]
    asked.changes = [ConsentChange("c1", 60_000_000)]
    assert of(situations).policies
    situations.consents_changed()
    assert of(situations).policies == ()
    assert asked.since == [None, 20_000_000]


def test_consents_alike_are_one_policy(situations: Situations, asked: Asked) -> None:
    deny = b'{"resourceType":"Consent","provision":{"type":"deny"}}'
    permit = b'{"resourceType":"Consent","provision":{"type":"permit"}}'
    classes = b'{"resourceType":"Consent","provision":{"type":"deny","class":[{"code":"Observation"}]}}'
    given = (("c1", deny), ("c2", permit), ("c3", classes), ("c4", deny))
    asked.changes = [ConsentChange(key, 1, (f"p{key}",), raw) for key, raw in given]
    assert [policy.patients for policy in of(situations).policies] == [("pc1", "pc4"), ("pc3",)]


def test_agents_without_credentials_share_nothing(situations: Situations, asked: Asked) -> None:
    nameless = replace(DOCTOR, key="")
    assert asyncio.run(situations.of(nameless)) is not asyncio.run(situations.of(nameless))
