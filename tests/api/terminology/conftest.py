"""The animals of tests/kit/terminology.py, stored once for the tests of this folder."""

from __future__ import annotations

import pytest

from tests.kit.client import Fhir
from tests.kit.terminology import a_code_system, an_url


@pytest.fixture(scope="session")
def animals(fhir: Fhir) -> str:
    """The url of a stored code system."""
    url = an_url("animals")
    fhir.made(a_code_system(url))
    return url
