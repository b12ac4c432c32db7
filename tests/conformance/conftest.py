"""The server of the API tests serves these, too."""

from tests.api.conftest import fhir, server

__all__ = ["fhir", "server"]
