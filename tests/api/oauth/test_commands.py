"""`fhirserver users|clients|keys|token` and the demo's doors, on the database of a running server."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from fhirserver.cli import main
from fhirserver.cli.client import FhirClient
from fhirserver.cli.demo_access import FILE, KEY_FILE, open_doors, say_doors
from fhirserver.r4.definitions import Definitions
from fhirserver.settings import OAuth, Settings
from fhirserver.store.client import socket_uri
from fhirserver.store.mongod_home import running_socket
from tests.kit.client import unique
from tests.kit.corpus import definitions
from tests.kit.oauth import App, Person, Realm, new_key, tokens_of

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(realm: Realm, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command on the server's data folder: exit code, stdout, stderr. The definitions are read once for all."""
    monkeypatch.setattr(Definitions, "load", staticmethod(definitions))

    def command(*words: str) -> tuple[int, str, str]:
        code = main([*words, "--data-dir", str(realm.server.data_dir)])
        out, err = capsys.readouterr()
        return code, out, err

    return command


def field(out: str, name: str) -> str:
    found = re.search(rf"^{name} +(\S+)$", out, re.M)
    assert found is not None, out
    return found[1]


def test_a_user_is_added_changed_and_locked_out(realm: Realm, run: Run) -> None:
    name = unique("maria")
    code, out, _ = run("users", "add", name, "--role", "reception", "--display", "Maria S.")
    assert code == 0
    user = realm.store.users.named(name)
    assert user is not None
    person = Person(realm.server.root)
    person.open("/auth/apps")
    assert "Maria S." in person.sign_in(user, field(out, "password")).text
    assert name in run("users", "list")[1]
    assert run("users", "roles", name, "--role", "billing")[0] == 0
    changed = realm.store.users.named(name)
    assert changed is not None
    assert changed.roles == ("billing",)
    assert run("users", "disable", name)[0] == 0
    person.open("/auth/apps")
    assert person.sign_in(user, field(out, "password")).status_code == 401
    assert run("users", "enable", name)[0] == 0
    _, out, _ = run("users", "password", name)
    person.open("/auth/apps")
    assert "Apps with access" in person.sign_in(user, field(out, "password")).text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "12345678901", "--role", "reception"), "no CPF"),
        (("add", "x", "--role", "reception"), "2 to 64"),
        (("add", "someone", "--role", "king"), "unknown role"),
        (("add", "someone", "--role", "patient"), "own resource"),
        (("add", "someone", "--role", "patient", "--role", "admin", "--fhir-user", "Patient/1"), "stands alone"),
        (("add", "someone", "--role", "admin", "--fhir-user", "Device/1"), "own resource"),
        (("add", "someone", "--role", "patient", "--fhir-user", "Patient/1", "--acts-for", "Patient/2"), "are ids"),
        (("disable", "nobody-at-all"), "no user"),
        (("password", "nobody-at-all"), "no user"),
    ],
)  # fmt: skip
def test_accounts_that_cannot_be_are_refused(run: Run, words: tuple[str, ...], said: str) -> None:
    code, _, err = run("users", *words)
    assert code == 1
    assert said in err


def test_passwords_from_stdin_keep_the_policy(
    realm: Realm, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    name = unique("stdin")
    for typed, code in (("password1234\n", 1), ("nuvem lenta pinta o muro\n", 0)):
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        assert run("users", "add", name, "--role", "reception", "--password-stdin")[0] == code
    assert realm.store.users.named(name) is not None
    monkeypatch.setattr("sys.stdin", io.StringIO("nuvem lenta pinta o muro\n"))
    code, _, err = run("users", "add", name.upper(), "--role", "reception", "--password-stdin")
    assert code == 1
    assert "already" in err


def test_the_last_administrator_stays(realm: Realm, run: Run) -> None:
    admins = [user for user in realm.store.users.all() if "admin" in user.roles and not user.disabled]
    for user in admins:
        realm.store.users.change(user.id, disabled=True)
    last = realm.user("admin")
    code, _, err = run("users", "disable", last.name)
    assert code == 1
    assert "last administrator" in err
    assert run("users", "roles", last.name, "--role", "reception")[0] == 1
    realm.user("admin")
    assert run("users", "disable", last.name)[0] == 0


def test_an_app_is_added_changed_and_locked_out(realm: Realm, run: Run, tmp_path: Path) -> None:
    id = unique("shop")
    words = (
        "clients",
        "add",
        "Shop",
        "--id",
        id,
        "--kind",
        "confidential",
        "--scope",
        "openid user/Patient.rs",
    )
    code, out, _ = run(*words, "--redirect-uri", "https://app.example/cb")
    assert code == 0
    stored = realm.store.clients.get(id)
    assert stored is not None
    user = realm.user()
    assert tokens_of(
        App(realm.server.root, stored, field(out, "client_secret")), user, "openid user/Patient.rs"
    )
    assert (
        run("clients", "update", id, "--redirect-uri", "https://app.example/cb2", "--scope", "openid")[0] == 0
    )
    assert "https://app.example/cb2" in run("clients", "list", "--verbose")[1]
    secret = field(run("clients", "secret", id)[1], "client_secret")
    assert secret != field(out, "client_secret")
    assert run("clients", "disable", id)[0] == 0
    changed = realm.store.clients.get(id)
    assert changed is not None
    assert (changed.status, changed.scope) == ("disabled", "openid")
    service, key = unique("service"), new_key("ES384")
    file = tmp_path / "key.json"
    file.write_text(json.dumps(key.as_dict(private=False)))
    words = (
        "clients",
        "add",
        "Service",
        "--id",
        service,
        "--kind",
        "keys",
        "--backend",
        "--scope",
        "system/*.rs",
    )
    assert run(*words, "--jwks", str(file))[0] == 0
    record = realm.store.clients.get(service)
    assert record is not None
    assert App(realm.server.root, record, None, key).credentials().status_code == 200
    file.write_text(json.dumps(key.as_dict(private=True)))
    code, _, err = run("clients", "keys", service, "--jwks", str(file))
    assert code == 1
    assert "public keys only" in err


def test_a_service_gets_and_loses_a_policy(realm: Realm, run: Run, tmp_path: Path) -> None:
    id, file = unique("partner"), tmp_path / "key.json"
    file.write_text(json.dumps(new_key("ES384").as_dict(private=False)))
    words = ("clients", "add", "Partner", "--id", id, "--kind", "keys", "--backend", "--jwks", str(file))
    words += ("--scope", "system/*.rs", "--policy")
    code, _, err = run(*words, "king")
    assert code == 1
    assert "system_policy" in err
    assert run(*words, "reception")[0] == 0
    policies = []
    for change in ("billing", ""):
        stored = realm.store.clients.get(id)
        policies.append(stored and stored.system_policy)
        assert run("clients", "update", id, "--policy", change)[0] == 0
    stored = realm.store.clients.get(id)
    assert [*policies, stored and stored.system_policy] == ["reception", "billing", None]


def test_the_secrets_key_is_rotated_while_the_server_runs(realm: Realm, run: Run) -> None:
    user = realm.user("auditor")
    code, out, err = run("keys", "rotate-secrets")
    assert code == 0, err
    assert re.search(r"^[0-9a-f]{8}  [1-9]\d* secrets", out)
    file = realm.server.data_dir / "oauth" / "secrets.key"
    assert len(file.read_text().split()) == 2
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    person = Person(realm.server.root)
    person.open("/auth/apps")
    assert "Apps with access" in person.sign_in(user).text
    assert run("keys", "rotate-secrets", "--file-is-ready")[0] == 0


def test_secrets_are_not_given_up_by_mistake(realm: Realm, run: Run) -> None:
    user = realm.user("auditor")
    code, _, err = run("keys", "give-up-secrets")
    assert code == 1
    assert "--yes" in err
    kept = realm.store.users.get(user.id)
    assert kept is not None
    assert kept.totp == user.totp


def test_the_signing_key_is_rotated(realm: Realm, run: Run) -> None:
    before = realm.parts.keys.signing().kid
    kid = run("keys", "rotate")[1].strip()
    listed = run("keys", "list")[1]
    assert re.search(rf"^{kid} .*signs$", listed, re.M)
    assert re.search(rf"^{before} .*retired", listed, re.M)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--scope", "system/*.rs nonsense"), "not every scope"),
        (("--scope", "user/*.rs"), "--user"),
        (("--scope", "system/*.rs", "--user", "{user}"), "backend services"),
        (("--scope", "patient/*.rs", "--user", "{user}"), "--patient"),
        (("--scope", "user/*.rs", "--user", "nobody-at-all"), "no such user"),
    ],
)
def test_tokens_that_make_no_sense_are_not_minted(
    realm: Realm, run: Run, words: tuple[str, ...], said: str
) -> None:
    user = realm.user()
    code, out, err = run("token", *(word.replace("{user}", user.name) for word in words))
    assert (code, out) == (2, "")
    assert said in err


def test_a_minted_token_works_and_ends_with_its_user(
    realm: Realm, run: Run, patients: tuple[str, str]
) -> None:
    user = realm.user()
    token = run("token", "--scope", "user/Patient.rs", "--user", user.name)[1].strip()
    with realm.fhir(token) as fhir:
        assert fhir.get(f"/Patient/{patients[0]}").status_code == 200
        assert fhir.get("/Observation").status_code == 403
    disabled = realm.user()
    token = run("token", "--scope", "user/Patient.rs", "--user", disabled.name)[1].strip()
    realm.store.users.change(disabled.id, disabled=True)
    with realm.fhir(token) as fhir:
        assert fhir.get(f"/Patient/{patients[0]}").status_code == 401


def test_the_demo_has_a_user_for_each_role_and_says_how_to_sign_in(
    realm: Realm, patients: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(Definitions, "load", staticmethod(definitions))
    with realm.fhir() as fhir:
        fhir.made({"resourceType": "Practitioner"})
        fhir.made({"resourceType": "RelatedPerson", "patient": {"reference": f"Patient/{patients[1]}"}})
    socket = running_socket(realm.server.data_dir)
    settings = Settings(
        port=realm.server.port,
        mongodb_uri=socket_uri(str(socket)),  # type: ignore[arg-type]
        data_dir=tmp_path,
        oauth=OAuth(secrets_key_file=realm.server.data_dir / "oauth" / "secrets.key"),
    )
    say_doors("http://x", tmp_path)
    assert capsys.readouterr().out == ""
    client = FhirClient(realm.server.fhir, token=realm.token())
    open_doors(settings, client)
    client.close()
    for name in (FILE, KEY_FILE):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    doors = json.loads((tmp_path / FILE).read_text())
    assert [user["name"] for user in doors["users"]] == [
        "admin", "manager", "practitioner", "reception", "billing", "auditor", "custodian", "patient",
    ]  # fmt: skip
    for name in ("practitioner", "patient"):
        user = realm.store.users.named(name)
        assert user is not None
        person = Person(realm.server.root)
        person.open("/auth/apps")
        password = next(one["password"] for one in doors["users"] if one["name"] == name)
        assert "Apps with access" in person.sign_in(user, password).text
    say_doors("http://x", tmp_path)
    said = capsys.readouterr().out
    assert all(user["password"] in said for user in doors["users"])
    assert "demo-backend" in said
