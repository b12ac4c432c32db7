"""What access depends on beside the token: links to patients, opened records, consents. Read at most every few seconds.

A token whose situation was read in the last FRESH seconds costs no question to the database; every change has its
effect within that time everywhere, and at once in the process that made it (docs/decisions/0023).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fhirserver.access.consent import ConsentBook, Policy
from fhirserver.access.roles import Roles
from fhirserver.context import NOBODY_OPENED, Agent, Opened
from fhirserver.store.emergencies import Emergencies
from fhirserver.store.relations import Relations

FRESH = 5.0
_MOST = 10_000
_MONTH = 30.4375 * 86400
_Key = tuple[str, str | None]


@dataclass(frozen=True, slots=True, eq=False)
class Situation:
    """What holds for one agent now.

    `names`: `Type/id` by which consents may name the user. `linked`: ids of the patients that a practitioner has to do
    with. `opened`: ids of those opened by break-glass. `own`: `Type/id` of the practitioner and their roles. `now`:
    microseconds. `made`: what the planner has worked out for it. `organizations`: `Type/id` of those that the user works for.
    """

    names: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()
    linked: frozenset[str] = frozenset()
    opened: Mapping[str, Opened] = field(default_factory=lambda: NOBODY_OPENED)
    policies: tuple[Policy, ...] = ()
    now: int = 0
    until: float = 0.0
    made: dict[Any, Any] = field(default_factory=dict)
    organizations: frozenset[str] = frozenset()


@dataclass(slots=True)
class Situations:
    """Finds the Situation of an agent. `past`, `future`: seconds around now in which a visit links a practitioner."""

    relations: Relations
    emergencies: Emergencies
    consents: ConsentBook
    roles: Roles
    past: float
    future: float
    clock: Callable[[], float] = time.time
    _seen: dict[_Key, Situation] = field(default_factory=dict)
    _users: dict[str, set[_Key]] = field(default_factory=dict)
    _reading: dict[_Key, asyncio.Task[Situation]] = field(default_factory=dict)

    @classmethod
    def over(
        cls, relations: Relations, emergencies: Emergencies, roles: Roles, months: tuple[int, int]
    ) -> Situations:
        """Over the database. `months`: before and after now in which a visit links."""
        book = ConsentBook(relations, time.time, FRESH)
        return cls(relations, emergencies, book, roles, months[0] * _MONTH, months[1] * _MONTH)

    async def of(self, agent: Agent) -> Situation:
        """The agent's situation, at most FRESH seconds old."""
        now = self.clock()
        if not agent.key:  # made by the server itself: nothing tells one such agent from another
            return await self._read(agent, now)
        key = (agent.key, agent.purpose)
        seen = self._seen.get(key)
        if seen is not None and seen.until > now:
            return seen
        reading = self._reading.get(key)
        if reading is None:  # whoever asks meanwhile waits for the same answer
            reading = self._reading[key] = asyncio.create_task(self._read_for(key, agent, now))
        return await asyncio.shield(reading)

    def forget(self, user: str) -> None:
        """Something about a user changed in this process."""
        self._reading.clear()
        for key in self._users.pop(user, ()):
            self._seen.pop(key, None)

    def consents_changed(self) -> None:
        """A Consent was written in this process."""
        self._reading.clear()
        self.consents.forget()
        self._seen.clear()
        self._users.clear()

    async def _read_for(self, key: _Key, agent: Agent, now: float) -> Situation:
        """Read and keep it, unless something changed while it was read."""
        mine = asyncio.current_task()
        try:
            found = await self._read(agent, now)
            if self._reading.get(key) is mine:
                self._keep(key, agent, found)
            return found
        finally:
            if self._reading.get(key) is mine:
                del self._reading[key]

    def _keep(self, key: _Key, agent: Agent, found: Situation) -> None:
        if len(self._seen) >= _MOST:
            self._seen.clear()
            self._users.clear()
        self._seen[key] = found
        if agent.user is not None:
            self._users.setdefault(agent.user, set()).add(key)

    async def _read(self, agent: Agent, now: float) -> Situation:
        if agent.user is None:
            bound = await self.consents.policies() if agent.roles else ()
            return Situation(policies=bound, now=int(now * 1e6), until=now + FRESH)
        names = frozenset((agent.fhir_user,)) if agent.fhir_user else frozenset[str]()
        own: frozenset[str] = frozenset()
        linked: frozenset[str] = frozenset()
        works_for: frozenset[str] = frozenset()
        opened = await self.emergencies.standing(agent.user, now)
        if (agent.fhir_user or "").startswith(("Practitioner/", "PractitionerRole/")):
            works_as, works_for = await self.relations.roles_of(agent.fhir_user or "")
            own = names | works_as
            names |= works_as | works_for
            if any(role.grants["linked"] for role in self.roles.known(agent.roles)):
                past, future = int((now - self.past) * 1e6), int((now + self.future) * 1e6)
                linked = await self.relations.linked(own, past, future)
        policies = await self.consents.policies()
        until = min([now + FRESH, *(end for end, *_ in opened.values())])
        return Situation(
            names,
            own,
            linked,
            {patient: Opened(grant, reason) for patient, (_, grant, reason) in opened.items()},
            policies,
            int(now * 1e6),
            until,
            organizations=works_for,
        )


def patients_of(agent: Agent) -> frozenset[str]:
    """The patients that a patient or related person acts for; empty for everyone else."""
    if "patient" not in agent.roles:
        return frozenset()
    type, _, id = (agent.fhir_user or "").partition("/")
    return agent.acts_for | ({id} if type == "Patient" and id else frozenset())
