"""The compliance officer's pages, mounted on the site. No page needs scripts. Source: docs/how-to/audit-pages.md."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from fhirserver.console.auditevents import EventPages
from fhirserver.console.auditfigures import FigurePages
from fhirserver.console.auditreviews import ReviewPages
from fhirserver.console.auditshell import Door, Shell
from fhirserver.console.auditsignin import SignIn
from fhirserver.console.desk import AuditDesk
from fhirserver.console.session import Sessions

if TYPE_CHECKING:
    from fastapi import FastAPI

    from fhirserver.access.oauth.parts import Parts
    from fhirserver.context import AuthEvent
    from fhirserver.engine.stations import Engine

_LOG = logging.getLogger("fhirserver.console")


async def mount_console(
    site: FastAPI,
    parts: Parts,
    engine: Callable[[], Engine],
    on_event: Callable[[AuthEvent], Awaitable[None]],
    door: Door,
) -> None:
    """Register the pages as a client of the server, and add their routes. Raises Unavailable."""
    sessions = Sessions(parts, engine, on_event)
    if not await sessions.register():
        _LOG.warning("the audit pages need a base URL with https, or http on loopback")
        return
    shell = Shell(sessions, AuditDesk(engine), door)
    entry = SignIn(shell)
    pages = [page for made in (EventPages, ReviewPages, FigurePages) for page in made(shell).pages()]
    pages.append(("POST", "/console/sign-out", entry.sign_out))
    routes = [(method, path, shell.for_officers(handler)) for method, path, handler in pages]
    routes += [("GET", "/console/sign-in", entry.sign_in), ("GET", "/console/callback", entry.callback)]
    for method, path, route in routes:
        site.add_api_route(path, route, methods=[method], include_in_schema=False, response_model=None)
