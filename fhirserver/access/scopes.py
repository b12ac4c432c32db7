"""SMART scopes of the levels user and system: parsing, and which types they open for which letter.

Grammar and meaning: hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html. c create, r read, u update,
d delete, s search. Scopes of the level patient need a launch context and are refused where there is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from fhirserver.context import Kind

_SCOPE = re.compile(r"(user|system)/(\*|[A-Z][A-Za-z]+)\.(read|write|\*|(?=[cruds])c?r?u?d?s?)")
_V1 = {"read": "rs", "write": "cud", "*": "cruds"}
ALL = "*"

LETTERS: Mapping[Kind, str] = {
    Kind.READ: "r",
    Kind.VREAD: "r",
    Kind.HISTORY_INSTANCE: "r",
    Kind.UPDATE: "u",
    Kind.PATCH: "u",
    Kind.DELETE: "d",
    Kind.CREATE: "c",
    Kind.SEARCH_TYPE: "s",
    Kind.SEARCH_SYSTEM: "s",
    Kind.SEARCH_COMPARTMENT: "s",
    Kind.HISTORY_TYPE: "s",
    Kind.HISTORY_SYSTEM: "s",
}


def parse_scopes(text: str, types: Iterable[str]) -> dict[str, frozenset[str]]:
    """Resource type (or ALL) -> letters.

    Raises ValueError naming the first token that is no scope of these levels.
    """
    known = frozenset(types) | {ALL}
    letters: dict[str, frozenset[str]] = {}
    for token in text.split():
        found = _SCOPE.fullmatch(token)
        if found is None or found[2] not in known:
            raise ValueError(token)
        letters[found[2]] = letters.get(found[2], frozenset()) | frozenset(_V1.get(found[3], found[3]))
    return letters


def opens(letters: Mapping[str, frozenset[str]], type: str, letter: str) -> bool:
    """True where the scopes give `letter` on `type`. Wildcards never include AuditEvent."""
    if letter in letters.get(type, ()):
        return True
    return type != "AuditEvent" and letter in letters.get(ALL, ())
