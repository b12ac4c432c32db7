"""The work on the audit log that one worker does for all, under a lease."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from fhirserver.app.audit import watch
from fhirserver.app.clock import now
from fhirserver.app.foundation import Foundation
from fhirserver.audit.anchor import keep_anchors, to_file, to_mail
from fhirserver.audit.keys import KeyFiles
from fhirserver.audit.seal import Sealer
from fhirserver.audit.syslog import Feed as SyslogFeed
from fhirserver.audit.syslog import Receiver
from fhirserver.jobs.leases import lead
from fhirserver.settings import Settings
from fhirserver.store.leases import Leases
from fhirserver.store.ledger import Ledger
from fhirserver.store.positions import Positions


async def guardians(settings: Settings, base: Foundation) -> list[asyncio.Task[None]]:
    """The leased work on the audit log, begun."""
    ledger, positions, chosen = Ledger(base.home.audit), Positions(base.home.database), settings.audit
    keys, alarm = KeyFiles.of(settings), base.audit.alarm
    state = settings.data_dir / "audit" / "state.json"
    sealer = Sealer(
        ledger, keys, state, alarm, now, chosen.seal_interval, on_rotation=base.audit.note_rotation
    )
    work: dict[str, Callable[[], Awaitable[None]]] = {
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
        work["audit-syslog"] = SyslogFeed(ledger, positions, receiver, alarm).run
    return [led(base, name, job) for name, job in work.items()]


def led(base: Foundation, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    """`work`, begun wherever this worker holds its lease."""
    holder = f"{base.audit.recorder.chains[0].writer.hex()}/{name}"
    return asyncio.create_task(lead(Leases(base.home.database, holder), name, work))
