"""A server with authorization on, filled with the small clinic; that of tests/conftest.py is open."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator

import pytest

from tests.kit.client import Fhir
from tests.kit.issuer import Issuer
from tests.kit.server import Server
from tests.kit.tokens import Callers
from tests.security import clinic, masked


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


@pytest.fixture(scope="session")
def callers(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callers]:
    """The clinic's server. Tests that change it change only what they made themselves."""
    settings = issuer.settings() | {"roles": json.dumps(masked.ROLES)}
    with Server(tmp_path_factory.mktemp("sec") / "data", **settings) as server:
        made = Callers(server, issuer)
        clinic.fill(made.client("system", "system/*.cruds"), dt.datetime.now(dt.UTC).date().isoformat())
        yield made
        made.close()


@pytest.fixture(scope="session")
def system(callers: Callers) -> Fhir:
    """A backend that may do everything but touch the audit trail."""
    return callers.client("system", "system/*.cruds system/AuditEvent.rs")


@pytest.fixture(scope="session")
def app(callers: Callers) -> Fhir:
    """An app that p1 has launched with all scopes that a patient can give."""
    return callers.client("ana", "patient/*.cruds", patient="p1")
