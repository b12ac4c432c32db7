"""Accounts as an administrator handles them: add, change, reset. Every change takes effect at the next request."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

from fhirserver.access.oauth import passwords
from fhirserver.access.oauth.changing import change_password
from fhirserver.access.oauth.signin import ENROL_WITHIN, needs_factor
from fhirserver.store.oauth_users import UserRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fhirserver.access.oauth.parts import Parts, Visit
    from fhirserver.access.roles import Roles

_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{1,63}")
_OWN = re.compile(r"(Patient|Practitioner|PractitionerRole|RelatedPerson|Person)/[A-Za-z0-9\-.]{1,64}")
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")


class AccountRefused(Exception):
    """The account cannot be like that; the text says why, for the administrator."""


class Accounts:
    """Adds and changes accounts. `visit`: for the audit trail."""

    def __init__(self, parts: Parts, visit: Visit) -> None:
        self._parts = parts
        self._users = parts.store.users
        self._visit = visit

    def add(
        self,
        name: str,
        password: str,
        *,
        roles: Sequence[str],
        fhir_user: str | None = None,
        acts_for: Sequence[str] = (),
        display: str = "",
        lasting: bool = False,
    ) -> UserRecord:
        """A new account. `lasting`: the user may keep the password. Raises AccountRefused, PasswordRefused, UserExists."""
        name = name.casefold()
        if not _NAME.fullmatch(name) or re.fullmatch(r"[\d.-]{11,14}", name):
            raise AccountRefused(
                "a user name has 2 to 64 letters, digits, dots, dashes, underscores or @, and is no CPF"
            )
        check_roles(self._parts.roles, roles, fhir_user, acts_for)
        passwords.check(password, policy=self._parts.settings.password_policy, personal=(name, display))
        now = self._parts.clock()
        record = UserRecord(
            uuid.uuid4().hex,
            name,
            passwords.hashed(password),
            now,
            display=display or name,
            roles=tuple(sorted(set(roles))),
            fhir_user=fhir_user,
            acts_for=tuple(acts_for),
            enrol_until=now + ENROL_WITHIN if needs_factor(roles, None) else None,
            must_change=not lasting,
        )
        self._users.add(record)
        self._note(record)
        return record

    def password(self, user: UserRecord, password: str) -> None:
        """A password for the next sign-in, which asks for an own one; what sessions carry ends. Raises PasswordRefused."""
        change_password(self._parts, self._visit, user, password, must_change=True)

    def disable(self, user: UserRecord, disabled: bool) -> None:
        """Lock out, or let in again. Raises AccountRefused for the last administrator."""
        if disabled and self._is_last_admin(user):
            raise AccountRefused("this is the last administrator; make another one first")
        self._users.change(user.id, disabled=disabled)
        self._parts.store.sessions.end_all(user.id)
        self._note(user)

    def roles(
        self,
        user: UserRecord,
        roles: Sequence[str],
        *,
        fhir_user: str | None,
        acts_for: Sequence[str],
    ) -> None:
        """Other roles, own resource and patients acted for. Raises AccountRefused."""
        check_roles(self._parts.roles, roles, fhir_user, acts_for)
        if "admin" not in roles and self._is_last_admin(user):
            raise AccountRefused("this is the last administrator; make another one first")
        enrol = user.enrol_until
        if needs_factor(roles, None) and user.totp is None:
            enrol = self._parts.clock() + ENROL_WITHIN
        self._users.change(
            user.id,
            roles=sorted(set(roles)),
            fhir_user=fhir_user,
            acts_for=list(acts_for),
            enrol_until=enrol,
        )
        self._parts.store.sessions.end_all(user.id)
        self._note(user)

    def reset_totp(self, user: UserRecord) -> None:
        """Forget the second factor; a new one may be set up at the next sign-in, within a week."""
        until = self._parts.clock() + ENROL_WITHIN
        self._users.change(user.id, totp=None, totp_step=0, enrol_until=until)
        self._parts.store.sessions.end_all(user.id)
        self._note(user)

    def _is_last_admin(self, user: UserRecord) -> bool:
        others = (one for one in self._users.all() if one.id != user.id)
        return "admin" in user.roles and not any("admin" in o.roles and not o.disabled for o in others)

    def _note(self, user: UserRecord) -> None:
        self._visit.note("user-changed", user=user.id, name=user.name)


def check_roles(known: Roles, roles: Sequence[str], fhir_user: str | None, acts_for: Sequence[str]) -> None:
    """Raises AccountRefused for roles, own resource and patients that do not go together."""
    if not roles:
        raise AccountRefused("a user needs at least one role")
    if unknown := [role for role in roles if not known.known([role])]:
        raise AccountRefused(f"unknown role: {', '.join(unknown)} (see docs/how-to/users.md)")
    if fhir_user is not None and not _OWN.fullmatch(fhir_user):
        raise AccountRefused(
            "the own resource is Patient/id, Practitioner/id, PractitionerRole/id, RelatedPerson/id or Person/id"
        )
    if any(not _ID.fullmatch(id) for id in acts_for):
        raise AccountRefused("patients acted for are ids, without Patient/ in front")
    if "patient" in roles and fhir_user is None:
        raise AccountRefused("a patient needs the own resource: --fhir-user Patient/ID or RelatedPerson/ID")
    if "patient" in roles and len(set(roles)) > 1:
        raise AccountRefused("the role patient stands alone; staff who are patients too get a second account")
