"""`fhirserver audit`: exit codes and reports of verify, verify-proof and export, on a real database and without one."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fhirserver.audit.proofs import proof_of
from fhirserver.cli import main
from fhirserver.store import connect
from fhirserver.store.ledger import CHECKPOINTS, EVENTS
from tests.kit.ledger import LedgerKit
from tests.kit.mongo import database_name, mongodb_uri

__all__ = ["database_name", "mongodb_uri"]


@dataclass
class Site:
    """A database with 20 sealed events, and the folder with their keys."""

    uri: str
    name: str
    folder: Path
    rows: list[dict[str, Any]]
    notes: list[str]

    def do(self, work: Callable[[LedgerKit], Awaitable[Any]]) -> Any:
        async def call() -> Any:
            client = connect(self.uri)
            try:
                return await work(LedgerKit(client[self.name], self.folder / "audit", count=len(self.rows)))
            finally:
                await client.close()

        return asyncio.run(call())

    def run(self, *words: str) -> int:
        return main(["audit", *words, "--mongodb-uri", self.uri, "--data-dir", str(self.folder)])


@pytest.fixture
def site(mongodb_uri: str, database_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    for name in [name for name in os.environ if name.startswith("FHIRSERVER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FHIRSERVER_DATABASE", database_name)
    monkeypatch.setenv("FHIRSERVER_AUDIT__ORIGIN", "clinic.example/audit")
    monkeypatch.chdir(tmp_path)
    site = Site(mongodb_uri, database_name, tmp_path, [], [])

    async def fill(kit: LedgerKit) -> None:
        await kit.ledger.prepare()
        writer, sealer = await kit.writer(), kit.sealer()
        for _ in range(2):
            site.rows += await kit.record(writer, 10)
            await sealer.seal()
        site.notes = [seal.note async for seal in kit.ledger.seals()]

    site.do(fill)
    return site


def test_verify_says_that_an_untouched_log_is_intact(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert site.run("verify") == 0
    assert "intact: 20 events, 2 checkpoints" in capsys.readouterr().out
    assert site.run("verify", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["result"], report["size"], report["totals"]) == ("intact", 20, {})


def test_verify_names_what_was_altered(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    async def alter(kit: LedgerKit) -> None:
        await kit.database[EVENTS].update_one({"s": 3}, {"$set": {"raw": b"{}"}})

    site.do(alter)
    assert site.run("verify", "--json") == 1
    finding, summary = map(json.loads, capsys.readouterr().out.splitlines())
    assert (finding["finding"], finding["index"], finding["id"]) == ("MODIFIED", 3, site.rows[3]["_id"])
    assert summary["totals"] == {"MODIFIED": 1}
    assert site.run("verify") == 1
    assert "MODIFIED" in capsys.readouterr().out


def test_verify_compares_with_kept_checkpoints(site: Site, tmp_path: Path) -> None:
    anchor = tmp_path / "anchor.txt"
    anchor.write_text(site.notes[1])
    assert site.run("verify", "--anchor", str(anchor)) == 0

    async def cut(kit: LedgerKit) -> None:
        await kit.database[CHECKPOINTS].delete_one({"_id": 20})
        await kit.database[EVENTS].delete_many({"s": {"$gte": 10}})

    site.do(cut)
    assert site.run("verify") == 0
    assert site.run("verify", "--anchor", str(anchor)) == 1


def test_waiting_events_are_overdue_with_their_own_exit_code(site: Site) -> None:
    async def record(kit: LedgerKit) -> None:
        await kit.record(await kit.writer(), 1)

    site.do(record)
    assert site.run("verify") == 4


def test_verify_cannot_work_without_keys_or_with_a_strange_anchor(site: Site, tmp_path: Path) -> None:
    empty, damaged = tmp_path / "empty.txt", tmp_path / "damaged.txt"
    empty.write_text("# nothing\n")
    damaged.write_text("no key")
    assert site.run("verify", "--keys", str(empty)) == 3
    assert site.run("verify", "--keys", str(damaged)) == 3
    assert site.run("verify", "--keys", str(tmp_path / "absent.txt")) == 3
    assert site.run("verify", "--anchor", str(damaged)) == 3
    assert site.run("verify", "--since", "7") == 3
    assert site.run("verify", "--since", "10") == 0
    assert site.run("verify", "--origin", "other.example/audit") == 1


def test_an_export_verifies_without_the_database(site: Site, tmp_path: Path) -> None:
    out, keys = tmp_path / "out", str(site.folder / "audit" / "keys.txt")
    assert site.run("export", "--out", str(out), "--from", "2026-03-01", "--to", "2026-03-02") == 0
    verify = ["audit", "verify", "--export", str(out), "--keys", keys, "--origin", "clinic.example/audit"]
    assert main(verify) == 0
    file = out / "events.ndjson"
    file.write_bytes(file.read_bytes().replace(b'\\"outcome\\":\\"0\\"', b'\\"outcome\\":\\"8\\"', 1))
    assert main(verify) == 1
    (out / "export.json").unlink()
    assert main(verify) == 3
    assert site.run("export", "--out", str(out), "--from", "2026-03-02") == 1


def test_a_proof_is_checked_offline(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def prove(kit: LedgerKit) -> str:
        return await proof_of(kit.ledger, site.rows[4]["_id"])

    body, proof = tmp_path / "event.json", tmp_path / "event.proof"
    body.write_bytes(site.rows[4]["raw"])
    proof.write_text(site.do(prove))
    words = ["audit", "verify-proof", "--body", str(body), "--proof", str(proof)]
    words += ["--keys", str(site.folder / "audit" / "keys.txt")]
    assert main(words) == 0
    assert "proven: event 4" in capsys.readouterr().out
    body.write_bytes(site.rows[5]["raw"])
    assert main(words) == 1
    body.unlink()
    assert main(words) == 3


def test_keys_are_rotated_and_revoked(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert site.run("rotate-key") == 0
    new = capsys.readouterr().out.split()[-1]
    assert site.run("rotate-key") == 1  # the last one is not sealed yet

    async def seal(kit: LedgerKit) -> None:
        await kit.record(await kit.writer(), 1)
        await kit.sealer().seal()

    site.do(seal)
    assert site.run("verify", "--since", "10") == 0
    assert site.run("revoke-key", new.split("+")[1], "--after", "5") == 0
    assert site.run("revoke-key", "00000000", "--after", "5") == 2
    assert new in (site.folder / "audit" / "keys.txt").read_text()


def test_keys_that_others_can_read_are_refused(site: Site) -> None:
    (site.folder / "audit" / "signing.key").chmod(0o644)
    assert site.run("rotate-key") == 1
