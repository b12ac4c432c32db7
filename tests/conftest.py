"""What the tests of several folders share; generated cases take as long as the machine needs."""

import hypothesis

from tests.kit.mongo import database_name, mongodb_uri
from tests.kit.shared import anyio_backend, application, fhir, server

__all__ = ["anyio_backend", "application", "database_name", "fhir", "mongodb_uri", "server"]

hypothesis.settings.register_profile("machine", deadline=None)
hypothesis.settings.load_profile("machine")
