"""The composition root: Settings -> Services -> one ASGI application. Nothing else builds parts.

| part | here |
|---|---|
| clock and ids | clock |
| connections, schema, indexes | storage |
| who may do what | access |
| the audit worker and what verifies its log; its leased work | audit, guardians |
| what outlives a change of the definitions, and Services over it | foundation |
| the FHIR API, and the site around it | api, application |
| definitions that change while the server runs | follow |
| a worker process, from start to end | lifespan |
| the same parts for the command line | commands |
"""

from fhirserver.app.api import Asgi
from fhirserver.app.application import Application, build
from fhirserver.app.commands import (
    audit_purge,
    audit_report,
    conformance,
    mint_token,
    reindex,
    with_oauth,
)
from fhirserver.app.foundation import Foundation, lay
from fhirserver.app.lifespan import create

__all__ = [
    "Application",
    "Asgi",
    "Foundation",
    "audit_purge",
    "audit_report",
    "build",
    "conformance",
    "create",
    "lay",
    "mint_token",
    "reindex",
    "with_oauth",
]
