"""Fixtures: one server for the tests of the authorization server of a pytest worker, with two patients in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kit.builders import a_patient
from tests.kit.oauth import Realm
from tests.kit.server import Server


@pytest.fixture(scope="session")
def auth_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {
        "open_mode": "false",
        "oauth__calls_per_minute": "1000000",
        "oauth__registration_token": "r" * 40,
        "trusted_proxies": '["127.0.0.0/8"]',
        "cors_origins": '["https://always.example"]',
    }
    with Server(tmp_path_factory.mktemp("auth") / "data", **settings) as running:
        yield running


@pytest.fixture(scope="session")
def realm(auth_server: Server) -> Iterator[Realm]:
    made = Realm(auth_server)
    yield made
    made.close()


@pytest.fixture(scope="session")
def patients(realm: Realm) -> tuple[str, str]:
    """Ids of Ana Souza and Bia Lima."""
    with realm.fhir() as fhir:
        one = fhir.made(a_patient(birthDate="1980-05-17"))
        other = fhir.made(a_patient(name=[{"family": "Lima", "given": ["Bia"]}]))
    return one["id"], other["id"]
