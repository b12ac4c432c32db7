"""Packages: archives, folders and files, and what is refused. Source: the FHIR NPM package specification."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from fhirserver.outcome import BadRequest, OutcomeError, TooLarge
from fhirserver.r4 import packages
from fhirserver.r4.packages import load_package
from tests.unit.validation.profilekit import profile

Json = dict[str, Any]
MANIFEST = {"name": "a.b", "version": "1.0.0", "fhirVersions": ["4.0.1"], "dependencies": {"c.d": "2.0.x"}}
PROFILE = profile("p", "Patient", {"birthDate": {"min": 1, "definition": "long text"}}) | {
    "text": {"div": "x"}
}
PATIENT = {"resourceType": "Patient", "id": "x"}


def archive(path: Path, files: dict[str, Any]) -> Path:
    """A .tgz; content: JSON of a dict, bytes as they are, a str is the target of a symbolic link."""
    with tarfile.open(path, "w:gz") as made:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                made.addfile(member)
                continue
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            member.size = len(data)
            made.addfile(member, io.BytesIO(data))
    return path


def folder(path: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(json.dumps(content).encode())
    return path


def test_an_archive_gives_its_manifest_and_conformance_resources(tmp_path: Path) -> None:
    files = {
        "package/.index.json": {"files": []},
        "package/StructureDefinition-p.json": PROFILE,
        "package/Patient-x.json": PATIENT,
        "package/example/Patient-y.json": PATIENT,
        "package/other/spec.internals": b"\0",
        "package/package.json": MANIFEST,
    }
    read = load_package(archive(tmp_path / "a.tgz", files))
    assert (read.name, read.version, read.dependencies) == ("a.b", "1.0.0", {"c.d": "2.0.x"})
    assert [resource["url"] for resource in read.resources] == [PROFILE["url"]]
    assert read.passed_over == 1


def test_a_profile_is_kept_without_its_texts(tmp_path: Path) -> None:
    [kept] = load_package(archive(tmp_path / "a.tgz", {"package/package.json": MANIFEST, "package/p.json": PROFILE})).resources  # fmt: skip
    assert "text" not in kept
    [element] = kept["differential"]["element"]
    assert (element["min"], "definition" in element) == (1, False)


@pytest.mark.parametrize("inner", ["", "package/"])
def test_a_folder_is_a_package_and_its_examples_are_not_part_of_it(tmp_path: Path, inner: str) -> None:
    files = {"package.json": MANIFEST, "p.json": PROFILE, "examples/valid/x.json": PROFILE}
    root = folder(tmp_path, {inner + name: content for name, content in files.items()})
    assert len(load_package(root).resources) == 1


def test_a_file_is_a_resource_or_a_bundle_of_them(tmp_path: Path) -> None:
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": PROFILE}, {"resource": PATIENT}],
    }
    folder(tmp_path, {"one.json": PROFILE, "many.json": bundle})
    assert load_package(tmp_path / "one.json").name == "one"
    assert len(load_package(tmp_path / "many.json").resources) == 1


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("no manifest", {"package/p.json": PROFILE}),
    ("a manifest without version", {"package/package.json": {"name": "a"}}),
    ("another version of FHIR", {"package/package.json": MANIFEST | {"fhirVersions": ["5.0.0"]}}),
    ("dependencies that are no object", {"package/package.json": MANIFEST | {"dependencies": ["x"]}}),
    ("a path that climbs out", {"package/package.json": MANIFEST, "package/../../x.json": PROFILE}),
    ("an absolute path", {"/etc/x.json": PROFILE}),
    ("a link", {"package/package.json": MANIFEST, "package/x.json": "/etc/passwd"}),
    ("no JSON", {"package/package.json": MANIFEST, "package/p.json": b"{"}),
    ("JSON that is no object", {"package/package.json": MANIFEST, "package/p.json": b"[]"}),
]


@pytest.mark.parametrize("files", [case[1] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_is_no_package_of_r4_is_refused(tmp_path: Path, files: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as refused:
        load_package(archive(tmp_path / "a.tgz", files))
    assert refused.value.issues[0].code == "package-unreadable"


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\x00broken"])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tgz").write_bytes(content)
    with pytest.raises(BadRequest):
        load_package(tmp_path / "a.tgz")


def test_an_archive_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    whole = archive(tmp_path / "a.tgz", {"package/package.json": MANIFEST, "package/p.json": PROFILE})
    (tmp_path / "b.tgz").write_bytes(whole.read_bytes()[:-60])
    with pytest.raises(OutcomeError):
        load_package(tmp_path / "b.tgz")


def test_other_files_than_packages_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"")
    with pytest.raises(BadRequest):
        load_package(tmp_path / "a.zip")


@pytest.mark.parametrize(("bound", "value"), [("MAX_FILES", 1), ("MAX_FILE", 100), ("MAX_TOTAL", 200)])
def test_an_archive_beyond_the_bounds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    path = archive(tmp_path / "a.tgz", {"package/package.json": MANIFEST, "package/p.json": PROFILE})
    assert load_package(path).name == "a.b"
    monkeypatch.setattr(packages, bound, value)
    with pytest.raises(TooLarge):
        load_package(path)
