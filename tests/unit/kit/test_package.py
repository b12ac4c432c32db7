"""Where tests find the definitions package, and that nothing but the pinned one is unpacked."""

import base64
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from tests.kit import package
from tests.kit.package import PackageDamaged, PackageMissing, find_package, package_dir, unpack


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "a.tgz"
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo("package/package.json")
        member.size = 2
        tar.addfile(member, io.BytesIO(b"{}"))
    return path


def test_an_archive_of_the_pinned_digest_is_unpacked(archive: Path, tmp_path: Path) -> None:
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    unpack(archive, tmp_path / "out", digest)
    assert (tmp_path / "out/package/package.json").read_text() == "{}"


def test_another_archive_is_refused_and_not_unpacked(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(PackageDamaged, match="pinned"):
        unpack(archive, tmp_path / "out", package.SHA512)
    assert not (tmp_path / "out").exists()


def test_a_given_folder_is_used_if_it_holds_a_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FHIR_R4_PACKAGE", str(tmp_path))
    with pytest.raises(PackageMissing):
        find_package()
    (tmp_path / "package.json").write_text("{}")
    assert find_package() == tmp_path


def test_a_missing_package_skips_here_and_fails_in_ci(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FHIR_R4_PACKAGE", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("FHIRSERVER_CI", raising=False)
    with pytest.raises(pytest.skip.Exception):
        package_dir()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(PackageMissing):
        package_dir()


def test_without_npm_the_reason_names_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FHIR_R4_PACKAGE", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PackageMissing, match="install npm"):
        find_package(tmp_path / "cache")
