"""What the tests of several folders share; generated cases take as long as the machine needs."""

import hypothesis

from tests.kit.mongo import database_name, mongodb_uri
from tests.kit.realm import auth_server, patients, realm
from tests.kit.shared import anyio_backend, application, fhir, server

__all__ = [
    "anyio_backend", "application", "auth_server", "database_name", "fhir", "mongodb_uri", "patients", "realm", "server",
]  # fmt: skip

hypothesis.settings.register_profile("machine", deadline=None)
hypothesis.settings.load_profile("machine")
