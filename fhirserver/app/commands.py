"""The same parts for the command line: built, used once, closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import TypeVar

from fhirserver.access.oauth.assemble import assemble
from fhirserver.access.oauth.minting import mint
from fhirserver.access.oauth.parts import Parts, Visit
from fhirserver.app.clock import now
from fhirserver.app.follow import FOLLOW_SECONDS, with_own
from fhirserver.app.foundation import Foundation, lay
from fhirserver.audit.purge import Purge, check_right, plan, remove
from fhirserver.context import Agent, Interaction, Kind, Permission, Trace
from fhirserver.operations import OPERATIONS
from fhirserver.search.index import Indexer
from fhirserver.settings import Settings
from fhirserver.store import connect
from fhirserver.store.home import Database
from fhirserver.store.ledger import Ledger
from fhirserver.store.parameters import mark_indexed, own_parameters
from fhirserver.store.reindex import reindex as rebuild

T = TypeVar("T")


async def audit_report(settings: Settings, given: Mapping[str, str]) -> bytes:
    """A report on the audit log for the command line. `given`: parameters of $report.

    Raises OutcomeError, CannotStart.
    """
    base = await lay(settings)
    try:
        await base.audit.start()
        services = base.services(base.core, base.validator(()))
        trace = Trace({"k": "operation", "n": "command line"}, services.new_id)
        permission = Permission(Agent("command line"), "report of the command line", trace=trace)
        asked = Interaction(Kind.OPERATION, "AuditEvent", query=tuple(given.items()), operation="report")
        result = await OPERATIONS["report"].handler(asked, permission, services)
        await base.audit.alerts.note_use("report", list(given.items()))
        await base.audit.stop()
        await services.store.close()
        return result.content.body if result.content is not None else b""
    finally:
        await base.close()


async def audit_purge(settings: Settings, before: date, approvers: Sequence[str]) -> tuple[Purge, int]:
    """Purge the audit log: what was planned, and how many events went. Raises PurgeRefused, OutcomeError, CannotStart."""
    base = await lay(settings)
    try:
        ledger, chosen = Ledger(base.home.audit), settings.audit
        today = datetime.fromtimestamp(now() / 1_000_000, UTC).date()
        planned = await plan(
            ledger,
            before,
            years=chosen.retention_years,
            approvers=approvers,
            today=today,
            hold=chosen.legal_hold,
        )
        async with _purging(settings, base) as purging:
            await check_right(purging)
            await base.audit.start()
            await base.audit.alerts.note_purge(planned)
            removed = await remove(purging, planned)
            await base.audit.stop()
        return planned, removed
    finally:
        await base.close()


@asynccontextmanager
async def _purging(settings: Settings, base: Foundation) -> AsyncIterator[Ledger]:
    """The ledger as the user of `purge_uri` has it, where there is one."""
    uri = settings.audit.purge_uri
    if uri is None:
        yield Ledger(base.home.audit)
        return
    async with connect(uri.get_secret_value()) as client:
        yield Ledger(client[base.home.audit.name])


@asynccontextmanager
async def conformance(settings: Settings) -> AsyncIterator[tuple[Foundation, Database]]:
    """The parts and the database, for commands that manage definitions. Raises OutcomeError, CannotStart."""
    base = await lay(settings)
    try:
        yield base, base.client[settings.database]
    finally:
        await base.close()


async def reindex(
    settings: Settings,
    *,
    types: Sequence[str] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    """Index everything (or `types`) again, for `fhirserver reindex`; the number of resources done.

    Waits first until every running worker has taken up the present parameters. Raises OutcomeError,
    CannotStart.
    """
    base = await lay(settings)
    database = base.client[settings.database]
    try:
        own = await own_parameters(database, settings.tenant, base.core)
        if own.pending:
            await asyncio.sleep(2 * FOLLOW_SECONDS)
        indexer = Indexer(with_own(base.core, own), settings.tenant, settings.fhir_base)
        await base.audit.start()
        done = await rebuild(database, settings.tenant, indexer, own.stamp, types=types, progress=progress)
        if types is None:
            await mark_indexed(database, settings.tenant, own.stamp)
        await base.audit.recorder.record([base.audit.system.work("reindex", done)])
        await base.audit.stop()
        return done
    finally:
        await base.close()


async def with_oauth(settings: Settings, work: Callable[[Parts, Visit], T], *, with_key: bool = True) -> T:
    """What `work` makes of the authorization server's parts, for the command line: in a thread, audited at the end.

    `with_key`: the secrets key is needed, and must be the right one. Raises CannotStart and what `work` raises.
    """
    base = await lay(settings)
    visit = Visit("command line")
    try:
        if with_key:
            await asyncio.to_thread(base.oauth.sealing.prepare)
        return await asyncio.to_thread(work, assemble(settings, base.core, base.oauth), visit)
    finally:
        if visit.events:
            await base.audit.start()
            for event in visit.events:
                await base.audit.security.record(event)
            await base.audit.stop()
        await base.close()


async def mint_token(
    settings: Settings, *, scope: str, ttl: int, user: str | None = None, patient: str | None = None
) -> str:
    """A new access token, for `fhirserver token`. Raises CannotMint."""
    return await with_oauth(
        settings,
        lambda parts, visit: mint(parts, visit, scope=scope, ttl=ttl, user=user, patient=patient),
        with_key=False,
    )
