"""What the README and the tutorial show is what happens: their commands are run, their output is compared.

Ids, times, totals and places are a run's own and are compared by shape.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.kit.server import Server

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/tutorials/first-steps.md")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OWN = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{21}|\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)|127\.0\.0\.1:\d+|(?<=\"total\": )\d+"
)


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the demo clinic."""
    server = Server(tmp_path_factory.mktemp("docs") / "data")
    with server:
        fill = [sys.executable, "-c", FILL, server.fhir, str(server.data_dir)]
        subprocess.run(fill, check=True, timeout=120, stdout=subprocess.DEVNULL)
        yield server


FILL = """
import sys
from pathlib import Path
from fhirserver.cli.client import FhirClient
from fhirserver.cli.fill import fill
fill(FhirClient(sys.argv[1]), Path(sys.argv[2]))
"""


def shown(page: str) -> tuple[str, list[str]]:
    """The script of a page's sh blocks, and the output that the page shows, in order."""
    script, outputs = "set -e\n", []
    for kind, text in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")):
        if kind == "sh" and not text.startswith("make "):
            script += f"echo; echo @@@\n{text}"
        elif kind in ("json", "text"):
            outputs.append(text)
    return script, outputs


def shape(text: str) -> Any:
    """The output with what is a run's own masked; JSON without regard to spaces."""
    masked = OWN.sub("*", text.strip())
    try:
        return json.loads(masked.replace('"total": *', '"total": 0'))
    except ValueError:
        return [line.strip() for line in masked.splitlines()]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_what_happens(clinic: Server, page: str, tmp_path: Path) -> None:
    script, expected = shown(page)
    assert len(expected) >= 4
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    command = tmp_path / ".venv" / "bin" / "fhirserver"
    command.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m fhirserver \"$@\"\n")
    command.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FHIRSERVER_")}
    environment |= {"FHIRSERVER_PORT": str(clinic.port), "FHIRSERVER_DATA_DIR": str(clinic.data_dir)}
    done = subprocess.run(
        ["bash", "-c", script.replace("http://127.0.0.1:8000", clinic.root)],
        cwd=tmp_path, env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outputs = [text for text in done.stdout.split("\n@@@\n") if text.strip()]
    assert [shape(text) for text in outputs] == [shape(text) for text in expected]


RECIPE = re.compile(r"^\|[^|]*\| `([A-Z][^`]*)` \|$", re.MULTILINE)


def test_every_recipe_of_search_is_answered(clinic: Server) -> None:
    page = (ROOT / "docs" / "how-to" / "search.md").read_text(encoding="utf-8").replace("\\|", "\x00")
    recipes = [text.replace("\x00", "|") for text in RECIPE.findall(page)]
    assert len(recipes) > 20
    found = 0
    for recipe in recipes:
        response = httpx.get(f"{clinic.fhir}/{recipe}", timeout=30)
        assert response.status_code == 200, (recipe, response.text)
        found += "entry" in response.json()
    assert found > len(recipes) // 2


def test_links_between_pages_lead_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert len(pages) > 20
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} -> {target}"


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for folder in ("tutorials", "how-to", "reference", "explanation"):
        for page in (ROOT / "docs" / folder).glob("*.md"):
            assert f"]({folder}/{page.name})" in index, page.name


def test_another_output_would_be_noticed() -> None:
    _, outputs = shown("README.md")
    assert shape(outputs[0]) == shape(outputs[0].replace("2026-", "2027-").replace("  ", " "))
    assert shape(outputs[0]) != shape(outputs[0].replace("Gonçalves", "Souza"))
    assert shape('{"total": 3, "id": "a"}') == shape('{"total": 4, "id": "a"}')
    assert shape('{"total": 3, "id": "a"}') != shape('{"id": "a"}')
