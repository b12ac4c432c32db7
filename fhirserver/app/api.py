"""The FHIR API over Services, and the front that hands requests to it or to the site."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any

from fhirserver.app.foundation import Foundation
from fhirserver.engine.capabilities import capability_statement
from fhirserver.engine.routes import Router
from fhirserver.engine.stations import Engine
from fhirserver.engine.terminology import terminology_capabilities
from fhirserver.engine.withheld import is_withheld
from fhirserver.http.cors import Cors
from fhirserver.http.fhir import FhirApp
from fhirserver.http.oauth import SMART_CONFIGURATION
from fhirserver.http.peer import networks
from fhirserver.http.render import Renderer
from fhirserver.http.request import RequestReader
from fhirserver.r4.jsontext import dump_json
from fhirserver.services import Services

Asgi = Callable[[Any, Any, Any], Awaitable[None]]


def fhir_api(base: Foundation, services: Services) -> FhirApp:
    """The FHIR API over `services`."""
    settings = base.settings
    statement = dump_json(capability_statement(services, base.instance, base.started))

    async def terminology_statement() -> bytes:
        systems = await base.terminology.systems()
        return dump_json(terminology_capabilities(systems, settings, base.instance, base.started))

    gate = base.access.gate(services.definitions, base.elements)
    return FhirApp(
        RequestReader(
            services,
            Router(frozenset(services.definitions.resource_types)),
            proxies=networks(settings.trusted_proxies),
        ),
        Engine(
            services,
            gate,
            base.audit.auditor(services.store, partial(is_withheld, gate, services.store)),
        ),
        Renderer(settings.fhir_base, base.elements),
        Cors(frozenset(settings.cors_origins), lambda: base.origins),
        base.metrics,
        base.access_log,
        lambda: statement,
        terminology_statement,
    )


class Front:
    """The FHIR API below /fhir, everything else on the site. `fhir` may be exchanged between requests."""

    def __init__(self, fhir: FhirApp) -> None:
        self.fhir = fhir
        self.site: Any = fhir

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Answer one HTTP request."""
        path: str = scope.get("path", "")
        if path == SMART_CONFIGURATION:
            await self.site(scope, receive, send)
        elif path.startswith("/fhir") and (len(path) == _PREFIX or path[_PREFIX] == "/"):
            await self.fhir(scope, receive, send)
        else:
            await self.site(scope, receive, send)


_PREFIX = len("/fhir")
