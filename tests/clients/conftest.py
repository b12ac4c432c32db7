"""People for the clients to sign in."""

from __future__ import annotations

import pytest

from fhirserver.store.oauth_users import UserRecord
from tests.kit.oauth import Person, Realm


@pytest.fixture(scope="session")
def ana(realm: Realm, patients: tuple[str, str]) -> UserRecord:
    """A patient who may choose herself only."""
    return realm.user("patient", fhir_user=f"Patient/{patients[0]}")


@pytest.fixture
def signing_in(ana: UserRecord, realm: Realm) -> object:
    """Opens an app's address as Ana would, signs in, agrees; the address that she is sent back to."""

    def go(url: str) -> str:
        person = Person(realm.server.root)
        person.open(url)
        person.sign_in(ana)
        location: str = person.approve().headers["location"]
        return location

    return go
