"""Search parameters that this server adds to R4's for AuditEvent: `purpose` and `denied`."""

from __future__ import annotations

from typing import Any

from fhirserver.audit.vocabulary import SUBTYPE
from fhirserver.outcome import CANONICAL


def _parameter(code: str, description: str, expression: str) -> dict[str, Any]:
    return {
        "resourceType": "SearchParameter",
        "url": f"{CANONICAL}/SearchParameter/AuditEvent-{code}",
        "name": f"AuditEvent{code.capitalize()}",
        "status": "active",
        "description": description,
        "code": code,
        "base": ["AuditEvent"],
        "type": "token",
        "expression": expression,
    }


PARAMETERS = (
    _parameter(
        "purpose",
        "Purpose of use of the event (BTG: under break-glass)",
        "AuditEvent.purposeOfEvent | AuditEvent.agent.purposeOfUse",
    ),
    _parameter(
        "denied",
        "Whether access was denied",
        f"AuditEvent.subtype.where(system = '{SUBTYPE}' and code = 'denied').exists()",
    ),
)
