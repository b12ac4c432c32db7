"""The leased work beside sealing: the daily verification, anchors in a file and by mail."""

from __future__ import annotations

import asyncio
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from fhirserver.audit.anchor import PERIOD, anchor_once, keep_anchors, to_file, to_mail
from fhirserver.audit.index_check import IndexCheck
from fhirserver.audit.keys import parse_keys
from fhirserver.audit.verify_report import anchor_of
from fhirserver.audit.watch import Watch
from fhirserver.store.ledger import EVENTS
from fhirserver.store.positions import Positions
from tests.kit.ledger import LedgerKit, indexer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def sealed(kit: LedgerKit) -> LedgerKit:
    await kit.record(await kit.writer(), 5)
    await kit.sealer().seal()
    return kit


def watch_of(kit: LedgerKit) -> Watch:
    check = IndexCheck(indexer(), "default")
    return Watch(kit.ledger, Positions(kit.database), kit.keys, check, kit._note, lambda: kit.now)


async def test_a_verification_is_remembered_and_raises_no_alarm_where_all_is_well(sealed: LedgerKit) -> None:
    assert await sealed.ledger.last_verification() is None
    await watch_of(sealed).verify()
    result = await sealed.ledger.last_verification()
    assert result is not None
    assert (result["result"], result["size"], result["totals"]) == ("intact", 5, {})
    assert sealed.alarms == []


@pytest.mark.parametrize("change", [{"raw": b"{}"}, {"ix.patient": []}])
async def test_what_a_verification_finds_is_alarmed(sealed: LedgerKit, change: dict[str, object]) -> None:
    await sealed.database[EVENTS].update_one({"s": 2}, {"$set": change})
    await watch_of(sealed).verify()
    assert [alarm.rule for alarm in sealed.alarms] == ["integrity"]
    result = await sealed.ledger.last_verification()
    assert result is not None
    assert result["result"] == "tampered"


async def test_the_server_verifies_once_a_day(sealed: LedgerKit) -> None:
    watch, made = watch_of(sealed), sealed.database["audit_verifications"]
    sealed.now += PERIOD
    assert [await watch.verify_daily() for _ in range(3)] == [True, False, False]
    sealed.now += PERIOD - 1
    assert not await watch.verify_daily()
    sealed.now += 1
    assert await watch.verify_daily()
    assert await made.count_documents({}) == 2


async def test_a_checkpoint_is_handed_over_once_a_day_and_serves_as_an_anchor(
    sealed: LedgerKit, tmp_path: Path
) -> None:
    file, positions = tmp_path / "anchors.txt", Positions(sealed.database)
    sinks = [to_file(file)]
    sealed.now += PERIOD
    assert await anchor_once(sealed.ledger, positions, sinks, sealed.now)
    assert not await anchor_once(sealed.ledger, positions, sinks, sealed.now + PERIOD - 1)
    assert await anchor_once(sealed.ledger, positions, sinks, sealed.now + PERIOD)
    newest = await sealed.ledger.newest()
    assert newest is not None
    assert file.read_text() == f"{newest.note}\n" * 2
    keys = parse_keys(sealed.keys.public.read_text())
    assert anchor_of(newest.note, keys, sealed.origin).size == 5


async def test_an_empty_ledger_has_nothing_to_hand_over(kit: LedgerKit, tmp_path: Path) -> None:
    file = tmp_path / "anchors.txt"
    assert not await anchor_once(kit.ledger, Positions(kit.database), [to_file(file)], kit.now + PERIOD)
    assert not file.exists()


async def test_a_sink_that_fails_is_alarmed_and_tried_again(sealed: LedgerKit, tmp_path: Path) -> None:
    positions, sinks = Positions(sealed.database), [to_file(tmp_path / "absent" / "anchors.txt")]
    sealed.now += PERIOD
    task = asyncio.create_task(
        keep_anchors(sealed.ledger, positions, sinks, lambda: sealed.now, sealed._note)
    )
    async with asyncio.timeout(20):
        await sealed.alarmed.wait()
    task.cancel()
    assert [alarm.rule for alarm in sealed.alarms] == ["anchor"]
    assert await positions.get("anchor") == 0


class Smtp(socketserver.StreamRequestHandler):
    """As much of a mail server as it takes to get one mail."""

    mails: ClassVar[list[str]] = []

    def handle(self) -> None:
        self.wfile.write(b"220 test\r\n")
        while line := self.rfile.readline():
            word = line.split()[0].upper() if line.split() else b""
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = iter(self.rfile.readline, b".\r\n")
                self.mails.append(b"".join(lines).decode())
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
            if word == b"QUIT":
                return


@pytest.fixture
def mail_server() -> Iterator[str]:
    with socketserver.TCPServer(("127.0.0.1", 0), Smtp) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


async def test_a_checkpoint_is_mailed(sealed: LedgerKit, mail_server: str) -> None:
    Smtp.mails.clear()
    sink = to_mail("dpo@clinic.example", mail_server, "fhirserver@clinic.example", sealed.origin)
    assert await anchor_once(sealed.ledger, Positions(sealed.database), [sink], sealed.now + PERIOD)
    (mail,) = Smtp.mails
    assert "To: dpo@clinic.example" in mail
    assert "Subject: Audit checkpoint of clinic.example/audit" in mail
