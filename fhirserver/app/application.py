"""The running parts: the FHIR API, the site around it, and the tasks that go beside them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from fhirserver.access.oauth.assemble import assemble
from fhirserver.app.api import Asgi, Front, fhir_api
from fhirserver.app.follow import follow, follow_origins, with_own
from fhirserver.app.foundation import Foundation, lay
from fhirserver.app.guardians import guardians, led
from fhirserver.console.audit import mount_console
from fhirserver.console.pages import Pages, language_of
from fhirserver.http.metrics import SNAPSHOT_EVERY, Metrics
from fhirserver.http.oauth_site import mount_oauth
from fhirserver.http.openapi import openapi_document
from fhirserver.http.site import build_site
from fhirserver.operations import auditalerts
from fhirserver.outcome import OutcomeError
from fhirserver.services import Services
from fhirserver.settings import Settings
from fhirserver.store import CannotStart
from fhirserver.store.packages import own_profiles
from fhirserver.store.parameters import own_parameters

_READY_SECONDS = 3
_TASKS_SECONDS = 5  # less than http.stop.CLOSE_SECONDS: the audit is ended after the tasks
_LOG = logging.getLogger("fhirserver.app")


@dataclass(slots=True)
class Application:
    """The running parts: the ASGI callable and what is behind it. `close` ends it cleanly."""

    asgi: Asgi
    services: Services
    close: Callable[[], Awaitable[None]]


async def build(settings: Settings) -> Application:
    """Build the parts and connect to the database.

    Raises CannotStart where the database cannot be used or has a schema of a newer server.
    """
    base = await lay(settings)
    try:
        await asyncio.to_thread(base.oauth.sealing.prepare)
    except (CannotStart, OutcomeError):
        await base.close()
        raise
    database = base.client[settings.database]
    own = await own_parameters(database, settings.tenant, base.core)
    profiles = await own_profiles(database, settings.tenant)
    await base.terminology.refresh()
    services = base.services(with_own(base.core, own), base.validator(profiles.resources))
    front = Front(fhir_api(base, services))
    await _mount_site(base, front, services)
    await follow_origins(base)
    tasks = [asyncio.create_task(follow(base, front, own, profiles.stamp))]
    if settings.metrics_dir:
        tasks.append(asyncio.create_task(_snapshots(base.metrics)))
    await base.audit.start()
    tasks += [asyncio.create_task(base.audit.run())]
    tasks += await guardians(settings, base)
    tasks.append(led(base, "audit-alerts", partial(auditalerts.watch, lambda: front.fhir.engine.services)))
    return Application(front, services, partial(_close, base, front, tasks))


async def _mount_site(base: Foundation, front: Front, services: Services) -> None:
    """Put everything that is not below /fhir behind `front`: health, documentation, sign-in, console."""
    settings = base.settings

    async def ready() -> list[str]:
        try:
            async with asyncio.timeout(_READY_SECONDS):
                missing = await front.fhir.engine.services.store.collections.missing()
        except (OutcomeError, TimeoutError):
            return ["the database does not answer"]
        return [f"index missing: {name}" for name in missing] + base.audit.reasons()

    front.site = build_site(
        settings,
        ready,
        base.metrics,
        base.access_log,
        lambda: openapi_document(settings, services.definitions),
    )
    parts = assemble(settings, base.core, base.oauth)
    desk = mount_oauth(
        front.site,
        settings,
        parts,
        Pages(),
        language_of,
        lambda: front.fhir.engine,
        lambda: base.origins,
        base.audit.security.record,
    )
    await mount_console(front.site, parts, lambda: front.fhir.engine, base.audit.security.record, desk)


async def _close(base: Foundation, front: Front, tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    ended, stuck = await asyncio.wait(tasks, timeout=_TASKS_SECONDS)
    for task in stuck:
        _LOG.error("a task does not end", extra={"job": task.get_name()})
    for task in ended:
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("a task had failed", extra={"job": task.get_name()}, exc_info=error)
    if base.settings.metrics_dir:
        base.metrics.snapshot()
    base.access_log.flush()
    await front.fhir.engine.services.store.close()
    await base.audit.stop()
    await base.close()


async def _snapshots(metrics: Metrics) -> None:
    while True:
        metrics.snapshot()
        await asyncio.sleep(SNAPSHOT_EVERY)
