"""Every requirement has a test or a reason, and every mark a requirement."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.coverage import ROOT, Requirement, marks, page, problems, requirements


def test_every_requirement_is_verified_or_has_a_reason() -> None:
    table = requirements()
    assert len(table) > 70
    assert problems(table, marks()) == []


def test_the_page_is_current() -> None:
    assert (ROOT / "docs" / "reference" / "conformance.md").read_text(encoding="utf-8") == page()


def test_what_is_wrong_would_be_noticed(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text('@pytest.mark.verifies("a-1", "b-1")\ndef test_one(): ...\n')
    found = marks(tmp_path)
    assert found == {"a-1": ["test_x.py::test_one"], "b-1": ["test_x.py::test_one"]}
    table = [Requirement("a-1", "", "SHALL", "x", ""), Requirement("c-1", "", "MUST", "x", "")]
    assert problems(table, found) == [
        "b-1 is marked in test_x.py::test_one and unknown",
        "c-1 has no level",
        "c-1 needs either a test or a reason",
    ]
