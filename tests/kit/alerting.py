"""Work on the database of a running server with services of this process, such as raising alerts now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from fhirserver.app import lay
from fhirserver.audit.disclosure.alerts import Alert
from fhirserver.context import Agent, Permission, Trace
from fhirserver.operations.auditalerts import Usual, raise_alerts
from fhirserver.services import Services
from fhirserver.settings import Alerts, Audit, Settings
from fhirserver.store.client import socket_uri
from fhirserver.store.mongod_home import running_socket

Work = Callable[[Services, Permission], Awaitable[Any]]


def with_services(data_dir: Path, work: Work, **alerts: Any) -> Any:
    """What `work` comes to, done by an officer. `alerts`: settings of the alerts."""
    socket = running_socket(data_dir)
    assert socket is not None
    settings = Settings(
        mongodb_uri=SecretStr(socket_uri(str(socket))),
        data_dir=data_dir,
        audit=Audit(alerts=Alerts(**alerts)),
    )

    async def call() -> Any:
        base = await lay(settings)
        try:
            await base.audit.start()
            services = base.services(base.core, base.validator(()))
            trace = Trace({"k": "operation", "n": "officer"}, services.new_id)
            agent = Agent("officer", client="console", user="u-9", fhir_user="Practitioner/9")
            result = await work(services, Permission(agent, "test", trace=trace))
            await base.audit.stop()
            await services.store.close()
            return result
        finally:
            await base.close()

    return asyncio.run(call())


def raised_now(data_dir: Path, **alerts: Any) -> list[Alert]:
    """The alerts that the rules raise anew at this moment."""

    async def work(services: Services, permission: Permission) -> list[Alert]:
        return await raise_alerts(services, Usual())

    found: list[Alert] = with_services(data_dir, work, **alerts)
    return found
