"""The syslog feed: RFC 5424 frames with DICOM AuditMessages, taken by a real rsyslog over mutual TLS."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from fhirserver.audit.outgoing import Feed
from fhirserver.audit.syslog import BATCH, LARGEST, Receiver, audit_message, event_frame, frame
from fhirserver.store.ledger import Recorded
from fhirserver.store.positions import Positions
from tests.kit.ledger import LedgerKit, Writer, an_event
from tests.kit.rsyslog import Certificates, Rsyslog, need_rsyslog

pytestmark = pytest.mark.anyio

_FRAME = re.compile(rb"(\d+) <(\d+)>1 (\S+) (\S+) fhirserver (\d+) (\S+) - \xef\xbb\xbf(.*)", re.DOTALL)


def recorded(**elements: object) -> Recorded:
    row = Writer(b"k" * 32).document(an_event(1, **elements))
    return Recorded(row["_id"], row["w"], row["s"], row["p"], row["h"], row["mac"], row["raw"], row["ts"])


def test_an_event_is_an_audit_message_of_dicom() -> None:
    event = an_event(1, patient="77")
    event["agent"][0]["network"] = {"address": "203.0.113.9", "type": "2"}
    event["entity"].append({"query": "R0VU", "type": {"system": "http://x/audit-entity-type", "code": "2"}})
    root = ElementTree.fromstring(audit_message(event))  # noqa: S314 our own words
    head = root.find("EventIdentification")
    assert head is not None
    assert head.attrib == {
        "EventActionCode": "R", "EventDateTime": event["recorded"], "EventOutcomeIndicator": "0",
    }  # fmt: skip
    codes = [(one.tag, one.get("csd-code")) for one in head]
    assert codes == [("EventID", "rest"), ("EventTypeCode", "read")]
    person = root.find("ActiveParticipant")
    assert person is not None
    assert (person.get("UserID"), person.get("UserIsRequestor")) == ("Practitioner/p1", "true")
    assert (person.get("NetworkAccessPointID"), person.get("NetworkAccessPointTypeCode")) == (
        "203.0.113.9",
        "2",
    )
    patient, query = root.findall("ParticipantObjectIdentification")
    assert (patient.get("ParticipantObjectID"), patient.get("ParticipantObjectTypeCode")) == (
        "Patient/77",
        "1",
    )
    assert patient.get("ParticipantObjectTypeCodeRole") == "1"
    assert [one.text for one in query.iter("ParticipantObjectQuery")] == ["R0VU"]
    order = [one.tag for one in root]
    assert order == sorted(order, key=[
        "EventIdentification", "ActiveParticipant", "AuditSourceIdentification", "ParticipantObjectIdentification",
    ].index)  # fmt: skip


def test_a_frame_counts_its_octets_and_alerts_have_a_higher_severity() -> None:
    message = event_frame(recorded())
    parts = _FRAME.fullmatch(message)
    assert parts is not None
    assert int(parts[1]) == len(message) - len(parts[1]) - 1
    assert (parts[2], parts[6]) == (b"85", b"IHE+RFC-3881")
    assert ElementTree.fromstring(parts[7]).tag == "AuditMessage"  # noqa: S314 our own words
    alert = [{"system": "https://fhirserver.example/CodeSystem/audit-subtype", "code": "alert-denials"}]
    assert b" <84>1 " in event_frame(recorded(subtype=alert))
    assert frame("á".encode(), at="2026-03-01T12:00:00Z").endswith(b"\xef\xbb\xbf\xc3\xa1")


def test_an_event_with_too_many_objects_is_cut_to_what_a_receiver_takes() -> None:
    entity = [{"what": {"reference": f"Observation/{number}/_history/1"}} for number in range(1000)]
    message = event_frame(recorded(entity=entity))
    assert 1000 < len(message) <= LARGEST + 100
    parts = _FRAME.fullmatch(message)
    assert parts is not None
    ElementTree.fromstring(parts[7])  # noqa: S314 our own words


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls") / "good")


@pytest.fixture
def rsyslog(tmp_path: Path, certificates: Certificates) -> Iterator[Rsyslog]:
    need_rsyslog()
    receiver = Rsyslog(tmp_path / "rsyslog", certificates)
    receiver.start()
    yield receiver
    receiver.stop()


def feed_of(kit: LedgerKit, rsyslog: Rsyslog, certificates: Certificates) -> Feed:
    receiver = Receiver(
        "127.0.0.1", rsyslog.port, certificates.ca, certificates.cert("client"), certificates.key("client")
    )
    return Feed(kit.ledger, Positions(kit.database), receiver, kit._note, interval=0.05)


def ids_in(rsyslog: Rsyslog) -> list[str]:
    """The times of the taken events, which tell them apart."""
    return [found[1] for line in rsyslog.messages() if (found := re.search(r'EventDateTime="([^"]+)"', line))]


async def until_taken(rsyslog: Rsyslog, wanted: set[str]) -> None:
    async with asyncio.timeout(30):
        while not wanted <= set(ids_in(rsyslog)):  # noqa: ASYNC110 rsyslog tells nobody
            await asyncio.sleep(0.02)


def times(kit: LedgerKit, rows: list[dict[str, object]]) -> set[str]:
    return {
        found[1] for row in rows if (found := re.search(r'"recorded":"([^"]+)"', bytes(row["raw"]).decode()))
    }  # type: ignore[arg-type]


async def test_rsyslog_gets_every_sealed_event_in_order_and_again_after_an_outage(
    kit: LedgerKit, rsyslog: Rsyslog, certificates: Certificates
) -> None:
    writer, sealer = await kit.writer(), kit.sealer()
    rows = await kit.record(writer, BATCH + 20)
    await sealer.seal()
    unsealed = await kit.record(writer, 1)
    task = asyncio.create_task(feed_of(kit, rsyslog, certificates).run())
    await until_taken(rsyslog, times(kit, rows))
    assert ids_in(rsyslog) == sorted(times(kit, rows))
    assert not times(kit, unsealed) & set(ids_in(rsyslog))
    lines = rsyslog.messages()
    assert lines[0].startswith("85|2026-03-01T12:00:00.001")
    assert "|fhirserver|IHE+RFC-3881|" in lines[0]
    checkpoints = [line for line in lines if "|CHECKPOINT|" in line]
    assert checkpoints
    assert "clinic.example/audit" in checkpoints[0]

    rsyslog.stop()
    rows += unsealed + await kit.record(writer, 30)
    await sealer.seal()
    async with asyncio.timeout(30):
        await kit.alarmed.wait()
    rsyslog.start()
    await until_taken(rsyslog, times(kit, rows))
    task.cancel()
    assert [alarm.rule for alarm in kit.alarms] == ["syslog-feed"]


async def test_a_restarted_feed_goes_on_where_it_was_and_loses_nothing(
    kit: LedgerKit, rsyslog: Rsyslog, certificates: Certificates
) -> None:
    writer, sealer = await kit.writer(), kit.sealer()
    rows = await kit.record(writer, 2 * BATCH)
    await sealer.seal()
    task = asyncio.create_task(feed_of(kit, rsyslog, certificates).run())
    await until_taken(rsyslog, times(kit, rows))
    async with asyncio.timeout(30):
        while not await Positions(kit.database).get("syslog"):  # noqa: ASYNC110 the feed tells nobody
            await asyncio.sleep(0.01)
    task.cancel()
    assert await Positions(kit.database).get("syslog") == BATCH  # the last batch may have been under way
    more = await kit.record(writer, 3)
    await sealer.seal()
    task = asyncio.create_task(feed_of(kit, rsyslog, certificates).run())
    await until_taken(rsyslog, times(kit, more))
    task.cancel()
    assert len(ids_in(rsyslog)) == 3 * BATCH + 3


async def test_a_receiver_with_a_strange_certificate_gets_nothing(
    kit: LedgerKit, tmp_path: Path, certificates: Certificates
) -> None:
    need_rsyslog()
    strange = Rsyslog(tmp_path / "strange", Certificates(tmp_path / "other"))
    strange.start()
    try:
        await kit.record(await kit.writer(), 3)
        await kit.sealer().seal()
        feed = feed_of(kit, strange, certificates)
        with pytest.raises(ssl.SSLCertVerificationError):
            await feed.serve()
        task = asyncio.create_task(feed.run())
        async with asyncio.timeout(30):
            await kit.alarmed.wait()
        task.cancel()
        assert strange.messages() == []
    finally:
        strange.stop()
