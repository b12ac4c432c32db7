"""The webhook of alerts: each alert in the log is posted, signed, until the receiver has taken it.

What is posted comes out of the log itself, so nothing is told that is not recorded, and what the log gets later (from the
spool, from another process) is told too. An outbox remembers what was taken. Nothing that refers to a person leaves: the
id of the event leads those who may read the log to it. Source: standardwebhooks.com (headers, signature, keys).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from fhirserver.audit.alarms import Alarm, Raise
from fhirserver.audit.disclosure.alertwords import LANGUAGES, title, told
from fhirserver.audit.disclosure.facts import fact_of
from fhirserver.outcome import OutcomeError
from fhirserver.outgoing import AddressRefused, FetchFailed, Outgoing, check_url
from fhirserver.store.audit import AuditLog
from fhirserver.store.deliveries import Deliveries, Delivery
from fhirserver.store.positions import Positions

if TYPE_CHECKING:
    from fhirserver.settings import Alerts

TYPE = "audit.alert"
_PREFIX = "whsec_"
_POSITION = "alert-webhook"
_BACK = 7 * 86_400_000_000  # microseconds: how late an alert may come into the log and still be told
_TICK = 2.0
_AT_ONCE = 20
_FIRST, _LONGEST = 5, 3600  # seconds between two attempts
_WORRY = 5  # failed attempts that are an alert
_SHORTEST_KEY, _LONGEST_KEY = 24, 64  # bytes


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where alerts go. `keys`: each signs every post, so that a receiver can change over from one to the next."""

    url: str
    keys: tuple[bytes, ...]

    @classmethod
    def of(cls, chosen: Alerts, outgoing: Outgoing) -> Endpoint | None:
        """None where no webhook is wanted. Raises ValueError for an address that is not called, and for a bad key."""
        if not chosen.webhook_url:
            return None
        try:
            check_url(chosen.webhook_url, outgoing.hosts)
        except AddressRefused as refused:
            raise ValueError(f"audit.alerts.webhook_url must be {refused}") from refused
        if not chosen.webhook_secrets:
            raise ValueError("audit.alerts.webhook_url needs a key in audit.alerts.webhook_secrets")
        return cls(chosen.webhook_url, tuple(_key(one.get_secret_value()) for one in chosen.webhook_secrets))

    def headers(self, id: str, at: datetime, body: bytes) -> Mapping[str, str]:
        """The headers of one post at the time `at`."""
        stamp = str(int(at.timestamp()))
        signed = f"{id}.{stamp}.".encode() + body
        marks = [base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in self.keys]
        return {
            "Content-Type": "application/json",
            "Webhook-Id": id,
            "Webhook-Timestamp": stamp,
            "Webhook-Signature": " ".join(f"v1,{mark}" for mark in marks),
        }


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not text.startswith(_PREFIX) or not _SHORTEST_KEY <= len(key) <= _LONGEST_KEY:
        raise ValueError(
            f"audit.alerts.webhook_secrets: a key is {_PREFIX} and base64 of 24 to 64 random bytes"
        )
    return key


def message(event: Mapping[str, Any], root: str) -> bytes:
    """What is posted of an alert's AuditEvent. `root`: public URL of the server."""
    fact = fact_of(dict(event))
    figures = dict(fact.figures)
    data = {
        "id": fact.id,
        "rule": fact.alert,
        "title": {language: title(fact.alert, language) for language in LANGUAGES},
        "text": {language: told(fact.alert, figures, language, fact.text) for language in LANGUAGES},
        "figures": figures,
        "event": f"{root}/fhir/AuditEvent/{fact.id}",
        "page": f"{root}/console/events/{fact.id}",
    }
    return orjson.dumps({"type": TYPE, "timestamp": event["recorded"], "data": data})


@dataclass(slots=True)
class Webhook:
    """Hands the alerts of `log` to `endpoint`. `clock`: microseconds since 1970. `root`: public URL of the server."""

    endpoint: Endpoint
    outgoing: Outgoing
    log: AuditLog
    deliveries: Deliveries
    positions: Positions
    root: str
    alarm: Raise
    clock: Callable[[], int]
    _worried: bool = field(default=False)
    _seen: set[str] = field(default_factory=set)  # ids of alerts that need no further look

    async def run(self) -> None:
        """Post what is due; for ever, until cancelled."""
        while True:
            with suppress(OutcomeError):  # the database does not answer now
                await self.collect()
                await self.deliver()
            await asyncio.sleep(_TICK)

    async def collect(self) -> int:
        """Take the alerts of the log into the outbox; how many were new. Raises Unavailable.

        Alerts from before there was a webhook are left out.
        """
        now = self.clock()
        begun = await self.positions.get(_POSITION)
        if not begun:
            begun = now
            await self.positions.keep(_POSITION, begun)
        ids = await self.log.alerts(max(begun, now - _BACK))
        self._seen &= set(ids)
        unseen = [id for id in ids if id not in self._seen]
        if not unseen:
            return 0
        known = await self.deliveries.known(unseen)
        events = await self._own([id for id in unseen if id not in known])
        for event in events:
            await self.deliveries.put(event["id"], message(event, self.root), self._now())
        self._seen.update(unseen)
        return len(events)

    async def _own(self, ids: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        """This server's alerts among them; those that other systems have sent to the log are theirs to tell."""
        events = [orjson.loads(raw) for raw in await self.log.bodies(ids)]
        return [event for event in events if "source" not in event["meta"]]

    async def deliver(self) -> int:
        """Post what is due, until one fails; how many were taken. Raises Unavailable."""
        taken = 0
        for delivery in await self.deliveries.due(self._now(), _AT_ONCE):
            if not await self._post(delivery):
                break
            taken += 1
        return taken

    async def _post(self, delivery: Delivery) -> bool:
        headers = self.endpoint.headers(delivery.id, self._now(), delivery.body)
        try:
            await asyncio.to_thread(self.outgoing.post, self.endpoint.url, delivery.body, headers)
        except (AddressRefused, FetchFailed):
            await self.deliveries.failed(delivery.id, self._now() + pause(delivery.attempts))
            if delivery.attempts + 1 >= _WORRY and not self._worried:
                self._worried = True
                await self.alarm(Alarm.of("webhook", attempts=delivery.attempts + 1))
            return False
        await self.deliveries.done(delivery.id, self._now())
        self._worried = False
        return True

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock() / 1_000_000, UTC)


def pause(attempts: int) -> timedelta:
    """How long to wait after another failed attempt: twice as long each time, up to an hour."""
    return timedelta(seconds=min(_FIRST * 2 ** min(attempts, 20), _LONGEST))
