"""FHIR NPM packages: a .tgz, the same unpacked as a folder, or single files of conformance resources.

An archive is read as a stream, never unpacked to disk, and within bounds: names that leave the package, links, too many
or too large files are refused. Source: confluence.hl7.org/display/FHIR/NPM+Package+Specification
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from fhirserver.outcome import BadRequest, TooLarge
from fhirserver.r4.jsontext import parse_json
from fhirserver.r4.profileform import distilled

Json = dict[str, Any]
CONFORMANCE = frozenset(
    {"StructureDefinition", "SearchParameter", "ValueSet", "CodeSystem", "ConceptMap", "NamingSystem"}
)
"""The types that a package brings into effect. Examples and other resources in it are passed over."""
MAX_FILES = 50_000
MAX_FILE = 64 * 2**20
MAX_TOTAL = 1024 * 2**20
FHIR_VERSIONS = ("4.0", "4.0.0", "4.0.1")
BUILT_IN = ("hl7.fhir.r4.core", "hl7.fhir.r4.examples", "hl7.fhir.r4.expansions", "hl7.terminology.r4")
"""Packages whose content comes with the server, as far as it is used."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package as read. `dependencies`: name -> version. `resources`: the conformance resources, profiles distilled.

    `passed_over`: how many other JSON files there were.
    """

    name: str
    version: str
    dependencies: dict[str, str] = field(default_factory=dict)
    resources: tuple[Json, ...] = ()
    passed_over: int = 0


def load_package(path: Path) -> Package:
    """Read a package from an archive, a folder, or one JSON file (a resource or a Bundle of them).

    Raises BadRequest for what is no package or no R4, TooLarge for one beyond the bounds.
    """
    manifest: Json | None = None
    found: list[Json] = []
    passed_over = 0
    for name, body in _files(path):
        content = _parsed(name, body)
        if name == "package.json":
            manifest = content
            continue
        taken = [kept for resource in _unpacked(content) if (kept := _kept(resource)) is not None]
        found += taken
        passed_over += not taken
    if manifest is None:
        if path.is_dir() or path.suffix != ".json":
            raise _refused(f"{path.name} holds no package.json; it is no FHIR package.")
        manifest = {"name": path.stem, "version": _version(found)}
    return _package(path, manifest, found, passed_over)


def _package(path: Path, manifest: Json, found: list[Json], passed_over: int) -> Package:
    name, version = manifest.get("name"), manifest.get("version")
    if not isinstance(name, str) or not isinstance(version, str) or not name or "#" in name:
        raise _refused(f"package.json of {path.name} needs a name and a version.")
    versions = manifest.get("fhirVersions", manifest.get("fhir-version-list", ()))
    if versions and not any(v in FHIR_VERSIONS for v in versions):
        raise _refused(
            f"{name}#{version} is for FHIR {', '.join(map(str, versions))}; this server speaks R4 (4.0.1)."
        )
    dependencies = manifest.get("dependencies", {})
    if not isinstance(dependencies, dict):
        raise _refused(f"The dependencies in package.json of {path.name} must be an object.")
    return Package(
        name, version, {str(k): str(v) for k, v in dependencies.items()}, tuple(found), passed_over
    )


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """(file name, content) of the JSON files directly in the package."""
    if path.is_dir():
        root = path / "package" if (path / "package" / "package.json").is_file() else path
        for file in sorted(root.glob("*.json")):
            if not file.name.startswith("."):
                yield file.name, _read(file)
    elif path.suffix == ".json":
        yield ("resource.json" if path.name == "package.json" else path.name), _read(path)
    elif path.name.endswith((".tgz", ".tar.gz")):
        yield from _archived(path)
    else:
        raise _refused(f"{path.name}: expected a .tgz package, a folder, or a .json file.")


def _read(file: Path) -> bytes:
    try:
        if file.stat().st_size > MAX_FILE:
            raise _too_large(f"{file.name} is larger than {MAX_FILE >> 20} MB.")
        return file.read_bytes()
    except OSError as error:
        raise _refused(f"{file.name} cannot be read: {error.strerror}.") from error


def _archived(path: Path) -> Iterator[tuple[str, bytes]]:
    total = 0
    try:
        with tarfile.open(path, "r|gz") as archive:
            for number, member in enumerate(archive):
                if number >= MAX_FILES:
                    raise _too_large(f"{path.name} holds more than {MAX_FILES:,} files.")
                total += member.size
                if member.size > MAX_FILE or total > MAX_TOTAL:
                    raise _too_large(f"{path.name} unpacks to more than is allowed.")
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
                    raise _refused(f"{path.name} holds a name or link that leads out of the package.")
                if not member.isfile() or name.suffix != ".json" or name.name.startswith("."):
                    continue
                if name.parts[:-1] == ("package",):
                    content = archive.extractfile(member)
                    yield name.name, content.read() if content is not None else b""
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise _refused(f"{path.name} is no readable .tgz archive.") from error


def _parsed(name: str, body: bytes) -> Json:
    try:
        content = parse_json(body)
    except BadRequest as error:
        raise _refused(f"{name}: {error.issues[0].text}") from error
    if not isinstance(content, dict):
        raise _refused(f"{name} is no JSON object.")
    return content


def _unpacked(content: Json) -> Iterator[Json]:
    """The resource, or those in a Bundle of them."""
    if content.get("resourceType") != "Bundle":
        yield content
        return
    for entry in content.get("entry", ()):
        if isinstance(entry, dict) and isinstance(entry.get("resource"), dict):
            yield entry["resource"]


def _kept(resource: Json) -> Json | None:
    type_ = resource.get("resourceType")
    if type_ not in CONFORMANCE or not isinstance(
        resource.get("url", "" if type_ == "NamingSystem" else None), str
    ):
        return None
    if type_ == "StructureDefinition":
        if resource.get("derivation") != "constraint":
            return None
        return {"resourceType": type_} | distilled(resource)
    return {name: value for name, value in resource.items() if name != "text"}


def _version(resources: list[Json]) -> str:
    return next((r["version"] for r in resources if isinstance(r.get("version"), str)), "0")


def _refused(text: str) -> BadRequest:
    return BadRequest(text, code="package-unreadable")


def _too_large(text: str) -> TooLarge:
    return TooLarge(text, code="package-too-large")
