"""The generated pages are what the program says of itself now. `make docs` writes them again."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from fhirserver.cli.reference import PAGES
from fhirserver.cli.reference_errors import codes, unread
from fhirserver.engine.routes import ROUTES
from fhirserver.operations import OPERATIONS
from fhirserver.settings import Settings

DOCS = Path(__file__).resolve().parents[3] / "docs" / "reference"


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_current(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name]()


def test_every_setting_is_explained() -> None:
    assert list(unexplained(Settings)) == []


def unexplained(model: type[BaseModel]) -> Iterator[str]:
    """The settings without a description; a group is explained by its own."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from unexplained(field.annotation)
        elif not field.description:
            yield f"{model.__name__}.{name}"


GENERIC = {
    "engine/transaction:run_transaction",  # an error of an entry, told as one of the Bundle
    "r4/jsonpatch:apply_json_patch",
    "r4/narrowing:impossible", "r4/snapshot:lay",
    "validation/steps:check",  # invariant-<key> of a profile
    "validation/values:check", "validation/values:value_checks",
    "r4/jsontext:_bad_request", "r4/jsontext:parse_json", "r4/xmltext:_bad",
    "store/includes:_say",
    "validation/elements:_broken", "validation/validator:_invariant",  # invariant-<key>
    "validation/primitives:check", "validation/problems:issue", "validation/problems:structure",
    "validation/problems:unsafe", "validation/problems:wrong_value",
}  # fmt: skip
"""Functions that make an error of a code that they are given; their callers are read."""


WITHOUT_TEXT = {"code-not-in-value-set", "package-too-large", "package-unreadable", "value-set-invalid"}
"""Codes whose text is put together elsewhere than where the error is made."""


def test_every_error_code_of_the_source_is_on_the_page() -> None:
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    found = codes()
    assert len(found) > 190
    assert [code.code for code in found if f"| `{code.code}` |" not in page] == []
    assert [code for code in found if not code.text and code.code not in WITHOUT_TEXT] == []
    # a new place of this kind: name it in HELPERS of reference_errors.py, or here where it passes a code on
    assert set(unread()) <= GENERIC


def test_codes_are_kebab_case_and_have_the_status_of_their_class() -> None:
    by_code = {code.code: code for code in codes()}
    # the rules of a clinic have names of their own: CAD-01
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*|[A-Z]{3}-[0-9]{2}", code) for code in by_code)
    for code, status, issue in (
        ("resource-deleted", 410, "deleted"),
        ("unknown-element", 422, "structure"),
        ("json-duplicate-key", 400, "invalid"),
        ("multiple-matches", 412, "multiple-matches"),
        ("database-unavailable", 503, "transient"),
        ("narrative-forbidden-element", 422, "security"),
    ):
        assert (by_code[code].status, by_code[code].issue_code) == (status, issue), code


def test_every_route_and_operation_is_on_the_page() -> None:
    page = (DOCS / "rest.md").read_text(encoding="utf-8")
    for route in ROUTES:
        assert f"| {route.method} | `{route.path}` |" in page
    for name in OPERATIONS:
        assert f"| `${name}` |" in page
