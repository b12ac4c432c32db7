"""Fixtures that the tests of several folders share: one real server for each pytest worker, open to whoever asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from fhirserver.app import Application, build
from fhirserver.settings import Settings
from tests.kit.client import Fhir
from tests.kit.server import Server
from tests.kit.teardown import ended


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("api") / "data", cors_origins='["https://app.example"]') as running:
        yield running


@pytest.fixture(scope="session")
def fhir(server: Server) -> Iterator[Fhir]:
    with Fhir(server.fhir) as client:
        yield client


@pytest.fixture
async def application(mongodb_uri: str, database_name: str, tmp_path: Path) -> AsyncIterator[Application]:
    """The application in this process, for what a request over HTTP cannot show: faults, spans."""
    settings = Settings(
        mongodb_uri=SecretStr(mongodb_uri), database=database_name, data_dir=tmp_path, open_mode=True
    )
    built = await build(settings)
    yield built
    await ended(built.close())


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
