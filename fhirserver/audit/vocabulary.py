"""The codes and canonical URLs that AuditEvents are made of, and the shape of each interaction's event.

Sources: profiles.ihe.net/ITI/BALP (IHE Basic Audit Log Patterns), hl7.org/fhir/R4/auditevent.html, DICOM PS3.16
CID 400-405.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from fhirserver.outcome import CANONICAL

DCM = "http://dicom.nema.org/resources/ontology/DCM"
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
PARTICIPATION = f"{TERMINOLOGY}/v3-ParticipationType"
ACT_REASON = f"{TERMINOLOGY}/v3-ActReason"
ROLE_CLASS = f"{TERMINOLOGY}/v3-RoleClass"
EVENT_TYPE = f"{TERMINOLOGY}/audit-event-type"
ENTITY_TYPE = f"{TERMINOLOGY}/audit-entity-type"
OBJECT_ROLE = f"{TERMINOLOGY}/object-role"
SOURCE_TYPE = f"{TERMINOLOGY}/security-source-type"
SECURITY_ROLE = f"{TERMINOLOGY}/extra-security-role-type"
PROVENANCE_ROLE = f"{TERMINOLOGY}/provenance-participant-type"
INTERACTION = "http://hl7.org/fhir/restful-interaction"
RESOURCE_TYPES = "http://hl7.org/fhir/resource-types"
IHE_EVENT = "urn:ihe:event-type-code"
BALP = "https://profiles.ihe.net/ITI/BALP"
BALP_ENTITY = f"{BALP}/CodeSystem/BasicAuditEntityType"
BALP_AGENT = f"{BALP}/CodeSystem/UserAgentTypes"
BALP_CONSENT = f"{BALP}/CodeSystem/AuthZsubType"
BALP_PROFILE = f"{BALP}/StructureDefinition/IHE.BasicAudit."
DISCLOSURE_PROFILE = f"{BALP_PROFILE}PrivacyDisclosure.Source"
IUA_71 = "https://profiles.ihe.net/ITI/IUA/StructureDefinition/IHE.IUA.71"
JTI = "urn:ietf:params:oauth:jti:"
URI_SYSTEM = "urn:ietf:rfc:3986"

SUBTYPE = f"{CANONICAL}/CodeSystem/audit-subtype"
OWN_ENTITY = f"{CANONICAL}/CodeSystem/audit-entity-type"
ROLE_SYSTEM = f"{CANONICAL}/CodeSystem/role"

Code = tuple[str, str]  # system, code

REST: Code = (EVENT_TYPE, "rest")
APPLICATION: Code = (DCM, "110100")
AUDIT_LOG_USED: Code = (DCM, "110101")
EXPORT: Code = (DCM, "110106")
DISCLOSE: Code = (f"{TERMINOLOGY}/iso-21089-lifecycle", "disclose")
DISCLOSURE_BEGUN: Code = (SUBTYPE, "disclosure-begun")
SECURITY_ALERT: Code = (DCM, "110113")
USER_AUTHENTICATION: Code = (DCM, "110114")
APPLICATION_START: Code = (DCM, "110120")
APPLICATION_STOP: Code = (DCM, "110121")
RECORDING_STOPPED: Code = (DCM, "110133")
RECORDING_STARTED: Code = (DCM, "110134")
SOFTWARE_CONFIGURATION: Code = (DCM, "110131")
CLIENT_APPLICATION: Code = (DCM, "110150")
DESTINATION: Code = (DCM, "110152")
SOURCE: Code = (DCM, "110153")
HUMAN_USER: Code = (SECURITY_ROLE, "humanuser")
AUTHORIZATION_SERVER: Code = (SECURITY_ROLE, "authserver")
DENIED: Code = (SUBTYPE, "denied")
THROTTLED: Code = (SUBTYPE, "throttled")
RECOVERED: Code = (SUBTYPE, "recovered")
ALERT_RULE: Code = (OWN_ENTITY, "alert-rule")
ALERT_SUBJECT: Code = (OWN_ENTITY, "alert-subject")
GRANT: Code = (OWN_ENTITY, "break-glass-grant")
PATIENT: Code = (ENTITY_TYPE, "1")
BREAK_GLASS = "BTG"


class Shape(NamedTuple):
    """How the event of an interaction looks.

    `client`, `server`, `user`: agent types. `profile`: the last part of the BALP profile's name, empty where BALP has
    none. `query`: what was asked stands in an entity of role 24, instead of one entity for the resource.
    """

    action: str
    client: Code
    server: Code
    user: Code
    profile: str = ""
    query: bool = False


_USER = (PARTICIPATION, "IRCP")
_AUTHOR = (PARTICIPATION, "AUT")
READ = Shape("R", DESTINATION, SOURCE, _USER, "Read")
CREATE = Shape("C", SOURCE, DESTINATION, _AUTHOR, "Create")
UPDATE = Shape("U", SOURCE, DESTINATION, _AUTHOR, "Update")
DELETE = Shape("D", CLIENT_APPLICATION, (PROVENANCE_ROLE, "custodian"), _AUTHOR, "Delete")
QUERY = Shape("E", SOURCE, DESTINATION, _USER, "Query", query=True)
OTHER = Shape("E", SOURCE, DESTINATION, _USER, query=True)

SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        "read": READ, "vread": READ,
        "create": CREATE,
        "update": UPDATE, "patch": UPDATE,
        "delete": DELETE,
        "search-type": QUERY, "search-system": QUERY,
    }
)  # fmt: skip
# R4 has no code for a compartment search: it is a search of one type within a compartment, or of all.
INTERACTION_CODES: Mapping[str, str] = MappingProxyType({"search-compartment": "search-type"})
