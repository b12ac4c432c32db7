"""Security labels that need clearance, and who has it.

Sources: hl7.org/fhir/R4/security-labels.html, terminology.hl7.org CodeSystem v3-Confidentiality and v3-ActCode (DS4P)
"""

from __future__ import annotations

from collections.abc import Iterable

from fhirserver.access.roles import ANY_LABEL, Role

_CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
_ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_RESTRICTED = ("R", "V")
_SENSITIVE = (
    "BH", "COGN", "DRGIS", "DVD", "EMOTDIS", "ETH", "ETHUD", "GDIS", "HIV", "MH", "MST", "OPIOIDUD", "PSY", "PSYTHPN",
    "SCA", "SDV", "SEX", "SICKLE", "SPI", "STD", "SUD", "TBOO", "VIO",
)  # fmt: skip
SYSTEM_OF = dict.fromkeys(_RESTRICTED, _CONFIDENTIALITY) | dict.fromkeys(_SENSITIVE, _ACT_CODE)


def uncleared(roles: Iterable[Role]) -> tuple[str, ...]:
    """The entries of the index for labels that none of `roles` may see; a label without a system counts too."""
    cleared = {code for role in roles for code in role.clearance}
    if ANY_LABEL in cleared:
        return ()
    return tuple(
        entry
        for code, system in SYSTEM_OF.items()
        if code not in cleared
        for entry in (f"{system}|{code}", f"|{code}")
    )
