from __future__ import annotations

from collections.abc import Iterator

import pymongo
import pytest
from pymongo.collection import Collection

from fhirserver.store.client import socket_uri
from fhirserver.store.mongod_home import running_socket
from tests.kit.server import Server


@pytest.fixture(scope="session")
def stored(server: Server) -> Iterator[Collection[dict[str, object]]]:
    """The collection of events itself, as an operator with the database's key would see it."""
    socket = running_socket(server.data_dir)
    with pymongo.MongoClient[dict[str, object]](socket_uri(str(socket))) as client:
        yield client["fhir"]["audit_events"]
