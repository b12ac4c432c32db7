"""Guessing is slowed down: by account and address, and by address. Nobody elsewhere can lock an account for its owner.

An attempt is counted before it is checked, so that parallel ones cannot slip through, and taken back when it was right.
Source: OWASP ASVS 5.0 6.1.1 and 6.3.1; docs/decisions/0033.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

from fhirserver.access.oauth.parts import digest

if TYPE_CHECKING:
    from fhirserver.access.oauth.parts import Parts

WINDOW = timedelta(minutes=15)
FREE_TRIES = 5
TRIES_OF_ADDRESS = 20
_FIRST_DELAY = 30.0


class SlowDown(Exception):
    """Too many tries; `seconds` until the next one is looked at."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = max(1, math.ceil(seconds))


def delay(failures: int) -> timedelta:
    """How long after the last of so many failures the next try must wait."""
    if failures < FREE_TRIES:
        return timedelta(0)
    return min(WINDOW, timedelta(seconds=_FIRST_DELAY * 2 ** min(failures - FREE_TRIES, 10)))


class Lockout:
    """The counters of sign-in tries."""

    def __init__(self, parts: Parts) -> None:
        self._rows = parts.store.attempts
        self._clock = parts.clock

    def begin(self, account: str, address: str) -> None:
        """A try is about to be checked. Raises SlowDown."""
        now = self._clock()
        known = self._rows.get(_pair(account, address), now)
        if known is not None and (wait := known.last + delay(known.count) - now) > timedelta(0):
            raise SlowDown(wait.total_seconds())
        whole = self._rows.get(_address(address), now)
        if whole is not None and whole.count >= TRIES_OF_ADDRESS:
            raise SlowDown((whole.end - now).total_seconds())
        before = known.count if known is not None else 0
        count = self._rows.count(_pair(account, address), now, now + WINDOW)
        self._rows.count(_address(address), now, now + WINDOW, slides=False)
        if count > before + 1 and count > FREE_TRIES:
            raise SlowDown(delay(count).total_seconds())

    def right(self, account: str, address: str, *, wholly: bool) -> None:
        """The try was right. `wholly`: nothing is missing, so that earlier failures are forgiven too."""
        if wholly:
            self._rows.forget(_pair(account, address))
        else:
            self._rows.undo(_pair(account, address))
        self._rows.undo(_address(address))


def _pair(account: str, address: str) -> str:
    return f"account|{digest(account.casefold())}|{address}"


def _address(address: str) -> str:
    return f"address|{address}"
