"""Passwords: argon2id, and which ones are refused. Sources: OWASP ASVS 5.0 6.2 and appendix C, NIST SP 800-63B 5.1.1.2."""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Iterable

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from fhirserver.access.oauth.common import cores, folded, frequent, is_made_of_words, letters

SHORTEST, LONGEST = 12, 256
_HASHER = PasswordHasher(time_cost=2, memory_cost=32 * 1024, parallelism=1)  # memory in KiB
# Of the form and the cost of every other hash, and what no password is known to give.
_DUMMY = "$argon2id$v=19$m={0.memory_cost},t={0.time_cost},p={0.parallelism}${1}${2}".format(
    _HASHER, "A" * 22, "A" * 43
)
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "1234567890", "abcdefghijklmnopqrstuvwxyz")
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


class PasswordRefused(Exception):
    """The password breaks the policy; `rule` names which.

    short, long, common, own-data, classes, used (one of the last three), same (the present one).
    """

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule

    @property
    def word(self) -> str:
        """What the pages call it."""
        return f"refused_{self.rule.replace('-', '_')}"


def normal(password: str) -> str:
    """The same password, whatever keyboard composed its accents (NFC); nothing is cut or trimmed."""
    return unicodedata.normalize("NFC", password)


def hashed(password: str) -> str:
    """The argon2id hash to keep."""
    return _HASHER.hash(normal(password))


def is_right(kept: str | None, password: str) -> bool:
    """True for the password of the hash `kept`; as much work where there is none (an unknown account)."""
    try:
        _HASHER.verify(kept or _DUMMY, normal(password))
    except (VerificationError, InvalidHashError):
        return False
    return kept is not None


def is_outdated(kept: str) -> bool:
    """True for a hash with other parameters than today's; it is made again at the next sign-in."""
    return _HASHER.check_needs_rehash(kept)


def check(password: str, *, policy: str, personal: Iterable[str] = (), old: Iterable[str] = ()) -> None:
    """Refuse what the policy does not allow.

    `policy`: default, or br (also four character classes, and none of the last three). `personal`: names and the like
    that it must not consist of. `old`: hashes of former passwords. Raises PasswordRefused.
    """
    text = normal(password)
    if len(text) < SHORTEST:
        raise PasswordRefused("short")
    if len(text) > LONGEST:
        raise PasswordRefused("long")
    if _is_common(text):
        raise PasswordRefused("common")
    plain = letters(text)
    for word in personal:
        for part in re.split(r"[\W_]+", folded(word)):
            if len(part) >= 3 and plain in (part, part * 2):
                raise PasswordRefused("own-data")
    if policy == "br":
        _check_br(text, old)


def _check_br(text: str, old: Iterable[str]) -> None:
    classes = (str.islower, str.isupper, str.isdigit, lambda c: not c.isalnum())
    if not all(any(is_one(c) for c in text) for is_one in classes):
        raise PasswordRefused("classes")
    if any(is_right(kept, text) for kept in old):
        raise PasswordRefused("used")


def _is_common(text: str) -> bool:
    """A password or word that everyone tries, dressed up with digits, signs and look-alikes; a run of keys; few characters."""
    plain = folded(text)
    if plain in frequent() or len(set(plain)) < 5 or _is_run(re.sub(r"[\W_]+", "", plain)):
        return True
    return any(len(core) < 4 or _is_run(core) or is_made_of_words(core) for core in cores(text))


def _is_run(text: str) -> bool:
    """True where the text is made of runs of at least four neighbours on a keyboard row, the alphabet or the digits."""
    rows = [row * 2 for row in _ROWS] + [row[::-1] * 2 for row in _ROWS]
    at = 0
    while at < len(text):
        longest = next(
            (n for n in range(len(text) - at, 3, -1) if any(text[at : at + n] in r for r in rows)), 0
        )
        if not longest:
            return False
        at += longest
    return bool(text)


def generated() -> str:
    """A random password to hand out: five groups of four, 99 bits, without characters that look alike."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(5))
