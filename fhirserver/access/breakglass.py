"""Break-glass: a practitioner opens the record of one patient in an emergency, for an hour, with a reason.

It opens what the rule of linked patients or a consent keeps closed, and nothing else: scopes and security labels stand.
For who sees people under pseudonyms it opens who the patient is.
Source: docs/explanation/access.md
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fhirserver.access.situation import Situations
from fhirserver.context import Agent, AuthEvent, Interaction
from fhirserver.outcome import INSUFFICIENT, BadRequest, Forbidden, NotFound
from fhirserver.r4.references import ID
from fhirserver.store.emergencies import Emergencies, Emergency

PURPOSE = "BTG"  # v3-ActReason
ROLE = "practitioner"  # beside those who see people under pseudonyms
SECONDS = 3600
SHORTEST, LONGEST = 10, 1000  # characters of a reason
_ABOUT = ("patient", "subject")


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """Opens records. `tell`: records what happened. `clock`: seconds since 1970."""

    emergencies: Emergencies
    situations: Situations
    tell: Callable[[AuthEvent], Awaitable[None]]
    clock: Callable[[], float] = time.time
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)

    def prepared(self, agent: Agent, patient: str, reason: str) -> Emergency:
        """The grant as it would be. Raises Forbidden for other roles, BadRequest for a reason that says nothing."""
        if agent.user is None or not self._may(agent):
            raise Forbidden(
                "Only a practitioner, or who sees pseudonyms, may open a record in an emergency.",
                code="break-glass-role",
                challenge=INSUFFICIENT,
            )
        if not SHORTEST <= len(reason.strip()) <= LONGEST:
            raise BadRequest(
                f"Give the reason in {SHORTEST} to {LONGEST} characters; it is kept and reviewed.",
                code="break-glass-reason",
            )
        now = self.clock()
        return Emergency(
            agent.user, patient, reason.strip(), now, now + SECONDS, agent.client, agent.fhir_user
        )

    def _may(self, agent: Agent) -> bool:
        roles = self.situations.roles.known(agent.roles)
        return ROLE in agent.roles or any(role.is_pseudonymous for role in roles)

    async def open(self, grant: Emergency) -> None:
        """Let a grant take effect, once its AuditEvent is durable. Raises Unavailable."""
        id = f"btg-{uuid.uuid4()}"
        ends = datetime.fromtimestamp(grant.until, UTC).isoformat(timespec="seconds")
        await self.tell(
            AuthEvent(
                "break-glass-started",
                grant.client,
                grant.user,
                grant=id,
                patient=grant.patient,
                detail=(("reason", grant.reason), ("expires", ends)),
                fhir_user=grant.fhir_user,
            )
        )
        await self.emergencies.put(id, grant)
        self.situations.forget(grant.user)

    async def _is_open(self, agent: Agent, patient: str) -> bool:
        return agent.user is not None and patient in (await self.situations.of(agent)).opened

    async def tell_ended(self) -> int:
        """Record the end of the grants whose time is over; how many. Raises Unavailable."""
        ended = await self.emergencies.over(self.clock())
        for id, grant in ended.items():
            await self.tell(
                AuthEvent(
                    "break-glass-ended",
                    grant.client,
                    grant.user,
                    grant=id,
                    patient=grant.patient,
                    fhir_user=grant.fhir_user,
                )
            )
            await self.emergencies.told(id)
        return len(ended)

    async def open_for(self, agent: Agent, interaction: Interaction) -> None:
        """Open the record that a request with the purpose BTG names, unless it is open. Raises as `prepared` does.

        And NotFound for a patient that is not there: there would be nothing to review.
        """
        patient = named_patient(interaction)
        if patient is None:
            raise BadRequest(
                "A request with the purpose BTG names one patient: the Patient itself, its compartment, or a search by "
                "patient=Patient/id. Or call $break-glass first.",
                code="break-glass-patient",
            )
        if await self._is_open(agent, patient):
            return
        async with self._opening:  # entries of a batch come at once, and are one emergency
            if await self._is_open(agent, patient):
                return
            grant = self.prepared(agent, patient, agent.reason or "")
            if not await self.situations.relations.is_stored("Patient", patient):
                raise NotFound("There is no Patient with the id that was asked for.", code="resource-unknown")
            await self.open(grant)


def named_patient(interaction: Interaction) -> str | None:
    """The id of the one patient that an interaction is about by its URL, None where it names none or several."""
    if interaction.type == "Patient" and interaction.id is not None:
        return interaction.id
    if interaction.compartment is not None and interaction.compartment[0] == "Patient":
        return interaction.compartment[1]
    named = {value.removeprefix("Patient/") for name, value in interaction.query if name in _ABOUT}
    found = next(iter(named), "")
    return found if len(named) == 1 and ID.fullmatch(found) else None
