"""The generated pages are what the program says of itself now. `make docs` writes them again."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from fhirserver.cli.reference import PAGES
from fhirserver.settings import Settings

DOCS = Path(__file__).resolve().parents[3] / "docs" / "reference"


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_current(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name]()


def test_every_setting_is_explained() -> None:
    assert [name for name, description in described(Settings) if not description] == []


def described(model: type[BaseModel]) -> list[tuple[str, str | None]]:
    """Each setting and its description, in nested groups too."""
    found: list[tuple[str, str | None]] = []
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            found += described(type(field.default))
        else:
            found.append((name, field.description))
    return found
