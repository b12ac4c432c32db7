"""What a start pays for: the supervisor imports what it needs itself, and nothing that only a worker needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("argon2", "authlib", "cryptography", "fastapi", "fhirserver.app", "jinja2", "joserfc", "lxml")


def imported_by(module: str) -> set[str]:
    """The modules that are there after an import of `module` in a process of its own."""
    code = f"import sys, {module}\nprint(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(answer.stdout.split())


@pytest.mark.parametrize("module", ["fhirserver.cli.serve", "fhirserver.cli.worker"])
def test_what_only_the_application_needs_is_not_imported_before_it(module: str) -> None:
    assert imported_by(module).isdisjoint(HEAVY)


def test_the_application_imports_all_of_it() -> None:
    assert imported_by("fhirserver.app").issuperset(HEAVY)
