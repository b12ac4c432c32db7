"""The command line: what is accepted, what is refused with 2, and where settings come from."""

import os
from pathlib import Path

import pytest

from fhirserver.cli import main
from fhirserver.cli.arguments import build_parser
from fhirserver.cli.config import UsageError, environment, load_settings
from fhirserver.settings import Settings, is_loopback

COMMANDS = (
    "serve",
    "load",
    "export",
    "reindex",
    "terminology",
    "doctor",
    "token",
    "audit",
    "openapi",
    "version",
)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("FHIRSERVER_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args([command, "--help"])
    assert ended.value.code == 0
    assert f"example:\n  fhirserver {command}" in capsys.readouterr().out


def test_the_help_names_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["--help"])
    out = capsys.readouterr().out
    assert all(f"\n    {command}" in out for command in COMMANDS)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "unknown",
        "load",
        "export",
        "token",
        "serve --port 0",
        "serve --port 65536",
        "serve --port http",
        "serve --workers 0",
        "load x --parallel 0",
        "token --scope x --ttl 0",
        "serve extra",
    ],
)
def test_a_wrong_command_line_ends_with_2(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    assert ended.value.code == 2
    assert "usage: fhirserver" in capsys.readouterr().err


def test_version_prints_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out.startswith("fhirserver ")


def test_loading_what_does_not_exist_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["load", "absent.json"]) == 2
    assert "absent.json" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "clinic.example"])
def test_serving_to_other_machines_without_authorization_is_refused(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--open", "--host", host]) == 2
    assert "open to all" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback_addresses_are_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "localhost.example", ""])
def test_other_addresses_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def parsed(line: str) -> Settings:
    return load_settings(build_parser().parse_args(line.split()))


def test_flags_stand_over_environment_over_file_over_defaults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert parsed("serve").port == 8000
    (tmp_path / "fhirserver.toml").write_text("port = 8001\nworkers = 3\n[limits]\ncount_max = 7\n")
    assert (parsed("serve").port, parsed("serve").limits.count_max) == (8001, 7)
    monkeypatch.setenv("FHIRSERVER_PORT", "8002")
    monkeypatch.setenv("FHIRSERVER_LIMITS__COUNT_MAX", "9")
    assert (parsed("serve").port, parsed("serve").workers, parsed("serve").limits.count_max) == (8002, 3, 9)
    assert parsed("serve --port 8003").port == 8003


def test_another_settings_file_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("port = 9000")
    assert parsed("serve --config other.toml").port == 9000
    with pytest.raises(UsageError, match="absent"):
        parsed("serve --config absent.toml")


@pytest.mark.parametrize(
    "text", ["prot = 1", "port = 'x'", "workers = 0", "port = ", "[limits]\nunknown = 1"]
)
def test_a_wrong_setting_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "fhirserver.toml").write_text(text)
    with pytest.raises(UsageError, match="settings"):
        parsed("serve")


def test_workers_read_from_their_environment_what_the_parent_decided(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "other.toml").write_text(
        "cors_origins = ['http://a.example']\ncursor_key = 's3cret'\n[limits]\nnesting = 9\n"
        f"[oauth]\nregistration_token = '{'q8' * 16}'\nsecrets_key_file = '/run/key'\n"
        "[audit]\nmongo_uri = 'mongodb://u:p@a/?replicaSet=r'\nholidays = [2026-01-20]"
    )
    (tmp_path / "other.toml").chmod(0o600)
    uri = "mongodb://%2Ftmp%2Fm.sock/?replicaSet=rs0"
    decided = parsed(f"serve --config other.toml --port 8003 --mongodb-uri {uri}")
    for name, value in environment(decided).items():
        monkeypatch.setenv(name, value)
    assert Settings().model_dump() == decided.model_dump()
    assert Settings().limits.nesting == 9
    token = Settings().oauth.registration_token
    assert token is not None
    assert token.get_secret_value() == "q8" * 16


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("cursor_key = 's3cret'", True),
        (f"[oauth]\nregistration_token = '{'q8' * 16}'", True),
        ("mongodb_uri = 'mongodb://u:p@a/?replicaSet=r'", True),
        ("[audit]\nmongo_uri = 'mongodb://u:p@a/?replicaSet=r'", True),
        ("mongodb_uri = 'mongodb://a/?replicaSet=r'", False),
        ("port = 8001", False),
    ],
)
def test_a_settings_file_with_secrets_is_the_owners_alone(text: str, refused: bool, tmp_path: Path) -> None:
    file = tmp_path / "fhirserver.toml"
    file.write_text(text)
    for mode in (0o644, 0o640):
        file.chmod(mode)
        if refused:
            with pytest.raises(UsageError, match="chmod 600"):
                parsed("serve")
        else:
            parsed("serve")
    file.chmod(0o600)
    parsed("serve")
