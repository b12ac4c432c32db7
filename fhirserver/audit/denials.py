"""Why access was denied, in the words of the audit subtypes: what an error says of it.

One table, so that every refusal of access is told alike. Source: docs/reference/audit-events.md
"""

from __future__ import annotations

from fhirserver.outcome import Forbidden, NotAuthenticated, NotFound, OutcomeError, Throttled

AUTHENTICATION = "authn"
SCOPE = "scope"
COMPARTMENT = "compartment"
CONSENT = "consent"
LABEL = "label"
RATE = "throttled"


def denial(error: OutcomeError | None, *, hidden: bool = False) -> str | None:
    """Why access was denied; None where the failure is none of access.

    `hidden`: what was asked for is there, and the caller was told that it is not.
    """
    match error:
        case NotAuthenticated():
            return AUTHENTICATION
        case Throttled():
            return RATE
        case Forbidden():
            code = error.issues[0].code
            for reason in (CONSENT, LABEL, COMPARTMENT):
                if reason in code:
                    return reason
            return COMPARTMENT if code in _OUTSIDE else SCOPE
        case NotFound() if hidden:
            return COMPARTMENT
    return None


_OUTSIDE = frozenset(("outside-permission", "outside-patient", "not-own-patient"))
