"""Signing in: password, second factor, session; an own password where somebody else set it. Pages ask, this decides.

A session's cookie changes at each step (password, second factor), so that one planted before is worth nothing. Sources:
OWASP ASVS 5.0 chapters 6 and 7; RFC 6238.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pyotp

from fhirserver.access.oauth import passwords
from fhirserver.access.oauth.lockout import Lockout
from fhirserver.access.oauth.parts import digest, fresh_secret
from fhirserver.store.oauth_users import SessionRecord

if TYPE_CHECKING:
    from fhirserver.access.oauth.parts import Parts, Visit
    from fhirserver.store.oauth_users import UserRecord

FACTOR_ROLES = frozenset(("practitioner", "manager", "auditor", "custodian", "admin"))
ENROL_WITHIN = timedelta(days=7)
MOST_CODES = 5
STEP = 30
_PENDING = timedelta(minutes=10)
_PROVEN = ("renew", "full")
_LONGEST_NAME = 128


class SignInRefused(Exception):
    """`reason`: wrong (name, password or code, whichever), again (the sign-in must begin anew), enrolment-over."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who a browser belongs to. `session.stage`: full where nothing is missing."""

    user: UserRecord
    session: SessionRecord


def needs_factor(roles: Collection[str], seed: str | None) -> bool:
    """True where a second factor is mandatory, or was set up."""
    return seed is not None or bool(FACTOR_ROLES.intersection(roles))


def _complete(user: UserRecord) -> str:
    """The stage of a user who has proven everything."""
    return "renew" if user.must_change else "full"


def matching_step(seed: str, code: str, now: datetime) -> int | None:
    """The 30 s step (one back to one ahead) whose code this is."""
    present = int(now.timestamp()) // STEP
    totp = pyotp.TOTP(seed)
    matches = [
        step
        for step in (present - 1, present, present + 1)
        if hmac.compare_digest(totp.generate_otp(step).encode(), code.encode("utf-8", "replace"))
    ]
    return matches[0] if matches else None


class SignIn:
    """The steps of signing in and out."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._store = parts.store
        self._lockout = Lockout(parts)

    def password(self, visit: Visit, name: str, password: str) -> tuple[str, SignedIn]:
        """The first step. Returns the new cookie and who it is. Raises SignInRefused, SlowDown."""
        name = name.strip()[:_LONGEST_NAME]
        self._lockout.begin(name, visit.address)
        user = self._store.users.named(name)
        usable = user is not None and not user.disabled
        right = passwords.is_right(user.password if user and usable else None, password)
        if user is None or not right:
            known = {"user": user.id, "name": user.name} if user else {}
            visit.note("login-failed", error="wrong", **known)
            raise SignInRefused("wrong")
        if passwords.is_outdated(user.password):
            self._store.users.change(user.id, password=passwords.hashed(password))
        stage = _complete(user)
        if needs_factor(user.roles, user.totp):
            stage = "factor" if user.totp else "enrol"
        now = self._parts.clock()
        if stage == "enrol" and (user.enrol_until is None or user.enrol_until < now):
            visit.note("login-failed", error="enrolment-over", user=user.id, name=user.name)
            raise SignInRefused("enrolment-over")
        self._lockout.right(name, visit.address, wholly=stage in _PROVEN)
        return self.begin(visit, user, stage, now)

    def code(self, visit: Visit, cookie: str, code: str) -> tuple[str, SignedIn]:
        """The second step: a code of the app. Returns the new cookie. Raises SignInRefused, SlowDown."""
        found = self.signed_in(cookie, stages=("factor", "enrol"))
        if found is None:
            raise SignInRefused("again")
        user, session = found.user, found.session
        seed = user.totp if session.stage == "factor" else session.pending
        if seed is None:
            raise SignInRefused("again")
        self._lockout.begin(user.name, visit.address)
        if self._store.sessions.count_try(session.digest) > MOST_CODES:
            self._store.sessions.end(session.digest)
            visit.note("login-failed", error="too-many-codes", user=user.id, name=user.name)
            raise SignInRefused("again")
        step = matching_step(seed, code.replace(" ", ""), self._parts.clock())
        if session.stage == "enrol" and step is not None:
            self._store.users.change(user.id, totp=seed, totp_step=0, enrol_until=None)
            user = replace(user, totp=seed)
            visit.note("user-changed", user=user.id, name=user.name, error=None)
        if step is None or not self._store.users.use_code(user.id, step):
            visit.note("login-failed", error="wrong-code", user=user.id, name=user.name)
            raise SignInRefused("wrong")
        self._lockout.right(user.name, visit.address, wholly=True)
        self._store.sessions.end(session.digest)
        return self.begin(visit, user, _complete(user), session.auth_time)

    def seed(self, found: SignedIn) -> tuple[str, str]:
        """The seed that is being set up, base32, and its otpauth: address for a QR code. The same until the session ends."""
        seed = found.session.pending
        if seed is None:
            raise SignInRefused("again")
        label = pyotp.TOTP(seed).provisioning_uri(name=found.user.name, issuer_name="fhirserver")
        return seed, label

    def signed_in(self, cookie: str | None, *, stages: Collection[str] = ("full",)) -> SignedIn | None:
        """Who this cookie belongs to, if at one of these stages; a use moves the idle end."""
        if not cookie:
            return None
        now = self._parts.clock()
        session = self._store.sessions.get(digest(cookie), now)
        if session is None or session.stage not in stages:
            return None
        if session.stage == "full":
            idle = now + timedelta(minutes=self._parts.settings.session_idle_minutes)
            session = self._store.sessions.get(session.digest, now, idle)
        user = self._store.users.get(session.user) if session else None
        if session is None or user is None or user.disabled:
            return None
        return SignedIn(user, session)

    def out(self, visit: Visit, cookie: str | None) -> None:
        """Sign out."""
        found = self.signed_in(cookie)
        if found is not None:
            self._store.sessions.end(found.session.digest)
            visit.note("logout", user=found.user.id, name=found.user.name)

    def renewed(self, found: SignedIn) -> str:
        """Another cookie for the same sign-in, which goes on as it was."""
        cookie = fresh_secret()
        self._store.sessions.add(replace(found.session, digest=digest(cookie)))
        return cookie

    def begin(self, visit: Visit, user: UserRecord, stage: str, auth_time: datetime) -> tuple[str, SignedIn]:
        """A session at `stage`: its cookie, and who it is. Only where the stage is full the user has signed in."""
        settings = self._parts.settings
        now = self._parts.clock()
        cookie = fresh_secret()
        full = stage == "full"
        record = SessionRecord(
            digest(cookie),
            user.id,
            stage,
            auth_time,
            idle=now + (timedelta(minutes=settings.session_idle_minutes) if full else _PENDING),
            end=auth_time + timedelta(hours=settings.session_hours) if full else now + _PENDING,
            pending=pyotp.random_base32() if stage == "enrol" else None,
            before=user.signed_in,
        )
        if full:
            self._store.users.change(user.id, signed_in=now)
            visit.note("login", user=user.id, name=user.name)
        self._store.sessions.add(record)
        return cookie, SignedIn(user, record)
