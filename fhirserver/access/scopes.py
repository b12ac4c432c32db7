"""SMART scopes: what a token says, and what two of them have in common. Pure: no I/O, no request.

A token is read by full match or dropped; nothing is ever taken out of the middle of one. Letters: c create, r read,
vread and instance history, u update and patch, d delete, s search and the other histories.
Source: hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol
from urllib.parse import quote, unquote

ALL = "*"
LETTERS = "cruds"
LONGEST, MOST = 12_288, 256  # characters and tokens of one scope parameter; beyond, nothing of it is granted
NAMED_ONLY = frozenset(
    ("AuditEvent",)
)  # a wildcard does not reach these types: the audit trail must be asked for
IDENTITY = frozenset(("openid", "fhirUser", "profile", "offline_access", "online_access"))

_V1 = {"read": "rs", "write": "cud", "*": LETTERS}
_RESOURCE = re.compile(
    r"(patient|user|system)/(\*|[A-Z][A-Za-z]*)\.(read|write|\*|(?=[cruds])c?r?u?d?s?)(?:\?([^ \"\\]+))?",
    re.ASCII,
)
_CONTEXT = re.compile(r"launch(/[a-z]+(\?role=[!#-\[\]-~]+)?)?", re.ASCII)
_EXTENSION = re.compile(r"__[!#-\[\]-~]+|[A-Za-z][A-Za-z0-9+.\-]*:[!#-\[\]-~]+", re.ASCII)
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]*", re.ASCII)


class Vocabulary(Protocol):
    """What scopes may name here."""

    def is_type(self, name: str) -> bool:
        """True for a resource type."""
        ...

    def is_constraint(self, type: str, code: str) -> bool:
        """True for a search parameter of `type` that a constraint may use: indexed, not of the search as a whole."""
        ...


@dataclass(frozen=True, slots=True)
class Scope:
    """One resource scope.

    `level`: patient, user or system. `type`: a resource type or ALL. `letters`: out of "cruds", in that order.
    `constraint`: (search parameter, value) pairs, all of which a resource must fulfil; sorted, each once.
    `spelling`: as it was written, which the value does not depend on.
    """

    level: str
    type: str
    letters: str
    constraint: tuple[tuple[str, str], ...] = ()
    spelling: str = field(default="", compare=False)

    def __str__(self) -> str:
        """As it was written; else in the shortest form of version 2."""
        if self.spelling:
            return self.spelling
        pairs = "&".join(f"{code}={quote(value, safe=_PLAIN)}" for code, value in self.constraint)
        return f"{self.level}/{self.type}.{self.letters}" + (f"?{pairs}" if pairs else "")

    def reaches(self, type: str) -> bool:
        """True where the scope speaks of `type` (ALL: of every type)."""
        return self.type == type or (self.type == ALL and type not in NAMED_ONLY)


_PLAIN = "!$'()*+,-./:;<=>?@[]^_`{|}~"  # what stands in a value as it is; "=" is safe behind the first


@dataclass(frozen=True, slots=True)
class Scopes:
    """What a scope parameter grants or asks for.

    `resources`: its resource scopes. `others`: launch contexts, openid and the like, extensions; as written. `dropped`:
    how many tokens were none of these.
    """

    resources: tuple[Scope, ...] = ()
    others: tuple[str, ...] = ()
    dropped: int = 0

    def __str__(self) -> str:
        """The scope parameter."""
        return " ".join((*self.others, *map(str, self.resources)))

    def __contains__(self, token: str) -> bool:
        """True for a token that is no resource scope, such as "openid"."""
        return token in self.others

    def __bool__(self) -> bool:
        """True where anything is left."""
        return bool(self.resources or self.others)

    def of_levels(self, levels: Collection[str]) -> Scopes:
        """The same without the resource scopes of other levels."""
        return replace(self, resources=tuple(s for s in self.resources if s.level in levels))


def parse(text: str, vocabulary: Vocabulary) -> Scopes:
    """What a scope parameter says. Never raises: what is no scope is dropped, all of it beyond LONGEST or MOST."""
    tokens = [token for token in text.split(" ") if token] if len(text) <= LONGEST else []
    if len(tokens) > MOST or not tokens:
        return Scopes(dropped=len(tokens) or int(bool(text)))
    resources: dict[Scope, None] = {}
    others: dict[str, None] = {}
    dropped = 0
    for token in tokens:
        if (scope := parse_resource(token, vocabulary)) is not None:
            resources.setdefault(scope)
        elif token in IDENTITY or _CONTEXT.fullmatch(token) or _EXTENSION.fullmatch(token):
            others.setdefault(token)
        else:
            dropped += 1
    return Scopes(tuple(resources), tuple(others), dropped)


def parse_resource(token: str, vocabulary: Vocabulary) -> Scope | None:
    """The resource scope that `token` is; None where it is none that is understood to the last character."""
    found = _RESOURCE.fullmatch(token)
    if found is None:
        return None
    level, type, suffix, text = found.groups()
    if type != ALL and not vocabulary.is_type(type):
        return None
    if text is None:
        return Scope(level, type, _V1.get(suffix, suffix), (), token)
    constraint = _constraint(text, type, vocabulary) if suffix not in _V1 and type != ALL else None
    return None if constraint is None else Scope(level, type, suffix, constraint, token)


def _constraint(text: str, type: str, vocabulary: Vocabulary) -> tuple[tuple[str, str], ...] | None:
    pairs = set()
    for pair in text.split("&"):
        code, equals, raw = pair.partition("=")
        try:
            value = unquote(raw, errors="strict")
        except UnicodeDecodeError:
            return None
        if not equals or not value or _PARAMETER.fullmatch(code) is None:
            return None
        if not vocabulary.is_constraint(type, code):
            return None
        pairs.add((code, value))
    return tuple(sorted(pairs))


def covers(one: Scope, other: Scope) -> bool:
    """True where `one` grants all that `other` does."""
    return (
        one.level == other.level
        and one.reaches(other.type)
        and set(other.letters) <= set(one.letters)
        and set(one.constraint) <= set(other.constraint)
    )


def intersect(one: Scope, other: Scope) -> Scope | None:
    """What both grant: the narrower type, the common letters, the constraints of both; None where nothing.

    A result that means the same as one of them keeps its spelling, the first's before the second's.
    """
    if one.level != other.level or not (one.reaches(other.type) or other.reaches(one.type)):
        return None
    letters = "".join(letter for letter in one.letters if letter in other.letters)
    if not letters:
        return None
    type = other.type if one.type == ALL else one.type
    both = Scope(one.level, type, letters, tuple(sorted({*one.constraint, *other.constraint})))
    return next((same for same in (one, other) if same == both), both)


def narrow(asked: Iterable[Scope], ceiling: Iterable[Scope]) -> tuple[Scope, ...]:
    """What of `asked` lies under `ceiling`: the meaning of both together, in the fewest scopes.

    A scope that is granted whole keeps its spelling. Apply it once for each ceiling: server, client, role, ticks.
    """
    ceiling = tuple(ceiling)
    found: list[Scope] = []
    for scope in asked:
        parts = [part for limit in ceiling if (part := intersect(scope, limit)) is not None]
        found += [scope] if scope in united(parts) else parts
    return united(found)


def united(scopes: Iterable[Scope]) -> tuple[Scope, ...]:
    """The same rights in fewer scopes: letters of equal scopes joined, what another one covers left out."""
    letters: dict[tuple[str, str, tuple[tuple[str, str], ...]], Scope] = {}
    for scope in scopes:
        key = (scope.level, scope.type, scope.constraint)
        known = letters.get(key)
        letters[key] = scope if known is None else _joined(known, scope)
    kept = tuple(letters.values())
    return tuple(s for s in kept if not any(covers(other, s) for other in kept if other is not s))


def _joined(one: Scope, other: Scope) -> Scope:
    if set(other.letters) <= set(one.letters):
        return one
    if set(one.letters) <= set(other.letters):
        return other
    letters = "".join(letter for letter in LETTERS if letter in one.letters + other.letters)
    return replace(one, letters=letters, spelling="")


def are_covered(asked: Scopes, granted: Scopes) -> bool:
    """True where `granted` gives all of `asked` by its meaning, letter by letter, and nothing of it was dropped."""
    if asked.dropped or not set(asked.others) <= set(granted.others):
        return False
    return all(
        any(covers(whole, part) for whole in granted.resources)
        for scope in asked.resources
        for part in _single(scope)
    )


def _single(scope: Scope) -> Iterator[Scope]:
    for letter in scope.letters:
        yield replace(scope, letters=letter)
