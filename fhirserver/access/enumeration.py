"""Identifiers tried one by one: who searches for many that nobody has is not served for a while.

Only searches for patients by identifier count, and only those of callers with a token: a person, or an app without one.
What is counted are different identifiers without a match, shared between all workers; a worker refuses from the moment
on at which it has seen the limit passed. Source: docs/how-to/audit-alerts.md.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from fhirserver.context import Agent, Interaction, Kind, Result
from fhirserver.outcome import Throttled
from fhirserver.store.misses import Misses

WINDOW = timedelta(minutes=5)
_SEARCHES = (Kind.SEARCH_TYPE, Kind.SEARCH_COMPARTMENT, Kind.SEARCH_SYSTEM)
_PEOPLE = frozenset(("Patient", "RelatedPerson", "Person"))
_PATIENTS = frozenset(("patient", "subject", "individual", "beneficiary"))
_COMMA = re.compile(r"(?<!\\),")
_MOST = 10_000


@dataclass(slots=True)
class Guesses:
    """Counts and refuses. `limit`: of identifiers in vain, for an agent. `clock`: seconds since 1970."""

    misses: Misses
    limit: Callable[[Agent], int]
    clock: Callable[[], float] = time.time
    _refused: dict[str, float] = field(default_factory=dict)

    def admit(self, agent: Agent, interaction: Interaction) -> None:
        """Raises Throttled for a search by identifier of somebody who has tried too many."""
        until = self._refused.get(_caller(agent), 0.0) if self._refused else 0.0
        if until and agent.scopes is not None and identifiers(interaction):
            left = until - self.clock()
            if left > 0:
                raise _refusal(left)
            del self._refused[_caller(agent)]

    async def answered(self, agent: Agent, interaction: Interaction, result: Result) -> None:
        """Take note of what a search found. Raises Throttled instead of an answer beyond the limit, Unavailable."""
        if agent.scopes is None or interaction.kind not in _SEARCHES or result.page is None:
            return
        marks = identifiers(interaction)
        found = sum(entry.mode == "match" for entry in result.page.entries)
        if not marks or found >= len(marks):
            return
        caller, now = _caller(agent), self.clock()
        moment = datetime.fromtimestamp(now, UTC)
        count = await self.misses.add(caller, marks[found:], moment, WINDOW)
        limit = self.limit(agent)
        if count < limit:
            return
        if len(self._refused) >= _MOST:
            self._refused.clear()
        self._refused[caller] = now + WINDOW.total_seconds()
        if count > limit:
            raise _refusal(WINDOW.total_seconds())


def identifiers(interaction: Interaction) -> list[str]:
    """What stands for each identifier of a patient that a search asks for: a digest, the same however it is masked."""
    if interaction.kind not in _SEARCHES:
        return []
    found: dict[str, None] = {}
    for name, value in interaction.query:
        if _is_identifier(interaction.type, name):
            for one in _COMMA.split(value):
                text = "".join(filter(str.isalnum, one.rpartition("|")[2])).lower()
                found[hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]] = None
    return list(found)


def _is_identifier(type: str | None, name: str) -> bool:
    """True for a parameter that finds patients, or what is about them, by an identifier."""
    way, _, last = name.rpartition(".")
    code, _, modifier = last.partition(":")
    if code == "identifier" and modifier in ("", "of-type"):
        return (not way and type in _PEOPLE) or way.partition(":")[0] in _PATIENTS
    return not way and code in _PATIENTS and modifier == "identifier"


def _caller(agent: Agent) -> str:
    return agent.user or agent.client or agent.address or agent.name


def _refusal(seconds: float) -> Throttled:
    return Throttled(
        "Too many identifiers were searched for that no patient has; such searches are refused for a few minutes.",
        code="identifier-enumeration",
        retry_after=max(1, round(seconds)),
    )
