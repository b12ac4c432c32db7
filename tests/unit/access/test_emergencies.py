"""The end of an emergency access is told once, when its time is over. audit.md 3.3 (110138)."""

from __future__ import annotations

import asyncio

from fhirserver.access.breakglass import SECONDS, BreakGlass
from fhirserver.access.roles import Roles
from fhirserver.access.vocabulary import DefinedVocabulary
from fhirserver.context import Agent, AuthEvent
from fhirserver.r4.definitions import Definitions
from fhirserver.store import connect
from fhirserver.store.emergencies import Emergencies

DOCTOR = Agent(
    "x", client="app", user="u-42", fhir_user="Practitioner/42", roles=frozenset(("practitioner",))
)
DAY = 86_400


class Forgetful:
    """Takes the place of the situations, which remember nothing here."""

    roles = Roles(DefinedVocabulary(Definitions.load()), {})

    def forget(self, user: str) -> None:
        pass


def test_the_end_of_an_emergency_is_told_once(mongodb_uri: str, database_name: str) -> None:
    told: list[AuthEvent] = []
    now = [1_800_000_000.0]

    async def tell(happened: AuthEvent) -> None:
        told.append(happened)

    async def run() -> None:
        client = connect(mongodb_uri)
        try:
            emergencies = Emergencies(client[database_name], "default")
            glass = BreakGlass(emergencies, Forgetful(), tell, lambda: now[0])  # type: ignore[arg-type]
            await glass.open(glass.prepared(DOCTOR, "p1", "unconscious at the door"))
            standing = await emergencies.standing("u-42", now[0])
            now[0] += SECONDS - 1
            assert await glass.tell_ended() == 0
            now[0] += 1
            assert [await glass.tell_ended(), await glass.tell_ended()] == [1, 0]
            begun, ended = told
            assert (begun.kind, ended.kind) == ("break-glass-started", "break-glass-ended")
            assert begun.grant == ended.grant == standing["p1"][1]
            assert (ended.user, ended.fhir_user, ended.patient) == ("u-42", "Practitioner/42", "p1")
            await glass.open(glass.prepared(DOCTOR, "p2", "unconscious at the door"))
            now[0] += 8 * DAY  # nobody was there to tell of it in time
            assert await glass.tell_ended() == 0
        finally:
            await client.close()

    asyncio.run(run())
