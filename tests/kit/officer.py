"""An auditor at the pages of the audit log."""

from __future__ import annotations

import re

from fhirserver.store.oauth_users import UserRecord
from tests.kit.oauth import Person, Realm

COOKIE = "fhirserver-console"


def an_officer(realm: Realm, user: UserRecord | None = None, language: str = "en") -> Person:
    """Somebody who has signed in to the pages; by default an auditor."""
    person = Person(realm.server.root, language)
    person.open("/console")
    person.sign_in(user or realm.user("auditor"))
    return person


def csrf_of(person: Person) -> str:
    """What the forms of the page carry."""
    assert person.page is not None
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', person.page.text)
    assert found is not None
    return found[1]
