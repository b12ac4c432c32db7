"""The commands in docs/how-to/terminology.md are ones that work."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from fhirserver.cli.arguments import build_parser
from fhirserver.terminology.importers import FORMATS
from tests.kit.client import Fhir
from tests.kit.terminology import codes

PAGE = (Path(__file__).resolve().parents[3] / "docs/how-to/terminology.md").read_text(encoding="utf-8")
LINES = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
]


def test_every_address_answers(fhir: Fhir) -> None:
    asked = [
        shlex.split(line)[1].removeprefix("http://127.0.0.1:8000/fhir") for line in LINES if "curl" in line
    ]
    assert len(asked) == 5
    for url in asked:
        response = fhir.get(url)
        assert response.status_code == 200, (url, response.text)
    assert "3550308" in codes(fhir.get(asked[1]))


def test_every_command_is_one() -> None:
    commands = [shlex.split(line)[1:] for line in LINES if line.startswith("fhirserver")]
    formats = {build_parser().parse_args(command).__dict__.get("format") for command in commands}
    assert formats - {None} == set(FORMATS)
