"""What is sealed opens with its key at its place, and nowhere else. Rules: security.md K5; docs/decisions/0036."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fhirserver.outcome import Unavailable
from fhirserver.store.keyfile import BadKeyFile
from fhirserver.store.vault import Vault, is_sealed

PLACE = "oauth_users/default/u1/totp"


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "oauth" / "secrets.key")


def refused(vault: Vault, sealed: str, place: str = PLACE) -> bool:
    try:
        vault.open(sealed, place)
    except Unavailable as error:
        return error.issues[0].code == "secrets-key-wrong"
    return False


def test_a_sealed_text_opens_and_tells_nothing(vault: Vault) -> None:
    one, other = vault.seal("JBSWY3DPEHPK3PXP", PLACE), vault.seal("JBSWY3DPEHPK3PXP", PLACE)
    assert is_sealed(one)
    assert one != other
    assert "JBSWY3DP" not in one
    assert vault.present in one
    assert vault.open(one, PLACE) == vault.open(other, PLACE) == "JBSWY3DPEHPK3PXP"


def test_what_was_moved_changed_or_never_sealed_does_not_open(vault: Vault) -> None:
    sealed = vault.seal("seed", PLACE)
    assert refused(vault, sealed, "oauth_users/default/u2/totp")
    assert refused(vault, sealed[:-4] + ("AAAA" if sealed[-4:] != "AAAA" else "BBBB"))
    for text in ("JBSWY3DPEHPK3PXP", "", "v1.", "v1.zz.AAAA", sealed[:20], f"v1.{vault.present}.é"):
        assert refused(vault, text), text
    assert not refused(vault, sealed)


def test_another_key_or_none_does_not_open_and_none_is_made_for_it(vault: Vault, tmp_path: Path) -> None:
    sealed = vault.seal("seed", PLACE)
    other = Vault(tmp_path / "other.key")
    assert refused(other, sealed)
    assert not other.file.exists()
    other.seal("x", PLACE)
    assert refused(other, sealed)


def test_the_key_file_is_the_owners_alone(vault: Vault) -> None:
    sealed = vault.seal("seed", PLACE)
    assert vault.file.stat().st_mode & 0o777 == 0o600
    for mode in (0o640, 0o604):
        vault.file.chmod(mode)
        os.utime(vault.file, ns=(1, mode))  # as a restored file would be: another time
        with pytest.raises(BadKeyFile, match="chmod 600"):
            vault.seal("seed", PLACE)
    vault.file.chmod(0o600)
    os.utime(vault.file, ns=(1, 1))
    assert vault.open(sealed, PLACE) == "seed"
    for text in ("", "zz" * 32, "ab" * 16):
        vault.file.write_text(text)
        with pytest.raises(BadKeyFile, match="64 hex digits"):
            vault.seal("seed", PLACE)


def test_a_rotation_reaches_who_has_the_file_open_and_keeps_one_key_before(vault: Vault) -> None:
    running = Vault(vault.file)
    first = running.seal("seed", PLACE)
    kid = vault.rotate()
    assert running.open(first, PLACE) == "seed"
    second = running.seal("seed", PLACE)
    assert kid in second
    vault.rotate()
    assert running.open(second, PLACE) == "seed"
    assert refused(running, first)
    assert vault.file.stat().st_mode & 0o777 == 0o600
