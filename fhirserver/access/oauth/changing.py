"""A new password: set by an administrator, chosen at the first sign-in, or changed by its owner.

Whoever sets it, all sessions of the user end, and with them every grant that lives by a session; what works without the
user (offline access) stands unless the user says otherwise. Sources: hl7.org/fhir/smart-app-launch/STU2.2 (online_access),
OWASP ASVS 5.0 6.2.2, 6.2.3, 6.4.1, 7.4.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhirserver.access.oauth import passwords
from fhirserver.access.oauth.granting import OFFLINE
from fhirserver.access.oauth.lockout import Lockout
from fhirserver.access.oauth.passwords import PasswordRefused
from fhirserver.access.oauth.signin import SignedIn, SignInRefused

if TYPE_CHECKING:
    from fhirserver.access.oauth.parts import Parts, Visit
    from fhirserver.access.oauth.signin import SignIn
    from fhirserver.store.oauth_users import UserRecord

_KEPT_OLD = 3


class OwnPassword:
    """What users do about their own password."""

    def __init__(self, parts: Parts, signin: SignIn) -> None:
        self._parts = parts
        self._signin = signin
        self._lockout = Lockout(parts)

    @property
    def is_strict(self) -> bool:
        """True where the policy asks for more than length and rarity."""
        policy = self._parts.settings.password_policy
        return policy == "br"

    def choose(self, visit: Visit, cookie: str, password: str) -> tuple[str, SignedIn]:
        """The last step of signing in with a password that somebody else set: the new cookie, and who it is.

        Raises SignInRefused, PasswordRefused.
        """
        found = self._signin.signed_in(cookie, stages=("renew",))
        if found is None:
            raise SignInRefused("again")
        self._set(visit, found.user, password, everywhere=False)
        return self._signin.begin(visit, found.user, "full", found.session.auth_time)

    def change(self, visit: Visit, found: SignedIn, current: str, password: str, *, everywhere: bool) -> str:
        """Another password, for who knows the present one: the new cookie of this browser.

        `everywhere`: apps with offline access lose it too. Raises SignInRefused (wrong), SlowDown, PasswordRefused.
        """
        user = found.user
        self._lockout.begin(user.name, visit.address)
        if not passwords.is_right(user.password, current):
            visit.note("login-failed", error="wrong", user=user.id, name=user.name)
            raise SignInRefused("wrong")
        self._lockout.right(user.name, visit.address, wholly=False)
        self._set(visit, user, password, everywhere=everywhere)
        return self._signin.renewed(found)

    def _set(self, visit: Visit, user: UserRecord, password: str, *, everywhere: bool) -> None:
        if passwords.is_right(user.password, password):
            raise PasswordRefused("same")
        change_password(self._parts, visit, user, password, must_change=False, everywhere=everywhere)


def change_password(
    parts: Parts,
    visit: Visit,
    user: UserRecord,
    password: str,
    *,
    must_change: bool,
    everywhere: bool = False,
) -> None:
    """Set the password of `user`, if the policy allows it, and end what hangs on the former one.

    `must_change`: the next sign-in asks for an own password. `everywhere`: grants with offline access end too. Raises
    PasswordRefused.
    """
    old = (user.password, *user.old_passwords)[:_KEPT_OLD]
    personal = (user.name, user.display)
    passwords.check(password, policy=parts.settings.password_policy, personal=personal, old=old)
    store = parts.store
    store.users.change(
        user.id, password=passwords.hashed(password), old_passwords=list(old), must_change=must_change
    )
    store.sessions.end_all(user.id)
    store.grants.revoke_of_user(user.id, parts.clock(), keep=None if everywhere else OFFLINE)
    detail = (("kind", "user-changed"), ("what", "password"))
    visit.note("user-changed", user=user.id, name=user.name, detail=detail)
