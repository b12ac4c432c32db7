"""What an AuditEvent says, flat: who did what when to whose data. The reports and the alert rules work on this. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
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
BEGUN = "disclosure-begun"
_EXPORT = "110106"
_URI_SYSTEM = "urn:ietf:rfc:3986"


@dataclass(frozen=True, slots=True)
class Fact:
    """One AuditEvent. References are relative ("Practitioner/42"), empty where the event does not say.

    `type`: code of the event (rest, 110114 ...). `action`: the interaction or DICOM subtype ("read", "110122").
    `user`: reference, else identifier of the person; `client`: id of the app; both as "issuer|id" where a foreign issuer
    knows them; `account`: identifier of the account in any case, `login`: its name; `recipient`: who got data that was
    disclosed, at the address `sent_to`. `types`: types of the resources that were given out or written, `records`: how
    many there were. `denied`: why ("denied-scope"), empty where it was not. `grant`: of a break-glass access. `alert`: rule
    of an alert event; `subject`: whom it is about; `figures`: those that it was recorded with.
    """

    id: str
    at: datetime
    type: str
    action: str
    outcome: str
    user: str = ""
    account: str = ""
    login: str = ""
    role: str = ""
    client: str = ""
    organization: str = ""
    recipient: str = ""
    sent_to: str = ""
    address: str = ""
    patient: str = ""
    types: tuple[str, ...] = ()
    records: int = 0
    resources: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    denied: str = ""
    grant: str = ""
    reason: str = ""
    alert: str = ""
    subject: str = ""
    figures: tuple[tuple[str, str], ...] = ()
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
        return self.action == "disclose" or (self.type == _EXPORT and self.action != BEGUN)


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
        reference, identifier = who.get("reference", ""), _named(who.get("identifier", {}), event)
        if "PROV" in codes:
            found["organization"] = reference or identifier
        elif event.get("type", {}).get("code") == _EXPORT and "110152" in codes:
            found["recipient"] = reference or identifier or who.get("display", "")
            found["sent_to"] = agent.get("network", {}).get("address", "")
        elif "network" in agent and agent["network"].get("type") == "5":
            continue  # this server
        elif codes & {"IRCP", "AUT", "INF", "CST", "humanuser"} or reference.partition("/")[0] in _PERSON:
            found["user"] = reference or identifier
            found["account"], found["login"] = identifier, agent.get("altId", "")
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


def _named(identifier: dict[str, Any], event: dict[str, Any]) -> str:
    """What tells an agent from those of other issuers: the bare value of what the reporting system has issued itself."""
    system, value = identifier.get("system", ""), str(identifier.get("value", ""))
    observer = event.get("source", {}).get("observer", {}).get("identifier", {})
    root = str(observer.get("value", "")).removesuffix("/fhir")
    is_own = system in ("", _URI_SYSTEM) or bool(root and system.startswith(f"{root}/"))
    return value if is_own else f"{system}|{value}"


def _entities(event: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    resources: list[str] = []
    types: list[str] = []
    records = 0
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
            types.append(reference.partition("/")[0])
            records += 1
        elif system == _RESOURCE_TYPES and not reference:
            types.append(code)
            records += _count(entity)
    return found | {"resources": tuple(resources), "types": tuple(dict.fromkeys(types)), "records": records}


def _count(entity: dict[str, Any]) -> int:
    """How many resources an entity stands for that names none."""
    details = entity.get("detail", ())
    text = next((one.get("valueString", "") for one in details if one.get("type") == "count"), "")
    return int(text) if text.isascii() and text.isdigit() else 0


def _reason(entity: dict[str, Any]) -> str:
    details = entity.get("detail", ())
    return next((one.get("valueString", "") for one in details if one.get("type") == "reason"), "")


def joined(facts: Sequence[Fact]) -> list[Fact]:
    """The facts with each person under one name: events of sign-in know the account only, others whose it is too."""
    known = {fact.account: fact.user for fact in facts if fact.account and "/" in fact.user}
    return [replace(fact, user=known[fact.user]) if fact.user in known else fact for fact in facts]


def logins(facts: Iterable[Fact]) -> dict[str, str]:
    """The names of the accounts that the facts tell of, by what stands in `user`."""
    return {fact.user: fact.login for fact in facts if fact.login}


def of_patients(facts: Iterable[Fact], patients: frozenset[str]) -> Iterator[Fact]:
    """Those that concern one of `patients` (references)."""
    return (fact for fact in facts if fact.patient.partition("/_history")[0] in patients)
