"""Search parameters that this server adds to R4's for AuditEvent: `purpose`, `denied` and `alert`."""

from __future__ import annotations

from typing import Any

from fhirserver.audit.disclosure.alertwords import PREFIX, TITLES
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


_ALERT = " or ".join(f"code = '{PREFIX}{rule}'" for rule in TITLES)
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
    _parameter(
        "alert",
        "Rule of an alert, such as alert-mass-access",
        f"AuditEvent.subtype.where(system = '{SUBTYPE}' and ({_ALERT}))",
    ),
)
