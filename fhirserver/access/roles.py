"""Roles of people, and the most that each may be granted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fhirserver.access.scopes import Scope, Vocabulary, parse

DEFAULT: Mapping[str, str] = {
    "admin": "*.crus",
    "manager": "*.rs",
    "practitioner": "*.crus",
    "reception": "Patient.crus Coverage.crus Appointment.crus Slot.rs Schedule.rs Encounter.c",
    "billing": "Claim.crus ClaimResponse.crus Coverage.rus",
    "auditor": "AuditEvent.rs Provenance.rs",
    "patient": "*.rs Appointment.cu",
}


class Roles:
    """The roles of this server."""

    def __init__(self, vocabulary: Vocabulary, settings: Mapping[str, Any]) -> None:
        self._vocabulary = vocabulary

    def known(self, names: Iterable[str]) -> tuple[str, ...]:
        """The roles of those codes."""
        return tuple(name for name in names if name in DEFAULT)

    def ceiling(self, names: Iterable[str]) -> tuple[Scope, ...]:
        """The widest scopes of these roles."""
        text = " ".join(
            f"{level}/{token}"
            for role in self.known(names)
            for token in DEFAULT[role].split()
            for level in ("user", "patient")
        )
        return parse(text, self._vocabulary).resources
