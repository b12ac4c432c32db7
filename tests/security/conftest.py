"""The server of the API tests serves these, too; some build an application in this process."""

import pytest

from tests.api.conftest import fhir, server
from tests.kit.mongo import database_name, mongodb_uri

__all__ = ["database_name", "fhir", "mongodb_uri", "server"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
