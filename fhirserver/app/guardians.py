"""The work on the audit log that one worker does for all, under a lease."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from functools import partial

from fhirserver.app.audit import watch
from fhirserver.app.clock import now
from fhirserver.app.foundation import Foundation
from fhirserver.audit.anchor import keep_anchors, to_file, to_mail
from fhirserver.audit.atna import Repository
from fhirserver.audit.clocks import ClockWatch, of_database, of_ntp
from fhirserver.audit.keys import KeyFiles
from fhirserver.audit.outgoing import Feed
from fhirserver.audit.seal import Sealer
from fhirserver.audit.syslog import Receiver
from fhirserver.audit.webhook import Endpoint, Webhook
from fhirserver.jobs.leases import lead
from fhirserver.settings import Settings
from fhirserver.store.clock import database_time
from fhirserver.store.deliveries import Deliveries
from fhirserver.store.leases import Leases
from fhirserver.store.ledger import Ledger
from fhirserver.store.positions import Positions

Work = Callable[[], Awaitable[None]]


async def guardians(settings: Settings, base: Foundation) -> list[asyncio.Task[None]]:
    """The leased work on the audit log, begun."""
    ledger, positions, chosen = Ledger(base.home.audit), Positions(base.home.database), settings.audit
    keys, alarm = KeyFiles.of(settings), base.audit.alarm
    state = settings.data_dir / "audit" / "state.json"
    sealer = Sealer(
        ledger, keys, state, alarm, now, chosen.seal_interval, on_rotation=base.audit.note_rotation
    )
    work: dict[str, Work] = {
        "audit-seal": sealer.run,
        "audit-sweep": base.audit.sweeper.run,
        "audit-verify": watch(settings, base.home, base.core, base.audit).run,
    }
    sinks = [to_file(chosen.anchor.file)] if chosen.anchor.file else []
    if chosen.anchor.email:
        mail = (chosen.anchor.email, chosen.anchor.smtp, chosen.anchor.sender, chosen.origin)
        sinks.append(to_mail(*mail))
    if sinks:
        work["audit-anchor"] = partial(keep_anchors, ledger, positions, sinks, now, alarm)
    if chosen.syslog.host:
        receiver = Receiver(**chosen.syslog.model_dump())
        work["audit-syslog"] = Feed(ledger, positions, receiver, alarm).run
    if chosen.atna.url:
        given = chosen.atna.model_dump() | {
            "token": chosen.atna.token and chosen.atna.token.get_secret_value()
        }
        repository = Repository(note=base.audit.checkpoint, **given)
        work["audit-atna"] = Feed(ledger, positions, repository, alarm).run
    work |= _webhook(settings, base)
    work |= _clocks(settings, base)
    return [led(base, name, job) for name, job in work.items()]


def _webhook(settings: Settings, base: Foundation) -> dict[str, Work]:
    """The work that posts alerts, where that is wanted."""
    outgoing, database = base.access.outgoing, base.home.database
    endpoint = Endpoint.of(settings.audit.alerts, outgoing)
    if endpoint is None:
        return {}
    webhook = Webhook(
        endpoint,
        outgoing,
        base.audit.log,
        Deliveries(database, settings.tenant),
        Positions(database),
        settings.root_url,
        base.audit.alarm,
        now,
    )
    return {"audit-webhook": webhook.run}


def _clocks(settings: Settings, base: Foundation) -> dict[str, Work]:
    """The work that compares the clock of this machine, which is one of its own."""
    chosen, machine = settings.audit.alerts, socket.gethostname()
    sources = {"MongoDB": of_database(partial(database_time, base.client), now)}
    if chosen.clock_host:
        sources[chosen.clock_host] = of_ntp(chosen.clock_host, now)
    clocks = ClockWatch(sources, chosen.clock_offset, base.audit.alerts.put, now, machine)
    return {f"audit-clock/{machine}": clocks.run}


def led(base: Foundation, name: str, work: Work) -> asyncio.Task[None]:
    """`work`, begun wherever this worker holds its lease."""
    holder = f"{base.audit.recorder.chains[0].writer.hex()}/{name}"
    return asyncio.create_task(lead(Leases(base.home.database, holder), name, work))
