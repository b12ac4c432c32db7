"""The R4 definitions and examples that tests and distillation read: npm's hl7.fhir.r4.examples@4.0.1 (CC0).

`package_dir()` returns the folder with its JSON files: FHIR_R4_PACKAGE where set, else a copy under `.cache/`
of the checkout, fetched once with `npm pack` and checked against the digest below.
`python -m tests.kit.package` prints the folder.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

NAME = "hl7.fhir.r4.examples"
VERSION = "4.0.1"
SHA512 = "DXBdIZOeQaSKIgCU7w6HOC7sw/6BzylmipLkBW4f//pT+Bc94x+8LImwTdvaNThPJoOzpBzvxAzNqjeu3X/zLw=="
FILES = 5307
CACHE = Path(__file__).resolve().parents[2] / ".cache"
_SECONDS = 300


class PackageMissing(Exception):
    """The package is neither given nor cached, and cannot be fetched here."""


class PackageDamaged(Exception):
    """What npm delivered is not the package of the pinned digest."""


def package_dir() -> Path:
    """The folder that holds the package's JSON files.

    Skips the calling test (or module) with the reason where the package cannot be had; with CI or
    FHIRSERVER_CI set that is a failure instead, so that CI never passes by skipping.
    """
    try:
        return find_package()
    except PackageMissing as missing:
        if os.environ.get("CI") or os.environ.get("FHIRSERVER_CI"):
            raise
        import pytest

        pytest.skip(str(missing), allow_module_level=True)


def find_package(cache: Path = CACHE) -> Path:
    """Like `package_dir`, without pytest: raises PackageMissing or PackageDamaged."""
    given = os.environ.get("FHIR_R4_PACKAGE")
    if given:
        folder = Path(given)
        if not (folder / "package.json").is_file():
            raise PackageMissing(f"FHIR_R4_PACKAGE={given} holds no package.json")
        return folder
    home = cache / f"{NAME}-{VERSION}"
    if not home.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / "package.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # pytest-xdist workers come here at the same time
            if not home.is_dir():
                _fetch(cache, home)
    return home / "package"


def _fetch(cache: Path, home: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise PackageMissing(f"{NAME}@{VERSION} is needed: install npm, or set FHIR_R4_PACKAGE to its folder")
    work = Path(tempfile.mkdtemp(prefix="package-", dir=cache))
    try:
        command = [npm, "pack", f"{NAME}@{VERSION}", "--silent", "--ignore-scripts"]
        done = subprocess.run(
            command,
            cwd=work,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        archives = list(work.glob("*.tgz"))
        if done.returncode or not archives:
            raise PackageMissing(
                f"npm pack {NAME}@{VERSION} failed ({done.returncode}): {done.stderr[-500:]}"
            )
        unpack(archives[0], work / "unpacked", SHA512)
        (work / "unpacked").rename(home)  # complete or not there
    finally:
        shutil.rmtree(work, ignore_errors=True)


def unpack(archive: Path, folder: Path, sha512: str) -> None:
    """Unpacks `archive` (.tgz) into `folder`; raises PackageDamaged if its digest is not `sha512`."""
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != sha512:
        raise PackageDamaged(f"{archive.name}: sha-512 is {digest}, pinned is {sha512}")
    with tarfile.open(archive, "r:gz") as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extractall(folder, filter="data")
        else:  # Python before 3.11.4: the digest above has fixed the content
            tar.extractall(folder)  # noqa: S202


if __name__ == "__main__":
    try:
        print(find_package())
    except (PackageMissing, PackageDamaged) as problem:
        sys.exit(str(problem))
