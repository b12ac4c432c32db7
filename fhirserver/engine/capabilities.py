"""The CapabilityStatement, derived from the route table, the operations and the definitions: what is declared works.

Source: hl7.org/fhir/R4/capabilitystatement.html
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fhirserver import __version__
from fhirserver.access.oauth.discovery import capability_security
from fhirserver.context import Kind
from fhirserver.engine.routes import COMPARTMENTS, ROUTES
from fhirserver.interactions.auditevents import AUDIT_TYPE
from fhirserver.operations import OPERATIONS, Operation
from fhirserver.outcome import CANONICAL

if TYPE_CHECKING:
    from fhirserver.services import Services

_TYPE_LEVEL = (
    "read",
    "vread",
    "update",
    "patch",
    "delete",
    "history-instance",
    "history-type",
    "create",
    "search-type",
)
_WORDS = ("_text", "_content")
_SYSTEM_LEVEL = ("transaction", "batch", "search-system", "history-system")


def capability_statement(services: Services, instance: str, started: str) -> dict[str, Any]:
    """The statement as a resource.

    `instance`: id of the database behind, which is the statement's id. `started`: instant at which the server came up.
    """
    offered = {route.kind.value for route in ROUTES} | {Kind.TRANSACTION.value}
    types = sorted(services.definitions.resource_types)
    incoming = _referrers(services)
    return {
        "resourceType": "CapabilityStatement",
        "id": instance,
        "url": f"{CANONICAL}/CapabilityStatement/fhirserver",
        "version": __version__,
        "name": "FhirServer",
        "title": "fhirserver",
        "status": "active",
        "date": started,
        "kind": "instance",
        "software": {"name": "fhirserver", "version": __version__},
        "implementation": {"description": "FHIR R4 server for clinics", "url": services.settings.fhir_base},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "application/fhir+xml", "json", "xml"],
        "patchFormat": ["application/json-patch+json", "application/fhir+json"],
        "rest": [
            {
                "mode": "server",
                "security": capability_security(services.settings.root_url),
                "resource": [_resource(type, services, offered, incoming.get(type, [])) for type in types],
                "interaction": [{"code": code} for code in _SYSTEM_LEVEL if code in offered],
                "searchParam": _parameters("Resource", services),
                "operation": [
                    _operation(name, None) for name, o in OPERATIONS.items() if o.offered("system", None)
                ],
                "compartment": [
                    f"http://hl7.org/fhir/CompartmentDefinition/{name.lower()}" for name in COMPARTMENTS
                ],
            }
        ],
    }


def _referrers(services: Services) -> dict[str, list[str]]:
    """Type -> the `Source:parameter` that can point at it."""
    found: dict[str, list[str]] = {}
    for source in sorted(services.definitions.resource_types):
        for code, parameter in services.definitions.search_parameters(source).items():
            if parameter.type == "reference":
                for target in parameter.targets:
                    found.setdefault(target, []).append(f"{source}:{code}")
    return found


def _resource(type: str, services: Services, offered: set[str], incoming: list[str]) -> dict[str, Any]:
    if type == AUDIT_TYPE:
        return _audit_events(services)
    parameters = services.definitions.search_parameters(type)
    references = [f"{type}:{code}" for code, p in parameters.items() if p.type == "reference"]
    resource: dict[str, Any] = {
        "type": type,
        "profile": f"http://hl7.org/fhir/StructureDefinition/{type}",
        "interaction": [{"code": code} for code in _TYPE_LEVEL if code in offered],
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalRead": "full-support",
        "conditionalUpdate": True,
        "conditionalDelete": "single",
        "referencePolicy": ["literal", "logical"],
    }
    if references:
        resource["searchInclude"] = [f"{type}:*", *references]
    if incoming:
        resource["searchRevInclude"] = incoming
    resource["searchParam"] = _parameters(type, services)
    if operations := _operations(type, OPERATIONS.values()):
        resource["operation"] = operations
    return resource


def _operations(type: str, among: Iterable[Operation]) -> list[dict[str, Any]]:
    return [
        _operation(o.name, type)
        for o in among
        if any(o.offered(level, type) for level in ("type", "instance"))
    ]


def _audit_events(services: Services) -> dict[str, Any]:
    """What is offered of AuditEvents: they are read, searched and sent in, never changed."""
    return {
        "type": AUDIT_TYPE,
        "profile": f"http://hl7.org/fhir/StructureDefinition/{AUDIT_TYPE}",
        "interaction": [{"code": code} for code in _TYPE_LEVEL if code not in ("update", "patch", "delete")],
        "versioning": "versioned",
        "readHistory": True,
        "updateCreate": False,
        "conditionalCreate": False,
        "conditionalRead": "full-support",
        "conditionalUpdate": False,
        "conditionalDelete": "not-supported",
        "searchParam": [p for p in _parameters(AUDIT_TYPE, services) if p["name"] not in _WORDS],
        "operation": _operations(AUDIT_TYPE, (o for o in OPERATIONS.values() if not o.affects_state)),
    }


def _parameters(type: str, services: Services) -> list[dict[str, Any]]:
    parameters = services.definitions.search_parameters(type)
    return [
        {"name": code, "definition": p.url, "type": p.type} if p.url else {"name": code, "type": p.type}
        for code, p in sorted(parameters.items())
    ]


def _operation(name: str, type: str | None) -> dict[str, str]:
    return {"name": name, "definition": OPERATIONS[name].defined(type)}
