"""The feed to an ATNA repository: audit.md 12 (POST, stored position, at least once, an outage loses nothing)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from fhirserver.audit import atna
from fhirserver.audit.atna import BATCH
from fhirserver.audit.outgoing import Broken, Feed
from fhirserver.audit.system import SystemEvents
from fhirserver.settings import Atna
from fhirserver.store.positions import Positions
from tests.kit.atna import Repository
from tests.kit.audit import NOW, a_builder, subtypes
from tests.kit.client import Fhir
from tests.kit.ledger import LedgerKit
from tests.kit.rsyslog import Certificates
from tests.kit.server import Server

pytestmark = pytest.mark.anyio
SYSTEM = SystemEvents(a_builder(), lambda: NOW)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls") / "good")


@pytest.fixture
def repository() -> Iterator[Repository]:
    made = Repository()
    made.start()
    yield made
    made.stop()


def checkpoint(note: str) -> bytes:
    return SYSTEM.checkpoint(int(note.split("\n")[1]), note).raw


def feed_of(kit: LedgerKit, url: str, **more: Any) -> Feed:
    receiver = atna.Repository(url, checkpoint, **more)
    return Feed(kit.ledger, Positions(kit.database), receiver, kit._note, interval=0.02)


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [orjson.loads(row["raw"])["id"] for row in rows]


def events(repository: Repository) -> list[str]:
    """Ids of the events of the ledger that were taken, in order."""
    return [event["id"] for event in repository.taken if subtypes(event) != ["checkpoint"]]


async def ended(task: asyncio.Task[None]) -> None:
    """Ends a feed; again where a driver's call swallowed that (asyncio.wait_for does before Python 3.12)."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.5)


async def until_taken(repository: Repository, wanted: list[str]) -> None:
    async with asyncio.timeout(30):
        while not set(wanted) <= set(events(repository)):  # noqa: ASYNC110 the receiver tells nobody
            await asyncio.sleep(0.01)


async def test_a_repository_gets_every_sealed_event_in_order_and_the_checkpoint(
    kit: LedgerKit, repository: Repository
) -> None:
    writer, sealer = await kit.writer(), kit.sealer()
    rows = await kit.record(writer, BATCH + 5)
    await sealer.seal()
    unsealed = await kit.record(writer, 1)
    task = asyncio.create_task(feed_of(kit, repository.url, token="t0ken").run())
    await until_taken(repository, ids(rows))
    await until_kept(kit, len(rows))
    await ended(task)
    assert events(repository) == ids(rows)
    assert not set(ids(unsealed)) & set(events(repository))
    assert set(repository.requests) == {("/fhir/AuditEvent", "application/fhir+json", "Bearer t0ken")}
    note = repository.taken[-1]["entity"][0]
    assert note["what"]["identifier"]["value"] == str(len(rows))
    assert note["description"].startswith(f"clinic.example/audit\n{len(rows)}\n")
    raw = {orjson.loads(row["raw"])["id"]: orjson.loads(row["raw"]) for row in rows}
    assert all(event == raw[event["id"]] for event in repository.taken[:-1])


async def until_kept(kit: LedgerKit, at: int) -> None:
    async with asyncio.timeout(30):
        while await Positions(kit.database).get("atna") != at:  # noqa: ASYNC110 the feed tells nobody
            await asyncio.sleep(0.01)


async def test_an_outage_delays_and_loses_nothing_and_each_is_alarmed_once(
    kit: LedgerKit, repository: Repository
) -> None:
    writer, sealer = await kit.writer(), kit.sealer()
    rows = await kit.record(writer, 3)
    await sealer.seal()
    task = asyncio.create_task(feed_of(kit, repository.url).run())
    await until_kept(kit, len(rows))
    for _ in range(2):
        kit.alarmed.clear()
        repository.stop()
        rows += await kit.record(writer, 4)
        await sealer.seal()
        async with asyncio.timeout(30):
            await kit.alarmed.wait()
        repository.start()
        await until_taken(repository, ids(rows))
        await until_kept(kit, len(rows))
    await ended(task)
    assert events(repository) == ids(rows)
    assert [alarm.rule for alarm in kit.alarms] == ["atna-feed", "atna-feed"]


async def test_a_repository_that_fails_amid_a_batch_gets_the_batch_again(
    kit: LedgerKit, repository: Repository
) -> None:
    rows = await kit.record(await kit.writer(), 10)
    await kit.sealer().seal()
    repository.refuse_after = 4
    feed = feed_of(kit, repository.url)
    with pytest.raises(Broken, match="503"):
        await feed.serve()
    assert await Positions(kit.database).get("atna") == 0
    repository.refuse_after = None
    task = asyncio.create_task(feed.run())
    await until_taken(repository, ids(rows))
    await ended(task)
    assert events(repository) == ids(rows)[:4] + ids(rows)


async def test_a_restarted_feed_goes_on_where_it_was(kit: LedgerKit, repository: Repository) -> None:
    writer, sealer = await kit.writer(), kit.sealer()
    rows = await kit.record(writer, 5)
    for _ in range(2):
        await sealer.seal()
        task = asyncio.create_task(feed_of(kit, repository.url).run())
        await until_kept(kit, len(rows))
        await ended(task)
        rows += await kit.record(writer, 2)
    assert events(repository) == ids(rows)[:7]


@pytest.mark.parametrize("status", [200, 302, 400, 401, 422, 500])
async def test_only_what_is_taken_counts_and_redirects_are_not_followed(
    kit: LedgerKit, repository: Repository, status: int
) -> None:
    rows = await kit.record(await kit.writer(), 1)
    await kit.sealer().seal()
    repository.status = status
    task = asyncio.create_task(feed_of(kit, repository.url).run())
    if status == 200:  # the control: taken, if not by the letter
        await until_kept(kit, 1)
    else:
        async with asyncio.timeout(30):
            await kit.alarmed.wait()
        assert str(status) in kit.alarms[0].text
        assert await Positions(kit.database).get("atna") == 0
        repository.status = 201
        await until_taken(repository, ids(rows))
    await ended(task)


async def test_both_sides_show_their_certificates(
    kit: LedgerKit, tmp_path: Path, certificates: Certificates
) -> None:
    """Beside the pair of one authority: a stranger's repository, and a client that shows nothing."""
    rows = await kit.record(await kit.writer(), 2)
    await kit.sealer().seal()
    shown = {"cert_file": certificates.cert("client"), "key_file": certificates.key("client")}
    other = Certificates(tmp_path / "other")
    for made, given in (
        (other, shown | {"ca_file": certificates.ca}),
        (certificates, {"ca_file": certificates.ca}),
    ):
        stranger = Repository(made)
        stranger.start()
        with pytest.raises(Broken):
            await feed_of(kit, stranger.url, **given).serve()
        stranger.stop()
        assert stranger.taken == []
    good = Repository(certificates)
    good.start()
    task = asyncio.create_task(feed_of(kit, good.url, ca_file=certificates.ca, **shown).run())
    await until_taken(good, ids(rows))
    await ended(task)
    good.stop()


async def test_another_server_of_ours_is_a_repository(kit: LedgerKit, server: Server, fhir: Fhir) -> None:
    rows = await kit.record(await kit.writer(), 3)
    await kit.sealer().seal()
    task = asyncio.create_task(feed_of(kit, server.fhir).run())
    await until_kept(kit, len(rows))
    await ended(task)
    sent = orjson.loads(rows[0]["raw"])
    found = await asyncio.to_thread(fhir.get, f"/AuditEvent?date={sent['recorded']}&_sort=-date")
    kept = [entry["resource"] for entry in found.json()["entry"]]
    event = next(each for each in kept if each["entity"] == sent["entity"])
    assert event["id"] != sent["id"]
    assert event["meta"]["source"].startswith(f"{server.fhir.removesuffix('/fhir')}/oauth/clients/")
    assert {name: event[name] for name in event if name not in ("id", "meta")} == {
        name: sent[name] for name in sent if name not in ("id", "meta")
    }


@pytest.mark.parametrize(
    ("url", "is_safe"),
    [
        ("https://atna.example/fhir", True), ("http://127.0.0.1:8080/fhir", True), ("", True),
        ("http://atna.example/fhir", False), ("ftp://atna.example", False), ("https://", False), ("atna.example", False),
    ],
)  # fmt: skip
async def test_events_leave_the_machine_over_https_only(url: str, is_safe: bool) -> None:
    if is_safe:
        assert Atna(url=url).url == url
    else:
        with pytest.raises(ValidationError, match="https only"):
            Atna(url=url)
