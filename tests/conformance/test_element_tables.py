"""The tables in the repository are what the distilling steps make of the package, and stay small."""

from __future__ import annotations

from pathlib import Path

from fhirserver.r4.distil import elements, valuesets
from fhirserver.r4.elements import TABLE
from tests.kit.package import package_dir


def test_the_tables_are_those_of_the_package(tmp_path: Path) -> None:
    elements.distil(package_dir(), tmp_path)
    valuesets.distil(package_dir(), tmp_path)
    for name in ("elements.json", "valuesets.json"):
        assert (tmp_path / name).read_bytes() == TABLE.with_name(name).read_bytes()


def test_the_tables_are_small_and_hold_no_narrative() -> None:
    tables = [TABLE, TABLE.with_name("valuesets.json")]
    assert sum(table.stat().st_size for table in tables) < 1_500_000
    assert all(b"<div" not in table.read_bytes() for table in tables)
