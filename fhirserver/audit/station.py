"""The audit station: from an Exchange and its Results to durable events, before anything is answered.

Every request passes here, whatever became of it: served, refused, failed, not even understood. Where its events cannot
be made durable the answer is withheld; only a write that is done is told as done, because the record that stands in
its version is durable already and the sweeper makes the event from it. Source: docs/explanation/audit.md
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from fhirserver.audit.agents import record_of, record_of_interaction
from fhirserver.audit.denials import AUTHENTICATION, CONSENT, RATE, denial
from fhirserver.audit.event import SUCCESS, Event, outcome_of
from fhirserver.audit.floods import Floods
from fhirserver.audit.record import Recorder
from fhirserver.audit.rest import AUDIT_TYPE, RestEvents, access_of, named_patients
from fhirserver.context import Agent, Exchange, Interaction, JsonObject, Request, Result, Trace
from fhirserver.outcome import NotFound, OutcomeError, Unavailable
from fhirserver.r4.references import ID

NOBODY = Agent("")
_FLOODS = (AUTHENTICATION, RATE)
_MOST_NODES = 2000
Withheld = Callable[[Agent, Interaction], Awaitable[bool]]
Owners = Callable[[str, str], Awaitable[tuple[str, ...] | None]]


@dataclass(frozen=True, slots=True)
class Auditor:
    """Audits Exchanges. `owners`: the patients of a stored resource by type and id, None where it is not there.

    `withheld`: whether a consent alone hides what an interaction names from its agent.
    `clock`: microseconds since 1970. `searchable`: codes of the search parameters that events are indexed by.
    """

    events: RestEvents
    recorder: Recorder
    owners: Owners
    withheld: Withheld
    clock: Callable[[], int]
    floods: Floods
    searchable: frozenset[str]

    def traced(self, exchange: Exchange) -> Exchange:
        """The Exchange with the audit context in each of its interactions."""
        agent, request, new_id = exchange.agent, exchange.request, self.events.builder.new_id
        traced = tuple(
            replace(one, trace=Trace(record_of_interaction(agent, request, one), new_id))
            for one in exchange.interactions
        )
        return replace(exchange, interactions=traced)

    async def finish(self, exchange: Exchange, results: tuple[Result, ...]) -> tuple[Result, ...]:
        """The results once their events are durable; where they are not, what may be told instead."""
        each = results
        if len(results) != len(exchange.interactions):  # a transaction that failed as a whole
            each = results * len(exchange.interactions)
        events: list[Event] = []
        for interaction, result in zip(exchange.interactions, each, strict=True):
            events += await self._events(exchange.agent, exchange.request, interaction, result)
        if exchange.bundle is not None:
            failed = exchange.atomic and results and results[0].error is not None
            outcome = outcome_of(results[0].status, results[0].error) if failed else SUCCESS
            record = record_of(exchange.agent, exchange.request, exchange.bundle)
            events.append(self.events.of_bundle(record, exchange.request, outcome, self.clock()))
        if results and all(isinstance(result.error, Unavailable) for result in results):
            self.recorder.submit(events)
            return results
        try:
            await self.recorder.record(events)
        except Unavailable as error:
            return tuple(result if _is_written(result) else _withheld(error) for result in results)
        return results

    async def refuse(
        self, request: Request, agent: Agent | None, interaction: Interaction | None, error: OutcomeError
    ) -> OutcomeError:
        """What to answer a request that came to no Exchange: `error`, once its event is durable."""
        events = await self._events(agent or NOBODY, request, interaction, Result(error.status, error=error))
        if isinstance(error, Unavailable):
            self.recorder.submit(events)
            return error
        try:
            await self.recorder.record(events)
        except Unavailable as failure:
            return failure
        return error

    async def _events(
        self, agent: Agent, request: Request | None, interaction: Interaction | None, result: Result
    ) -> list[Event]:
        trace = interaction.trace if interaction is not None else None
        if trace is not None:
            record = trace.record
        elif interaction is not None:
            record = record_of_interaction(agent, request, interaction)
        else:
            record = _unrouted(agent, request)
        targets: Sequence[str] = ()
        denied = None
        if result.error is not None or _is_empty(result):
            owners = await self._owners(interaction, result.error)
            hidden = owners is not None and isinstance(result.error, NotFound) and _is_of_one(interaction)
            denied = denial(result.error, hidden=hidden)
            if hidden and interaction is not None and await self.withheld(agent, interaction):
                denied = CONSENT
            targets = _targets(interaction, owners or (), denied)
            now = self.clock()
            address = agent.address or (request.address if request is not None else None)
            if denied in _FLOODS and not self.floods.admit(address, now):
                return []
        seen = trace.seen if trace is not None else ()
        access = access_of(record, request, interaction, result, seen, targets, denied)
        return self.events.of(access, self.clock())

    async def _owners(
        self, interaction: Interaction | None, error: OutcomeError | None
    ) -> tuple[str, ...] | None:
        """The patients of what a failed request meant, also where the caller may not know that it is there."""
        if (
            interaction is None
            or not interaction.type
            or not interaction.id
            or isinstance(error, Unavailable)
        ):
            return None
        with suppress(OutcomeError):
            return await self.owners(interaction.type, interaction.id)
        return None


def _unrouted(agent: Agent, request: Request | None) -> JsonObject:
    record = record_of(agent, request, "")
    return {name: value for name, value in record.items() if value}


def _is_empty(result: Result) -> bool:
    return result.version is None and (result.page is None or not result.page.entries)


def _is_of_one(interaction: Interaction | None) -> bool:
    """True for an interaction with one resource; a version may be unknown though its resource is there."""
    return interaction is not None and interaction.id is not None and interaction.vid is None


def _is_written(result: Result) -> bool:
    """True for a write that is done, whose version holds what its events can be made from."""
    version = result.version
    return (
        result.error is None and version is not None and bool(version.events) and version.type != AUDIT_TYPE
    )


def _withheld(error: Unavailable) -> Result:
    return Result(error.status, error=error)


def _targets(interaction: Interaction | None, owners: Sequence[str], denied: str | None) -> Sequence[str]:
    if interaction is None:
        return ()
    found = dict.fromkeys((*owners, *named_patients(interaction)))
    if denied is not None:
        found.update(dict.fromkeys(_mentioned(interaction.body)))
    return tuple(found)


def _mentioned(body: Any) -> list[str]:
    """Ids of the patients that a refused body refers to."""
    found: list[str] = []
    rest = [body]
    for _ in range(_MOST_NODES):
        if not rest:
            break
        value = rest.pop()
        if isinstance(value, dict):
            reference = value.get("reference")
            if isinstance(reference, str) and reference.startswith("Patient/"):
                id = reference.removeprefix("Patient/").partition("/")[0]
                if ID.fullmatch(id):
                    found.append(id)
            rest.extend(value.values())
        elif isinstance(value, list):
            rest.extend(value)
    return found
