"""One real server for the API tests of a pytest worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.client import Fhir
from tests.kit.server import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("api") / "data", cors_origins='["https://app.example"]') as running:
        yield running


@pytest.fixture(scope="session")
def fhir(server: Server) -> Iterator[Fhir]:
    with Fhir(server.fhir) as client:
        yield client
