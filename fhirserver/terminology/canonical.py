"""Canonical urls with versions: which of several resources one means. Source: hl7.org/fhir/R4/references.html#canonical."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
_PART = re.compile(r"[.\-+_]")


def split_canonical(canonical: str) -> tuple[str, str | None]:
    """The url and the version (None without one); a fragment is dropped."""
    url, _, version = canonical.partition("#")[0].partition("|")
    return url, version or None


def version_key(version: str | None) -> tuple[tuple[int, int, str], ...]:
    """Sorts versions: numbers by value, and before words; no version before any."""
    if not version:
        return ()
    parts = _PART.split(version)
    return tuple((0, int(p), "") if p.isdigit() and len(p) < 19 else (1, 0, p) for p in parts)


@dataclass(frozen=True, slots=True)
class Candidate(Generic[T_co]):
    """One of the resources with a canonical url, or one imported system.

    `rank`: of two with one version, the higher is taken. `build`: what it holds, parsed.
    """

    version: str | None
    status: str
    date: str
    rank: int
    build: Callable[[], T_co]


STORED, SHIPPED, IMPORTED = 1, 2, 3
"""Ranks: a stored copy does not change what ships with the server, an operator's import does."""
EMPTY = 0
"""The rank of a code system without content."""


def choose(candidates: Iterable[Candidate[T]], version: str | None) -> Candidate[T] | None:
    """The one that `version` names, else the newest active one, else the newest that is not retired.

    A version asked for in part ("4.0") finds the newest one that begins with it ("4.0.1").
    """
    found = list(candidates)
    if version is not None:
        exact = [each for each in found if each.version == version]
        found = exact or [each for each in found if (each.version or "").startswith(f"{version}.")]
    else:
        found = [each for each in found if each.status != "retired"]
    filled = [each for each in found if each.rank > EMPTY]
    return max(filled or found, key=_order, default=None)


def _order(each: Candidate[Any]) -> tuple[bool, tuple[tuple[int, int, str], ...], int, str]:
    return (each.status == "active", version_key(each.version), each.rank, each.date)
