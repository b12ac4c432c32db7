"""The generated pages are what the program says of itself now. `make docs` writes them again."""

from pathlib import Path

import pytest

from fhirserver.cli.reference import PAGES
from fhirserver.settings import Limits, OAuth, Settings

DOCS = Path(__file__).resolve().parents[3] / "docs" / "reference"


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_current(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name]()


def test_every_setting_is_explained() -> None:
    fields = Settings.model_fields | Limits.model_fields | OAuth.model_fields
    tables = {"limits", "oauth"}
    assert [name for name, field in fields.items() if not field.description and name not in tables] == []
