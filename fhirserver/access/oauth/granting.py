"""What is granted: asked for AND the client's ceiling AND the user's role AND what the user ticked.

Of `patient/` scopes only what the patient level can reach at all (access/compartments.py): what was granted says so.

The levels are never mixed: `system/` belongs to backend services alone. Source: hl7.org/fhir/smart-app-launch/STU2.2/
scopes-and-launch-context.html; docs/reference/oauth.md.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from fhirserver.access.scopes import Scopes, narrow, parse, united

if TYPE_CHECKING:
    from fhirserver.access.oauth.parts import Parts
    from fhirserver.store.oauth import ClientRecord
    from fhirserver.store.oauth_users import UserRecord

USER_LEVELS = ("patient", "user")
OFFLINE, ONLINE = "offline_access", "online_access"
SERVICE_SCOPES = frozenset(("__launch.create", "__introspect"))
CONSTRAINTS = (
    "a constraint names search parameters of its type, without modifiers (:in, :below ...) and chains."
)
_FOR_USERS = frozenset(
    ("openid", "fhirUser", OFFLINE, ONLINE, "launch", "launch/patient", "launch/encounter")
)


def for_user(parts: Parts, asked: Scopes, client: ClientRecord, user: UserRecord | None) -> Scopes:
    """What of `asked` this client may get for this user (None: for anyone, before it is known who signs in)."""
    limit = parse(client.scope, parts.vocabulary)
    resources = narrow(asked.of_levels(USER_LEVELS).resources, limit.resources)
    if user is not None:
        resources = narrow(resources, parts.roles.ceiling(user.roles))
    cut = [parts.compartments.within_patient_level(scope) for scope in resources]
    resources = united(scope for scope in cut if scope is not None)
    others = [
        token for token in asked.others if token in limit and token.partition("?")[0] in _known(asked, client)
    ]
    if user is not None and user.fhir_user is None:
        others = [token for token in others if token not in ("fhirUser",)]
    return Scopes(resources, tuple(others))


def _known(asked: Scopes, client: ClientRecord) -> Collection[str]:
    """The other scopes that make sense; offline access wins over online access, and needs the grant type."""
    if "refresh_token" not in client.grant_types:
        return _FOR_USERS - {OFFLINE, ONLINE}
    return _FOR_USERS - {ONLINE} if OFFLINE in asked else _FOR_USERS


def for_service(parts: Parts, asked: Scopes, client: ClientRecord) -> Scopes:
    """What of `asked` a backend service gets."""
    limit = parse(client.scope, parts.vocabulary)
    resources = narrow(asked.of_levels(("system",)).resources, limit.resources)
    if client.system_policy is not None:
        resources = narrow(resources, parts.roles.service_ceiling(client.system_policy))
    return Scopes(resources, tuple(t for t in asked.others if t in SERVICE_SCOPES and t in limit))


def why_nothing(asked: Scopes) -> str:
    """For the app's developer, where nothing of `asked` can be granted."""
    text = "None of the scopes can be granted to this client."
    return f"{text} Some are not understood: {CONSTRAINTS}" if asked.dropped else text


def ticked(offered: Scopes, ticks: Collection[str]) -> Scopes | None:
    """What the user left ticked of what was offered; None where something else was sent."""
    tokens = {str(scope): scope for scope in offered.resources}
    if not set(ticks) <= tokens.keys() | set(offered.others):
        return None
    return Scopes(
        tuple(scope for token, scope in tokens.items() if token in ticks),
        tuple(token for token in offered.others if token in ticks),
    )


def needs_patient(scopes: Scopes) -> bool:
    """True where the grant is about one patient."""
    return "launch/patient" in scopes or any(scope.level == "patient" for scope in scopes.resources)
