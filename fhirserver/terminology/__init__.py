"""Codes: code systems, value sets, concept maps.

For the validator: `Terminology.of_shipped()` (or `Services.terminology`) is a `Memberships`, whose
`member(value_set_url, system, code, display?) -> Membership` says yes, no or unknown (with a reason) at once,
from what is in memory: R4's, the shipped Brazilian ones and the small ones that clients stored.
"""

from fhirserver.terminology.membership import Membership, Memberships, Verdict
from fhirserver.terminology.service import Terminology

__all__ = ["Membership", "Memberships", "Terminology", "Verdict"]
