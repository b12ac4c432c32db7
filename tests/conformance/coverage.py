"""Which requirement is verified by which test: conformance/requirements.csv against the `verifies` marks of the tests.

`python -m tests.conformance.coverage docs/reference` (make docs) writes conformance.md.
"""

from __future__ import annotations

import ast
import csv
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
LEVELS = ("SHALL", "SHOULD", "MAY")
_PAGE = """\
# Conformance

What the specification asks of a server's REST interface and search, in our words, and the tests that hold it: every
requirement of `conformance/requirements.csv` is verified by a test that names it, or has a reason why not. Written by
`make docs`; a test keeps it up to date.

{verified} of {all} requirements are verified.

| requirement | level | what | verified by |
|---|---|---|---|
"""


class Requirement(NamedTuple):
    """One line of the table. `reason`: why no test verifies it."""

    id: str
    link: str
    level: str
    text: str
    reason: str


def requirements() -> list[Requirement]:
    """The table, in its order."""
    with (ROOT / "conformance" / "requirements.csv").open(encoding="utf-8", newline="") as file:
        return [Requirement(**row) for row in csv.DictReader(file)]


def marks(folder: Path = ROOT / "tests") -> dict[str, list[str]]:
    """Requirement -> `file::test` of the tests that carry its mark."""
    found: dict[str, list[str]] = defaultdict(list)
    for file in sorted(folder.rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                for id in _marked(node):
                    found[id].append(f"{file.relative_to(folder).as_posix()}::{node.name}")
    return found


def _marked(test: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    return [
        str(ast.literal_eval(argument))
        for mark in test.decorator_list
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.verifies"
        for argument in mark.args
    ]


def problems(table: list[Requirement], verified: Mapping[str, list[str]]) -> list[str]:
    """What is wrong between the table and the marks."""
    ids = [requirement.id for requirement in table]
    found = [f"{id} is marked in {verified[id][0]} and unknown" for id in verified if id not in ids]
    found += [f"{id} is there twice" for id in set(ids) if ids.count(id) > 1]
    for requirement in table:
        if requirement.level not in LEVELS:
            found.append(f"{requirement.id} has no level")
        if bool(requirement.reason) is (requirement.id in verified):
            found.append(f"{requirement.id} needs either a test or a reason")
    return found


def page() -> str:
    """docs/reference/conformance.md."""
    table, verified = requirements(), marks()
    rows = []
    for id, link, level, text, reason in table:
        tests = [test.partition("::")[0] for test in verified.get(id, ())]
        by = ", ".join(f"`{test}`" for test in dict.fromkeys(tests)) or f"not verified: {reason}"
        rows.append(f"| [{id}]({link}) | {level} | {text} | {by} |\n")
    count = sum(requirement.id in verified for requirement in table)
    return _PAGE.format(verified=count, all=len(table)) + "".join(rows)


if __name__ == "__main__":
    (Path(sys.argv[1]) / "conformance.md").write_text(page(), encoding="utf-8")
