"""The webhook of alerts: signed, until it is taken, never twice once it was. docs/how-to/audit-alerts.md; audit.md 10."""

from __future__ import annotations

import base64
import http.server
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import SecretStr

from fhirserver.audit.agents import Site
from fhirserver.audit.alarms import Alarm
from fhirserver.audit.alertbook import AlertBook
from fhirserver.audit.chain import Chain
from fhirserver.audit.disclosure.alerts import Alert
from fhirserver.audit.feed import Feed
from fhirserver.audit.record import Bounds, Recorder
from fhirserver.audit.webhook import Endpoint, Webhook, pause
from fhirserver.context import Agent, Permission
from fhirserver.outgoing import Outgoing
from fhirserver.settings import Alerts
from fhirserver.store.audit import AuditLog
from fhirserver.store.deliveries import Deliveries
from fhirserver.store.home import Home
from fhirserver.store.indexes import Collections
from fhirserver.store.positions import Positions
from tests.kit.audit import KEY, NOW, SITE, SUBTYPE, a_builder, audit_indexer
from tests.kit.ledger import LedgerKit
from tests.kit.tls import certificate, tls_host
from tests.kit.trace import a_trace

pytestmark = pytest.mark.anyio
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
OTHER = "whsec_" + base64.b64encode(b"o" * 32).decode()
DOC = Path(__file__).parents[3] / "docs/how-to/audit-alerts.md"
AT = datetime.fromtimestamp(NOW / 1_000_000, UTC)
MINUTE = 60_000_000


@dataclass
class Received:
    """What the receiver was sent; it answers with the first of `answers`, then with 204."""

    posts: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    port: int = 0
    context: ssl.SSLContext | None = None


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Received]:
    received = Received()

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.posts.append((dict(self.headers), body))
            self.send_response(received.answers.pop(0) if received.answers else 204)
            self.send_header("location", f"https://127.0.0.1:{received.port}/elsewhere")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    pem = certificate(tmp_path_factory.mktemp("tls"), "127.0.0.1")
    received.context = ssl.create_default_context(cafile=str(pem))
    with tls_host(pem, Receiver) as received.port:
        yield received


@pytest.fixture
def receiver(host: Received) -> Received:
    host.posts.clear()
    host.answers.clear()
    return host


class Clinic:
    """A log with alerts, and a webhook on it; `now` is its clock."""

    def __init__(self, kit: LedgerKit, receiver: Received) -> None:
        self.now = NOW
        self.alarms: list[Alarm] = []
        self.kit, self.receiver = kit, receiver
        self.log = AuditLog(kit.database, "default", 2000)
        self.recorder = Recorder([Chain(self.log, KEY, {"at": NOW})], Bounds())
        self.book = AlertBook(a_builder(), self.recorder, self.log, lambda: self.now)

    def webhook(self, **more: Any) -> Webhook:
        """As a process begins it: nothing is remembered but what the database holds."""
        place = f"127.0.0.1:{self.receiver.port}"
        out = Outgoing(seconds=5, hosts=frozenset((place,)), context=self.receiver.context)
        chosen = Alerts(
            webhook_url=f"https://{place}/alerts", webhook_secrets=[SecretStr(SECRET), SecretStr(OTHER)]
        )
        endpoint = Endpoint.of(chosen, out)
        assert endpoint is not None
        database = self.kit.database
        made = Webhook(
            endpoint, out, self.log, Deliveries(database, "default"), Positions(database), SITE.root, self.alarm,
            lambda: self.now,
        )  # fmt: skip
        for name, value in more.items():
            setattr(made, name, value)
        return made

    async def alarm(self, alarm: Alarm) -> None:
        self.alarms.append(alarm)

    async def raised(self, rule: str = "mass-access", patient: str = "") -> str:
        """The id of an alert that is raised now."""
        at = datetime.fromtimestamp(self.now / 1_000_000, UTC)
        figures = (("patients", "52"), ("most", "50"))
        (alert,) = await self.book.put([Alert(rule, "Practitioner/42", at, figures, patient)])
        return alert.id()


@pytest.fixture
async def clinic(kit: LedgerKit, receiver: Received) -> Clinic:
    await Collections(Home(kit.database)).ensure(("alert_deliveries",))
    made = Clinic(kit, receiver)
    await made.webhook().collect()  # the webhook is configured now
    made.now += 1000
    return made


def verifier() -> Callable[..., bool]:
    """The function that the documentation gives to receivers."""
    code = re.findall(r"^```python\n(.*?)^```$", DOC.read_text(), re.MULTILINE | re.DOTALL)
    assert len(code) == 1
    found: dict[str, Any] = {}
    exec(code[0], found)  # noqa: S102 what the page says is what is tested
    is_ours: Callable[..., bool] = found["is_ours"]
    return is_ours


async def test_an_alert_is_posted_once_and_names_no_person(clinic: Clinic, receiver: Received) -> None:
    id, webhook = await clinic.raised(patient="Patient/77"), clinic.webhook()
    assert (await webhook.collect(), await webhook.deliver()) == (1, 1)
    assert (await webhook.collect(), await webhook.deliver()) == (0, 0)
    again = clinic.webhook()  # another process
    assert (await again.collect(), await again.deliver()) == (0, 0)
    ((headers, body),) = receiver.posts
    told = orjson.loads(body)
    assert headers["Webhook-Id"] == told["data"]["id"] == id
    assert (told["type"], told["data"]["rule"]) == ("audit.alert", "mass-access")
    assert told["data"]["text"]["pt-BR"] == "52 pacientes em uma hora; o limite é 50."
    assert told["data"]["event"] == f"https://clinic.example/fhir/AuditEvent/{id}"
    assert b"Patient/" not in body
    assert b"Practitioner/" not in body


async def test_a_receiver_knows_ours_by_any_of_the_keys_and_nothing_else(
    clinic: Clinic, receiver: Received
) -> None:
    await clinic.raised()
    webhook = clinic.webhook()
    await webhook.collect()
    await webhook.deliver()
    ((headers, body),) = receiver.posts
    is_ours, at = verifier(), NOW / 1_000_000

    def holds(secret: str = SECRET, raw: bytes = body, now: float = at, **changed: str) -> bool:
        return is_ours({**headers, **changed}, raw, secret, lambda: now)

    assert holds()
    assert holds(OTHER)  # while a key is changed both sign
    assert not holds("whsec_" + base64.b64encode(b"x" * 32).decode())
    assert not holds(raw=body + b" ")
    assert not holds(now=at + 301)
    assert not holds(now=at - 301)
    assert not holds(**{"Webhook-Id": "another"})
    assert not holds(**{"Webhook-Timestamp": str(int(at) + 1)})
    assert not holds(**{"Webhook-Timestamp": "soon"})
    assert not holds(**{"Webhook-Signature": "v1,x v2,y"})


async def test_what_is_not_taken_is_tried_again_later_and_later(clinic: Clinic, receiver: Received) -> None:
    id = await clinic.raised()
    receiver.answers = [500, 302, 404]
    webhook = clinic.webhook()
    await webhook.collect()
    for attempt in range(3):
        assert await webhook.deliver() == 0
        assert len(receiver.posts) == attempt + 1
        webhook = clinic.webhook()  # a restart forgets nothing and hurries nothing
        clinic.now += int(pause(attempt).total_seconds() * 1_000_000) - 1000
        assert await webhook.deliver() == 0
        assert len(receiver.posts) == attempt + 1
        clinic.now += 1000
    assert await webhook.deliver() == 1
    assert [headers["Webhook-Id"] for headers, _ in receiver.posts] == [id] * 4
    assert len({body for _, body in receiver.posts}) == 1
    assert len({headers["Webhook-Signature"] for headers, _ in receiver.posts}) > 1  # each at its own time


def test_the_pauses_double_up_to_an_hour() -> None:
    assert [pause(n) for n in (0, 1, 2)] == [timedelta(seconds=s) for s in (5, 10, 20)]
    assert pause(10) == pause(10**6) == timedelta(hours=1)


async def test_a_dead_receiver_is_one_alarm_and_holds_no_other_alert_back_for_ever(
    clinic: Clinic, receiver: Received
) -> None:
    first, second = await clinic.raised(), await clinic.raised("vip")
    webhook = clinic.webhook()
    await webhook.collect()
    receiver.answers = [500] * 12
    for _ in range(12):
        await webhook.deliver()
        clinic.now += 3600 * 1_000_000
    assert [alarm.rule for alarm in clinic.alarms] == ["webhook"]
    assert "nothing in 5 attempts" in clinic.alarms[0].text
    assert {headers["Webhook-Id"] for headers, _ in receiver.posts} == {first, second}
    assert await webhook.deliver() == 2


async def test_an_alert_that_reaches_the_log_late_is_posted_and_one_from_before_the_webhook_is_not(
    clinic: Clinic, receiver: Received
) -> None:
    clinic.now += 3 * 24 * 60 * MINUTE
    await clinic.webhook().collect()
    late = clinic.now
    clinic.now -= 2 * 24 * 60 * MINUTE  # its time is that of the outage, when it waited in a spool
    id = await clinic.raised()
    clinic.now = NOW - MINUTE
    await clinic.raised("vip")
    clinic.now = late
    webhook = clinic.webhook()
    assert (await webhook.collect(), await webhook.deliver()) == (1, 1)
    assert [headers["Webhook-Id"] for headers, _ in receiver.posts] == [id]


async def test_what_other_systems_send_to_the_log_is_not_told_as_ours(clinic: Clinic) -> None:
    feed = Feed(
        Site("https://other.example/fhir", "https://other.example", "other"), clinic.recorder, audit_indexer(),
        lambda: "foreign", lambda: clinic.now,
    )  # fmt: skip
    event = {
        "resourceType": "AuditEvent",
        "type": {"code": "110113"},
        "subtype": [{"system": SUBTYPE, "code": "alert-mass-access"}],
        "recorded": "2026-03-01T12:00:00Z",
        "agent": [{"requestor": True}],
        "source": {"observer": {"display": "x"}},
    }
    await feed.accept(event, Permission(Agent("x"), "test", trace=a_trace()))
    assert await clinic.log.alerts(0) == ["foreign"]
    assert await clinic.webhook().collect() == 0


PUBLIC = "https://alerts.example.com/x"


@pytest.mark.parametrize(
    ("chosen", "fault"),
    [
        (
            {"webhook_url": "http://alerts.example.com/x", "webhook_secrets": [SECRET]},
            "webhook_url must be https",
        ),
        ({"webhook_url": "https://127.0.0.1/x", "webhook_secrets": [SECRET]}, "public host"),
        ({"webhook_url": "https://169.254.169.254/", "webhook_secrets": [SECRET]}, "public host"),
        ({"webhook_url": PUBLIC}, "needs a key"),
        ({"webhook_url": PUBLIC, "webhook_secrets": [SECRET, "secret"]}, "base64 of 24 to 64"),
        ({"webhook_url": PUBLIC, "webhook_secrets": ["whsec_c2hvcnQ="]}, "base64 of 24 to 64"),
        ({"webhook_url": PUBLIC, "webhook_secrets": ["whsec_!!"]}, "base64 of 24 to 64"),
    ],
)
async def test_a_webhook_that_cannot_be_is_refused_at_the_start(
    chosen: Mapping[str, Any], fault: str
) -> None:
    with pytest.raises(ValueError, match=fault):
        Endpoint.of(Alerts(**chosen), Outgoing())


async def test_a_webhook_needs_no_more_than_an_address_and_a_key() -> None:
    assert Endpoint.of(Alerts(), Outgoing()) is None
    made = Endpoint.of(Alerts(webhook_url=PUBLIC, webhook_secrets=[SecretStr(SECRET)]), Outgoing())
    assert made is not None
    assert len(replace(made).headers("x", AT, b"{}")["Webhook-Signature"].split()) == 1
