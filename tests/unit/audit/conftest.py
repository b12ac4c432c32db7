from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fhirserver.store import connect
from tests.kit.ledger import LedgerKit
from tests.kit.mongo import database_name, mongodb_uri

__all__ = ["database_name", "mongodb_uri"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def kit(
    mongodb_uri: str, database_name: str, tmp_path: Path, anyio_backend: str
) -> AsyncIterator[LedgerKit]:
    client = connect(mongodb_uri)
    try:
        kit = LedgerKit(client[database_name], tmp_path)
        await kit.ledger.prepare()
        yield kit
    finally:
        await client.close()
