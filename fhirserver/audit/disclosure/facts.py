"""What an AuditEvent says, flat: who did what when to whose data. The reports and the alert rules work on this. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fhirserver.outcome import CANONICAL

DCM = "http://dicom.nema.org/resources/ontology/DCM"
SUBTYPE = f"{CANONICAL}/CodeSystem/audit-subtype"
_EVENT_TYPE = "http://terminology.hl7.org/CodeSystem/audit-event-type"
_ENTITY_TYPE = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_OWN_ENTITY = f"{CANONICAL}/CodeSystem/audit-entity-type"
_OBJECT_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_BALP_ENTITY = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
_RESOURCE_TYPES = "http://hl7.org/fhir/resource-types"
_ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_PERSON = ("Practitioner", "PractitionerRole", "Patient", "RelatedPerson", "Person")
BREAK_GLASS_START, BREAK_GLASS_STOP = "110127", "110138"


@dataclass(frozen=True, slots=True)
class Fact:
    """One AuditEvent. References are relative ("Practitioner/42"), empty where the event does not say.

    `type`: code of the event (rest, 110114 ...). `action`: the interaction or DICOM subtype ("read", "110122").
    `user`: reference, else identifier of the person; `account`: identifier of the account in any case; `client`: id of the
    app; `recipient`: who got data that was disclosed. `types`: types of the resources that were given out or written.
    `denied`: why ("denied-scope"), empty where it was not. `grant`: of a break-glass access. `alert`: rule of an alert
    event; `subject`: whom it is about; `figures`: those that it was recorded with.
    """

    id: str
    at: datetime
    type: str
    action: str
    outcome: str
    user: str = ""
    role: str = ""
    client: str = ""
    organization: str = ""
    recipient: str = ""
    address: str = ""
    patient: str = ""
    types: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    denied: str = ""
    grant: str = ""
    reason: str = ""
    alert: str = ""
    subject: str = ""
    figures: tuple[tuple[str, str], ...] = ()
    account: str = ""
    request: str = ""
    query: str = ""
    text: str = ""

    @property
    def actor(self) -> str:
        """Who is behind it: the person, else the app."""
        return self.user or self.client

    @property
    def failed(self) -> bool:
        """True where it did not succeed."""
        return self.outcome != "0"

    @property
    def broke_glass(self) -> bool:
        """True where it used or began an emergency access."""
        return bool(self.grant) or "BTG" in self.purposes or self.action == BREAK_GLASS_START

    @property
    def disclosed(self) -> bool:
        """True where data went to another party."""
        return self.type == "110106" or self.action == "disclose"


def fact_of(event: dict[str, Any]) -> Fact:
    """The Fact that `event`, an AuditEvent, tells of."""
    subtypes = [(code.get("system", ""), code.get("code", "")) for code in event.get("subtype", ())]
    own = [code for system, code in subtypes if system == SUBTYPE]
    others = [code for system, code in subtypes if system != SUBTYPE]
    denied = next((code for code in own if code.startswith("denied-")), "denied" if "denied" in own else "")
    alert = next((code.removeprefix("alert-") for code in own if code.startswith("alert-")), "")
    purposes = [
        coding.get("code", "")
        for concept in event.get("purposeOfEvent", ())
        for coding in concept.get("coding", ())
    ]
    return Fact(
        id=event.get("id", ""),
        at=datetime.fromisoformat(event["recorded"]),
        type=event.get("type", {}).get("code", ""),
        action=others[0] if others else (own[0] if own else ""),
        outcome=event.get("outcome", "0"),
        denied=denied,
        alert=alert,
        purposes=tuple(dict.fromkeys(purposes)),
        text=event.get("outcomeDesc", ""),
        **_agents(event),
        **_entities(event),
    )


def _agents(event: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for agent in event.get("agent", ()):
        codes = {coding.get("code", "") for coding in agent.get("type", {}).get("coding", ())}
        who = agent.get("who", {})
        reference, identifier = who.get("reference", ""), who.get("identifier", {}).get("value", "")
        if "PROV" in codes:
            found["organization"] = reference or identifier
        elif event.get("type", {}).get("code") == "110106" and "110152" in codes:
            found["recipient"] = reference or identifier
        elif "network" in agent and agent["network"].get("type") == "5":
            continue  # this server
        elif codes & {"IRCP", "AUT", "INF", "CST", "humanuser"} or reference.partition("/")[0] in _PERSON:
            found["user"], found["account"] = reference or identifier, identifier
            found["role"] = next(
                (
                    coding.get("code", "")
                    for role in agent.get("role", ())
                    for coding in role.get("coding", ())
                ),
                "",
            )
        elif "110150" in codes or "client" not in found:
            found["client"] = identifier or reference
            found["address"] = agent.get("network", {}).get("address", "")
    return found


def _entities(event: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    resources: list[str] = []
    for entity in event.get("entity", ()):
        kind = entity.get("type", {})
        system, code = kind.get("system"), kind.get("code")
        reference = entity.get("what", {}).get("reference", "")
        identifier = entity.get("what", {}).get("identifier", {}).get("value", "")
        role = entity.get("role", {}).get("code")
        if system == _ENTITY_TYPE and code == "1" and role == "1":
            found["patient"] = reference
        elif system == _BALP_ENTITY and code == "XrequestId":
            found["request"] = identifier
        elif system == _OWN_ENTITY and code == "alert-subject":
            found["subject"] = reference or identifier
        elif system == _OWN_ENTITY and code == "alert-rule":
            found["figures"] = tuple(
                (str(detail.get("type")), str(detail.get("valueString", "")))
                for detail in entity.get("detail", ())
            )
        elif system == _OWN_ENTITY and code == "break-glass-grant":
            found["grant"], found["reason"] = identifier, entity.get("description") or _reason(entity)
        elif "query" in entity:
            found["query"] = entity["query"]
        elif reference and not reference.startswith("#"):
            resources.append(reference)
    types = [reference.partition("/")[0] for reference in resources]
    types += [
        entity["type"]["code"]
        for entity in event.get("entity", ())
        if entity.get("type", {}).get("system") == _RESOURCE_TYPES and "what" not in entity
    ]
    return found | {"resources": tuple(resources), "types": tuple(dict.fromkeys(types))}


def _reason(entity: dict[str, Any]) -> str:
    details = entity.get("detail", ())
    return next((one.get("valueString", "") for one in details if one.get("type") == "reason"), "")


def of_patients(facts: Iterable[Fact], patients: frozenset[str]) -> Iterator[Fact]:
    """Those that concern one of `patients` (references)."""
    return (fact for fact in facts if fact.patient.partition("/_history")[0] in patients)
