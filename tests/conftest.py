"""What the tests of several folders share."""

from tests.kit.mongo import database_name, mongodb_uri
from tests.kit.shared import anyio_backend, application, fhir, server

__all__ = ["anyio_backend", "application", "database_name", "fhir", "mongodb_uri", "server"]
