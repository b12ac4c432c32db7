"""The stations of a request, each one function over one Exchange: authorize -> validate -> store/search -> audit.

A single request is a batch of one; Bundles go through engine/bundle.py and transaction.py, which call the same functions per entry.
A failure becomes a Result and goes forward; nothing but this module catches everything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from fhirserver.audit.rest import note_opened
from fhirserver.context import Agent, Exchange, Interaction, Kind, Permission, Request, Result
from fhirserver.engine import bundle, transaction
from fhirserver.interactions import auditevents, create, delete, history, patch, read, search, update, vread
from fhirserver.operations import OPERATIONS
from fhirserver.outcome import (
    BadRequest,
    Internal,
    Issue,
    IssueCode,
    OutcomeError,
    Unavailable,
    operation_outcome,
)

if TYPE_CHECKING:
    from fhirserver.access.gate import Gate
    from fhirserver.audit.station import Auditor
    from fhirserver.services import Services

    Handler = Callable[[Interaction, Permission, Services], Awaitable[Result]]

_LOG = logging.getLogger("fhirserver.engine")
_BREATH = 16
_PATCHED = Issue(
    IssueCode.INFORMATIONAL, "patched", "The resource was patched; the token does not open it for reading.",
    severity="information",
)  # fmt: skip

HANDLERS: Mapping[Kind, Handler] = MappingProxyType(
    {
        Kind.READ: read.handle,
        Kind.VREAD: vread.handle,
        Kind.CREATE: create.handle,
        Kind.UPDATE: update.handle,
        Kind.PATCH: patch.handle,
        Kind.DELETE: delete.handle,
        Kind.SEARCH_TYPE: search.handle,
        Kind.SEARCH_SYSTEM: search.handle,
        Kind.SEARCH_COMPARTMENT: search.handle,
        Kind.HISTORY_INSTANCE: history.handle,
        Kind.HISTORY_TYPE: history.handle,
        Kind.HISTORY_SYSTEM: history.handle,
    }
)
_POINT_READS = (Kind.READ, Kind.VREAD)
_READ_SECONDS = 2.0  # a look-up by id takes a millisecond: beyond this the database is not there
_CHANGES = (Kind.UPDATE, Kind.PATCH, Kind.DELETE)
_FAULTS = 500
_WITH_RESOURCE = (Kind.CREATE, Kind.UPDATE)


@dataclass(frozen=True, slots=True)
class Engine:
    """Runs Exchanges. `gate`: makes the Permission of an interaction. `services`: what handlers work with.

    `auditor`: the audit station, which every Exchange leaves by.
    """

    services: Services
    gate: Gate
    auditor: Auditor

    async def run(self, exchange: Exchange) -> tuple[Result, ...]:
        """The results, one for each interaction, in order; failures are results too. Their events are durable."""
        traced = self.auditor.traced(exchange)
        return await self.auditor.finish(traced, await self._run(traced))

    async def refuse(
        self, request: Request, agent: Agent | None, interaction: Interaction | None, error: OutcomeError
    ) -> Result:
        """The result of a request that came to no Exchange, because of `error`."""
        return failed(await self.auditor.refuse(request, agent, interaction, error))

    async def _run(self, exchange: Exchange) -> tuple[Result, ...]:
        if exchange.bundle is None:
            return (await self.run_one(exchange, exchange.interactions[0]),)
        if not exchange.atomic:
            return await bundle.run_batch(self, exchange)
        try:
            results = await transaction.run_transaction(self, exchange)
        except OutcomeError as error:
            return (failed(error),)
        except Exception:  # noqa: BLE001 the engine is where a fault becomes an answer
            _LOG.exception("transaction failed", extra={"request_id": exchange.request_id})
            return (failed(_fault()),)
        for interaction in exchange.interactions:
            self.gate.written(interaction)
        return results

    async def run_one(self, exchange: Exchange, interaction: Interaction) -> Result:
        """One interaction through its stations, alone."""
        if interaction.refused is not None:
            return failed(interaction.refused)
        try:
            permission = await self.authorize(exchange.agent, interaction)
            self.validate(interaction)
            seconds = _READ_SECONDS if interaction.kind in _POINT_READS else None
            async with asyncio.timeout(seconds):
                result = await self.handle(interaction, permission, self.services)
        except TimeoutError:
            return failed(
                Unavailable(
                    "The database does not answer now; try again.", code="database-unavailable", retry_after=1
                )
            )
        except OutcomeError as error:
            return failed(error)
        except Exception:  # noqa: BLE001 the engine is where a fault becomes an answer
            _LOG.exception("interaction failed", extra={"request_id": exchange.request_id})
            return failed(_fault())
        self.gate.written(interaction)
        return result

    async def authorize(self, agent: Agent, interaction: Interaction) -> Permission:
        """What the agent may do with `interaction`, under its audit context. Raises Forbidden, NotAllowed."""
        permission = await self.gate.authorize(agent, interaction)
        auditevents.check(interaction, self.auditor.searchable, self.services)
        apart, trace = auditevents.out_of_reach(interaction), interaction.trace
        if trace is not None:
            note_opened(trace.record, permission.opened)
        criteria = permission.criteria
        if criteria is not None:
            criteria = replace(criteria, denied=_with(criteria.denied, apart), trace=trace)
        return replace(permission, denied=_with(permission.denied, apart), criteria=criteria, trace=trace)

    def validate(self, interaction: Interaction) -> None:
        """Raise BadRequest (no resource, another type) or Invalid (the resource breaks its definition)."""
        if interaction.kind not in _WITH_RESOURCE:
            return
        body = interaction.body
        if not isinstance(body, dict):
            raise BadRequest(
                "Send one resource, a JSON object or an XML element, as the body.", code="body-missing"
            )
        if body.get("resourceType") != interaction.type:
            raise BadRequest(
                f"The body must be a resource of the type in the URL, {interaction.type}.",
                code="type-mismatch",
                expression="resourceType",
            )
        self.services.validator.require(body, interaction.type)

    async def validate_all(self, interactions: tuple[Interaction, ...]) -> list[OutcomeError | None]:
        """The failure of each interaction, None for a valid one; lets other requests breathe in between."""
        failures: list[OutcomeError | None] = []
        for number, interaction in enumerate(interactions):
            if number % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)
            try:
                self.validate(interaction)
            except OutcomeError as error:
                failures.append(error)
            else:
                failures.append(None)
        return failures

    async def handle(self, interaction: Interaction, permission: Permission, services: Services) -> Result:
        """The handler's result. Raises OutcomeError."""
        if interaction.kind is Kind.OPERATION:
            return await OPERATIONS[interaction.operation or ""].handler(interaction, permission, services)
        try:
            result = await HANDLERS[interaction.kind](interaction, permission, services)
        except OutcomeError as error:
            if interaction.kind in _CHANGES and interaction.id is None and error.status < _FAULTS:
                await self.gate.unmatched(permission.agent, interaction)
            raise
        await self.gate.answered(permission.agent, interaction, result)
        if interaction.kind is Kind.PATCH and not permission.shows and result.version is not None:
            return replace(result, resource=operation_outcome((_PATCHED,)))
        return result


def _with(denied: frozenset[str], more: frozenset[str]) -> frozenset[str]:
    return denied if more <= denied else denied | more


def failed(error: OutcomeError) -> Result:
    """The result that tells a failure."""
    return Result(error.status, error=error)


def _fault() -> Internal:
    return Internal(
        "The server failed on this request; nothing about it is wrong as far as is known. Quote the X-Request-Id.",
        code="internal",
    )
