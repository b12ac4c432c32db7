"""What the tests of several folders share."""

from tests.kit.realm import auth_server, patients, realm

__all__ = ["auth_server", "patients", "realm"]
