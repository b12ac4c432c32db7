"""Folding: what makes two strings the same for string search, whatever their case and accents.

Source: hl7.org/fhir/R4/search.html#string ("insensitive to case and ... accents or other combining
characters")
"""

from __future__ import annotations

import re
import unicodedata

# Longer runs (base64, data) are no words that anyone searches for.
LONGEST_WORD = 64
_WORD = re.compile(r"\w+")
# Lower case, and a blank for whatever is not part of a word: one pass over ASCII text, much cheaper than a
# pattern.
_ASCII_WORDS = "".join(chr(c).lower() if chr(c).isalnum() or chr(c) == "_" else " " for c in range(128))
# Nearly every mark that decomposing leaves behind is in one block; other marks only occur among other scripts
# (general punctuation and currency signs apart), where each character is looked at.
_LATIN_MARKS = re.compile("[\u0300-\u036f]+")
_BEYOND_LATIN = re.compile("[\u0483-\u1fff\u20d0-\U0010ffff]")
_TAG = re.compile(r"<[^>]*>")
_ENTITY = re.compile(r"&(?:#(\d{1,7})|#x([0-9a-fA-F]{1,6})|(\w{2,8}));")
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'", "nbsp": " "}


def fold(text: str) -> str:
    """The text without case, accents and repeated white space; folding it again changes nothing."""
    if text.isascii():
        return " ".join(text.lower().split())
    return " ".join(_plain(text).split())


def _plain(text: str) -> str:
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    plain = _LATIN_MARKS.sub("", plain)
    if _BEYOND_LATIN.search(plain):
        return "".join(c for c in plain if not unicodedata.combining(c))
    return plain


def words(text: str) -> list[str]:
    """The distinct folded words (letters, digits, underscores) in order of their first occurrence."""
    plain = text if text.isascii() else _plain(text)
    parts = plain.translate(_ASCII_WORDS).split() if plain.isascii() else _WORD.findall(plain)
    found = dict.fromkeys(parts)
    if len(text) <= LONGEST_WORD:
        return list(found)
    return [word for word in found if len(word) <= LONGEST_WORD]


def plain_text(xhtml: str) -> str:
    """The text of a narrative, without its tags."""
    text = _TAG.sub(" ", xhtml)
    return _ENTITY.sub(_character, text) if "&" in text else text


def _character(match: re.Match[str]) -> str:
    decimal, hexadecimal, name = match.groups()
    if name is not None:
        return _ENTITIES.get(name, " ")
    code = int(decimal) if decimal else int(hexadecimal, 16)
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else " "
