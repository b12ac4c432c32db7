"""Callers for tests of access: a client with a token of given scopes, for the persons of the small clinic."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.kit.client import Fhir
from tests.kit.issuer import Issuer
from tests.kit.server import Server

# Claims of those who work in, or come to, the clinic of tests/security/clinic.py.
PERSONS: dict[str, dict[str, Any]] = {
    "system": {"sub": "backend", "client_id": "backend"},
    "ana": {"sub": "ana", "fhirUser": "Patient/p1", "roles": ["patient"], "acts_for": ["p1"]},
    "bia": {"sub": "bia", "fhirUser": "Patient/p2", "roles": ["patient"], "acts_for": ["p2"]},
    "davi": {"sub": "davi", "fhirUser": "Patient/p4", "roles": ["patient"], "acts_for": ["p4"]},
    "guardian": {
        "sub": "rui",
        "fhirUser": "RelatedPerson/r1",
        "roles": ["patient"],
        "acts_for": ["p1", "p3"],
    },
    "doctor": {"sub": "doc", "fhirUser": "Practitioner/doc", "roles": ["practitioner"]},
    "stranger": {"sub": "out", "fhirUser": "Practitioner/out", "roles": ["practitioner"]},
    "reception": {"sub": "rec", "fhirUser": "Practitioner/rec", "roles": ["reception"]},
    "billing": {"sub": "bil", "fhirUser": "Practitioner/bil", "roles": ["billing"]},
    "manager": {"sub": "man", "fhirUser": "Practitioner/man", "roles": ["manager"]},
    "custodian": {"sub": "cus", "roles": ["custodian"]},
    "auditor": {"sub": "aud", "fhirUser": "Practitioner/aud", "roles": ["auditor"]},
    "admin": {"sub": "adm", "fhirUser": "Practitioner/adm", "roles": ["admin"]},
    "nobody": {"sub": "no", "roles": []},
}


@dataclass(frozen=True)
class Callers:
    """Makes clients of one server, and keeps them until `close`. `issuer`: whose tokens it accepts."""

    server: Server
    issuer: Issuer
    made: dict[str, Fhir] = field(default_factory=dict)

    def token(self, person: str, scope: str, **claims: Any) -> str:
        return self.issuer.token(self.server.fhir, scope, **(PERSONS[person] | claims))

    def client(self, person: str, scope: str, **claims: Any) -> Fhir:
        """`person` with a token of `scope`; `claims` add to theirs (patient="p1" is the launch context)."""
        known = repr((person, scope, sorted(claims.items())))
        if known not in self.made:
            client = self.made[known] = Fhir(self.server.fhir)
            client.headers["authorization"] = f"Bearer {self.token(person, scope, **claims)}"
        return self.made[known]

    def anonymous(self) -> Fhir:
        """A client without a token."""
        return self.made.setdefault("", Fhir(self.server.fhir))

    def close(self) -> None:
        for client in self.made.values():
            client.close()
