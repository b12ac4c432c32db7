"""Passwords that guessing programs try first, and the words that they are made of. Data: words/, see words/SOURCE.md."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "words"
_SHORTEST = 4
_LEET = str.maketrans("013457@$!|", "oieastasil")


def folded(text: str) -> str:
    """The text without case and accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def letters(text: str) -> str:
    """The letters of the text: look-alikes read as letters, digits and signs at the ends left off."""
    bare = re.sub(r"^[\W\d_]+|[\W\d_]+$", "", folded(text))
    return re.sub(r"[^a-z]", "", bare.translate(_LEET))


def cores(text: str) -> set[str]:
    """What may be the word in a password that was dressed up with digits, signs and look-alikes."""
    return {re.sub(r"[^a-z]", "", folded(text)), letters(text)}


@cache
def frequent() -> frozenset[str]:
    """The most frequent passwords, as they are."""
    return frozenset(_read("passwords.txt"))


@cache
def words() -> frozenset[str]:
    """What frequent passwords are made of, and the words of a clinic."""
    made = {core for password in frequent() for core in cores(password) if len(core) >= _SHORTEST}
    return frozenset(made.union(_read("clinic.txt")))


def is_made_of_words(core: str) -> bool:
    """True for one such word, or two of them in a row."""
    known = words()
    return core in known or any(core[:at] in known and core[at:] in known for at in range(1, len(core)))


def _read(name: str) -> list[str]:
    return (_FOLDER / name).read_text(encoding="utf-8").split()
