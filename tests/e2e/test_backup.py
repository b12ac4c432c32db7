"""A backup of the data folder is restored, and its audit log verified: security.md K8, docs/how-to/backup.md."""

from __future__ import annotations

import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fhirserver.cli import main
from tests.kit.builders import a_patient
from tests.kit.client import JSON
from tests.kit.server import Server


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="backup-"))  # short: a Unix socket lives in it
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_the_audit_log_of_a_restored_backup_verifies(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, restored = folder / "data", folder / "restored"
    with Server(data, audit__seal_interval="0.1") as server:
        made = httpx.post(
            f"{server.fhir}/Patient", json=a_patient(), headers={"content-type": JSON}, timeout=30
        )
        id = made.json()["id"]
        assert httpx.get(f"{server.fhir}/Patient/{id}", timeout=30).status_code == 200
    with tarfile.open(folder / "backup.tar.gz", "w:gz") as archive:
        for part in ("mongo", "audit", "oauth"):
            archive.add(data / part, part)
    with tarfile.open(folder / "backup.tar.gz") as archive:
        archive.extractall(restored, filter="data")
    verify = ["audit", "verify", "--json", "--data-dir"]
    capsys.readouterr()
    assert main([*verify, str(restored)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["result"], report["totals"]) == ("intact", {})
    assert report["events"] >= 4, "start, create, read, stop"
    with Server(restored) as server:  # it goes on from there
        assert httpx.get(f"{server.fhir}/Patient/{id}", timeout=30).json()["id"] == id
    (restored / "audit" / "keys.txt").unlink()
    assert main([*verify, str(restored)]) == 3, "without the public keys nothing is proven"
