"""Access tokens that the operator of the machine makes, for scripts and development: no client stands behind them."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

from fhirserver.access.oauth.parts import digest, fresh_secret
from fhirserver.access.scopes import parse
from fhirserver.store.oauth_grants import GrantRecord

if TYPE_CHECKING:
    from fhirserver.access.oauth.parts import Parts, Visit


class CannotMint(Exception):
    """There can be no such token; the text says why."""


def mint(
    parts: Parts, visit: Visit, *, scope: str, ttl: int, user: str | None = None, patient: str | None = None
) -> str:
    """A new token for `scope`, valid for `ttl` seconds.

    `user`: name of the account it stands for; without one it is a backend service's. `patient`: id of the patient in
    context. Raises CannotMint.
    """
    scopes = parse(scope, parts.vocabulary)
    if scopes.dropped or not scopes:
        raise CannotMint("not every scope is understood; for instance system/*.rs or user/Observation.rs")
    levels = {one.level for one in scopes.resources}
    identity = {"openid", "fhirUser"}.intersection(scopes.others)
    if user is None and (levels - {"system"} or identity):
        raise CannotMint(
            "user/ and patient/ scopes are some user's: name one with --user, or ask for system/"
        )
    if user is not None and "system" in levels:
        raise CannotMint("system/ scopes are for backend services, not for a user")
    if "patient" in levels and patient is None:
        raise CannotMint("patient/ scopes are about one patient: name it with --patient")
    account = parts.store.users.named(user) if user is not None else None
    if user is not None and (account is None or account.disabled):
        raise CannotMint("there is no such user, or the account is disabled")
    now = parts.clock()
    token = fresh_secret()
    grant = GrantRecord(
        uuid.uuid4().hex,
        None,
        account.id if account else None,
        str(scopes),
        None,  # for this database's server, whatever address it has: the command line may not know it
        created=now,
        end=now + timedelta(seconds=ttl),
        context={"patient": patient} if patient is not None else {},
    )
    parts.store.grants.add(grant)
    parts.store.grants.put_access(digest(token), grant.id, grant.scope, now, grant.end)
    visit.note("token-issued", user=grant.user, grant=grant.id, scope=grant.scope, patient=patient)
    return token
