"""Who was at work: the agents of an AuditEvent, made of the compact record that a write keeps too.

The record is plain JSON with short names, so that it can stand in every stored version: `k` interaction code, `o`
operation, `n` name, `c` client id, `u` user, `f` the user's own resource, `l` roles, `p` policy, `a` address, `g`
purpose of use, `e` emergency accesses that stand (patient, grant, reason), `i` issuer of a foreign token, `q` request id,
`x` trace id.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fhirserver.audit import vocabulary as v
from fhirserver.context import Agent, Interaction, JsonObject, Request

Record = Mapping[str, Any]
_MACHINE, _IP, _URI = "1", "2", "5"  # hl7.org/fhir/R4/codesystem-network-type.html
_WHO = ("n", "c", "u", "f", "l", "p", "a", "i")


def record_of(agent: Agent, request: Request | None, kind: str, operation: str | None = None) -> JsonObject:
    """The record of one interaction of `agent`; what is not known is left out."""
    record: JsonObject = {"k": kind, "n": agent.name}
    address = agent.address
    if request is not None:
        record["q"] = request.id
        address = address or request.address
        if request.trace_id is not None:
            record["x"] = request.trace_id
    for key, value in (
        ("o", operation),
        ("c", agent.client),
        ("u", agent.user),
        ("f", agent.fhir_user),
        ("p", agent.policy),
        ("a", address),
        ("g", agent.purpose),
        ("i", agent.issuer),
    ):
        if value is not None:
            record[key] = value
    if agent.roles:
        record["l"] = sorted(agent.roles)
    return record


def record_of_interaction(agent: Agent, request: Request | None, interaction: Interaction) -> JsonObject:
    """The record of `interaction`."""
    return record_of(agent, request, interaction.kind.value, interaction.operation)


def who(record: Record) -> tuple[Any, ...]:
    """What tells the agents of one record from those of another, hashable."""
    return tuple(tuple(value) if type(value) is list else value for value in map(record.get, _WHO))


@dataclass(frozen=True, slots=True)
class Site:
    """The server in its own events. `base`: FHIR base URL. `root`: the same without /fhir. `host`: its name."""

    base: str
    root: str
    host: str

    def observer(self) -> JsonObject:
        """What events name as the reporting system."""
        return {"identifier": {"system": v.URI_SYSTEM, "value": self.base}}

    def source(self) -> JsonObject:
        """The `source` of every event."""
        return {
            "site": self.host,
            "observer": self.observer(),
            "type": [{"system": v.SOURCE_TYPE, "code": "4"}],
        }

    def client(self, record: Record, *types: v.Code) -> JsonObject:
        """The client application; it is the requestor where no user stands behind it."""
        agent: JsonObject = {"type": coded(*types), "requestor": "u" not in record}
        if client := record.get("c"):
            system = record.get("i") or f"{self.root}/oauth/clients"
            agent["who"] = {"identifier": {"system": system, "value": client}}
        elif name := record.get("n"):
            agent["who"] = {"identifier": {"value": name}}
        if address := record.get("a"):
            agent["network"] = network(address)
        return agent

    def server(self, type: v.Code) -> JsonObject:
        """This server."""
        return {
            "type": coded(type),
            "who": self.observer(),
            "requestor": False,
            "network": network(self.base),
        }

    def user(self, record: Record, type: v.Code) -> JsonObject:
        """The person; only for a record that has a user."""
        types = (type, (v.BALP_AGENT, "UserOauthAgent")) if "p" in record else (type,)
        person: JsonObject = {"identifier": self.user_identifier(record["u"])}
        if reference := record.get("f"):
            person["reference"] = reference
        agent: JsonObject = {"type": coded(*types), "who": person, "requestor": True}
        if policy := record.get("p"):
            agent["policy"] = [policy]
        if roles := record.get("l"):
            agent["role"] = [coded((v.ROLE_SYSTEM, role)) for role in roles]
        return agent

    def user_identifier(self, user: str) -> JsonObject:
        """Who a user is to the issuer of their token. `user`: as Agent has it, "issuer|subject" of a foreign one."""
        issuer, foreign, subject = user.partition("|")
        return {"system": issuer if foreign else f"{self.root}/oauth", "value": subject or user}

    def agents(self, record: Record, shape: v.Shape) -> list[JsonObject]:
        """The agents of a RESTful interaction."""
        types = dict.fromkeys((shape.client, v.CLIENT_APPLICATION))
        found = [self.client(record, *types), self.server(shape.server)]
        if "u" in record:
            found.append(self.user(record, shape.user))
        return found


def network(address: str) -> JsonObject:
    """Where an agent is: an IP address, a URI, or the name of a machine."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return {"address": address, "type": _URI if ":" in address else _MACHINE}
    return {"address": address, "type": _IP}


def coded(*codes: v.Code) -> JsonObject:
    """A CodeableConcept."""
    return {"coding": [coding(code) for code in codes]}


def coding(code: v.Code) -> JsonObject:
    """A Coding."""
    return {"system": code[0], "code": code[1]}
