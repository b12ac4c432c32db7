"""Real JavaScript clients: npm's fhirclient and openid-client sign in, read, refresh."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fhirserver.store.oauth_users import UserRecord
from tests.kit.oauth import Realm

HERE = Path(__file__).parent / "node"
SCOPE = "openid fhirUser launch/patient patient/*.rs offline_access"
_SECONDS = 300


def missing(reason: str) -> None:
    """Skips the test; in CI it fails instead, so that CI never passes by skipping."""
    if os.environ.get("CI") or os.environ.get("FHIRSERVER_CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def node() -> str:
    """The node program, with the clients of package-lock.json installed beside the scripts."""
    program, npm = shutil.which("node"), shutil.which("npm")
    if program is None or npm is None:
        missing("node and npm are needed for the JavaScript clients")
    assert program is not None
    assert npm is not None
    with (HERE / ".install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other workers of pytest-xdist come here too
        if not (HERE / "node_modules" / ".package-lock.json").is_file():
            done = subprocess.run(
                [npm, "ci", "--silent"], cwd=HERE, capture_output=True, text=True, timeout=_SECONDS, check=False,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
            if done.returncode:
                missing(f"npm ci failed: {done.stderr[-500:]}")
    return program


def run(node: str, script: str, settings: dict[str, Any], sign_in: Callable[[str], str]) -> dict[str, Any]:
    """What the script says at its end."""
    with subprocess.Popen(
        [node, script, json.dumps(settings)], cwd=HERE, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        if line:
            process.stdin.write(sign_in(json.loads(line)["open"]) + "\n")
            process.stdin.flush()
        out, problems = process.communicate(timeout=60)
    assert process.returncode == 0, problems
    told: dict[str, Any] = json.loads(out)
    return told


@pytest.mark.parametrize("kind", ["none", "client_secret_basic"])
def test_fhirclient_signs_in_reads_and_refreshes(
    node: str, realm: Realm, signing_in: Callable[[str], str], ana: UserRecord, kind: str
) -> None:
    app = realm.app(kind)
    settings = {"issuer": realm.server.fhir, "clientId": app.id, "redirectUri": app.record.redirect_uris[0],
                "scope": SCOPE} | ({"clientSecret": app.secret} if app.secret else {})  # fmt: skip
    told = run(node, "fhirclient.mjs", settings, signing_in)
    assert f"Patient/{told['patient']}" == ana.fhir_user
    assert told["again"] == told["patient"]
    assert told["user"].endswith(ana.fhir_user or "")
    assert told["rotated"] is True


def test_openid_client_uses_everything_that_discovery_names(
    node: str, realm: Realm, signing_in: Callable[[str], str], ana: UserRecord
) -> None:
    app, service = realm.app("client_secret_basic"), realm.service("system/Patient.rs", "ES384")
    key = {
        name: value for name, value in service.key.as_dict(private=True).items() if name not in ("use", "alg")
    }
    settings = {
        "issuer": realm.server.root, "clientId": app.id, "clientSecret": app.secret, "scope": SCOPE,
        "redirectUri": app.record.redirect_uris[0], "service": {"clientId": service.id, "jwk": key},
    }  # fmt: skip
    told = run(node, "openid-client.mjs", settings, signing_in)
    assert told["sub"] == ana.id
    assert told["fhirUser"].endswith(ana.fhir_user or "")
    assert (told["first"], told["second"]) == (200, 200)
    assert (told["active"], told["after"]) == (True, False)
    assert told["system"] == "system/Patient.rs"
    assert told["refusal"] == "invalid_scope"
