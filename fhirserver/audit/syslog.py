"""Audit events as syslog messages: DICOM AuditMessage XML in RFC 5424 frames, over TLS with octet counting (RFC 5425).

Source: DICOM PS3.15 A.5 (schema), A.6 (transmission); IHE ITI-20. The events are those of the ledger, in its order.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import ssl
import struct
import termios
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

import orjson

from fhirserver.audit.alarms import Alarm, Raise
from fhirserver.outcome import OutcomeError
from fhirserver.store.ledger import Ledger, Recorded
from fhirserver.store.positions import Positions

LARGEST = 32_768  # octets of a message that a receiver must take
BATCH = 500
CURSOR = "syslog"
_MSGID = "IHE+RFC-3881"
_NOTICE, _WARNING = 85, 84  # facility 10 (security), severity 5 and 4
_BOM = b"\xef\xbb\xbf"
_PATIENCE = 10.0  # seconds for connecting, and for the peer to take a batch
_ROOM = 512


def audit_message(event: dict[str, Any], *, most_objects: int | None = None) -> bytes:
    """The AuditMessage of an AuditEvent. `most_objects`: participant objects beyond are left out."""
    root = Element("AuditMessage")
    head = SubElement(
        root,
        "EventIdentification",
        EventActionCode=event.get("action", "E"),
        EventDateTime=event["recorded"],
        EventOutcomeIndicator=event.get("outcome", "0"),
    )
    _coded(head, "EventID", event["type"])
    for subtype in event.get("subtype", ()):
        _coded(head, "EventTypeCode", subtype)
    for agent in event.get("agent", ()):
        _participant(root, agent)
    source = event.get("source", {})
    site = {"AuditEnterpriseSiteID": source["site"]} if "site" in source else {}
    element = SubElement(
        root, "AuditSourceIdentification", AuditSourceID=_who(source.get("observer", {})), **site
    )
    for type in source.get("type", ()):
        SubElement(element, "AuditSourceTypeCode", {"csd-code": type.get("code", "")})
    entities = event.get("entity", ())
    for entity in entities[:most_objects]:
        _object(root, entity, event.get("id", ""))
    text: str = tostring(root, encoding="unicode")
    return text.encode()


def _coded(parent: Element, name: str, coding: dict[str, Any]) -> None:
    system = coding.get("system", "")
    code = coding.get("code", "")
    SubElement(
        parent,
        name,
        {
            "csd-code": code,
            "codeSystemName": "DCM" if system.endswith("/DCM") else system,
            "originalText": coding.get("display", code),
        },
    )


def _who(reference: dict[str, Any]) -> str:
    return str(
        reference.get("reference")
        or reference.get("identifier", {}).get("value")
        or reference.get("display", "")
    )


def _participant(root: Element, agent: dict[str, Any]) -> None:
    attributes = {
        "UserID": _who(agent.get("who", {})),
        "UserIsRequestor": str(agent.get("requestor", False)).lower(),
    }
    identifier = agent.get("who", {}).get("identifier", {}).get("value")
    if identifier and identifier != attributes["UserID"]:
        attributes["AlternativeUserID"] = identifier
    network = agent.get("network", {})
    if "address" in network:
        attributes |= {
            "NetworkAccessPointID": network["address"],
            "NetworkAccessPointTypeCode": network.get("type", "2"),
        }
    element = SubElement(root, "ActiveParticipant", attributes)
    for coding in agent.get("type", {}).get("coding", ()):
        _coded(element, "RoleIDCode", coding)


def _object(root: Element, entity: dict[str, Any], id: str) -> None:
    type, role = entity.get("type", {}), entity.get("role", {})
    attributes = {"ParticipantObjectID": _who(entity.get("what", {})) or id}
    if type.get("system", "").endswith("/audit-entity-type") and type.get("code", "").isdigit():
        attributes["ParticipantObjectTypeCode"] = type["code"]
    if role.get("code", "").isdigit():
        attributes["ParticipantObjectTypeCodeRole"] = role["code"]
    element = SubElement(root, "ParticipantObjectIdentification", attributes)
    _coded(element, "ParticipantObjectIDTypeCode", type)
    if "query" in entity:
        SubElement(element, "ParticipantObjectQuery").text = entity["query"]
    elif "name" in entity or "description" in entity:
        SubElement(element, "ParticipantObjectName").text = entity.get("name") or entity["description"]
    for detail in entity.get("detail", ()):
        SubElement(
            element, "ParticipantObjectDetail", type=detail["type"], value=detail.get("valueString", "")
        )


def frame(message: bytes, *, at: str, msgid: str = _MSGID, pri: int = _NOTICE) -> bytes:
    """A syslog frame with its octet count. `at`: RFC 3339 time of the message."""
    head = f"<{pri}>1 {at} {socket.gethostname() or '-'} fhirserver {os.getpid()} {msgid} - ".encode(
        "ascii", "replace"
    )
    whole = head + _BOM + message
    return b"%d %b" % (len(whole), whole)


def event_frame(event: Recorded) -> bytes:
    """The frame of a recorded event. An event too large for one loses objects from its end."""
    body = orjson.loads(event.raw)
    most: int | None = None
    message = audit_message(body)
    while len(message) > LARGEST - _ROOM and most != 0:
        most = (len(body.get("entity", ())) if most is None else most) // 2
        message = audit_message(body, most_objects=most)
    alert = any(coding.get("code", "").startswith("alert-") for coding in body.get("subtype", ()))
    return frame(message, at=body["recorded"], pri=_WARNING if alert else _NOTICE)


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where messages go. `ca_file`: what its certificate must descend from; `cert_file`, `key_file`: our own."""

    host: str
    port: int
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def context(self) -> ssl.SSLContext:
        """TLS that checks the receiver's name and certificate."""
        context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert_file is not None:
            context.load_cert_chain(str(self.cert_file), str(self.key_file) if self.key_file else None)
        return context


@dataclass(slots=True)
class Feed:
    """Sends the sealed events of `ledger` to `receiver`: every event at least once, in order.

    The kept position moves on only when the batch after has been taken by the receiver's machine, so that what was
    under way when a connection broke is sent again.
    """

    ledger: Ledger
    positions: Positions
    receiver: Receiver
    alarm: Raise
    interval: float = 5.0
    context: Callable[[Receiver], ssl.SSLContext] = field(default=Receiver.context)

    async def run(self) -> None:
        """Send what is sealed; for ever, until cancelled. An outage is alarmed once and waited out."""
        failing = False
        while True:
            try:
                await self._connection()
                failing = False
            except (OSError, TimeoutError, ssl.SSLError, OutcomeError, KeyError) as error:
                if not failing:
                    failing = True
                    await self.alarm(Alarm.of("syslog-feed", error=type(error).__name__))
            await asyncio.sleep(self.interval)

    async def _connection(self) -> None:
        """Serve one connection until it breaks."""
        at = await self.positions.get(CURSOR)
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_connection(
                self.receiver.host, self.receiver.port, ssl=self.context(self.receiver)
            )
        closed = asyncio.ensure_future(reader.read())  # a receiver says nothing; that ends when it hangs up
        try:
            while not closed.done():
                taken = await self.send(writer, at)
                if taken == at:
                    await asyncio.wait([closed], timeout=self.interval)
                elif at:
                    await self.positions.keep(CURSOR, at)
                at = taken
            raise ConnectionResetError
        finally:
            closed.cancel()
            writer.close()

    async def send(self, writer: asyncio.StreamWriter, at: int) -> int:
        """Send the next events from leaf `at` on, and the checkpoint they lead to; the position after them."""
        newest = await self.ledger.newest()
        size = newest.size if newest is not None else 0
        end = min(at + BATCH, size)
        if newest is None or end <= at:
            return at
        events = await self.ledger.at(at, end)
        async with asyncio.timeout(_PATIENCE):
            for event in events:
                writer.write(event_frame(event))
                await writer.drain()
            if end == size:
                sealed = newest.note.split("\n")[3].removeprefix("sealed ")
                writer.write(frame(newest.note.encode(), at=sealed, msgid="CHECKPOINT"))
                await writer.drain()
            while _unacknowledged(writer):  # noqa: ASYNC110 the kernel tells nobody
                await asyncio.sleep(0.005)
        return end


def _unacknowledged(writer: asyncio.StreamWriter) -> int:
    """Bytes that wait here, or that the receiver's machine has not acknowledged yet."""
    transport = writer.transport
    connection = transport.get_extra_info("socket")
    if transport.is_closing() or connection is None or (handle := connection.fileno()) < 0:
        raise ConnectionResetError
    waiting = transport.get_write_buffer_size()
    answer = fcntl.ioctl(handle, termios.TIOCOUTQ, struct.pack("i", 0))  # Linux: SIOCOUTQ
    return int(waiting + struct.unpack("i", answer)[0])
