"""Code systems that are a grammar: every well-formed code is one of theirs, and nobody can list them.

UCUM units, media types and language tags. Source: hl7.org/fhir/R4/terminologies-systems.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fhirserver.outcome import TooCostly
from fhirserver.terminology import ucum
from fhirserver.terminology.concepts import Concept, SystemInfo
from fhirserver.terminology.systems import Found, Selection, chooses

_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_MEDIA_TYPE = re.compile(rf"{_NAME}/{_NAME}(?:\s*;[ -~]{{0,200}})?")
# RFC 5646 section 2.1 without the grandfathered tags
_LANGUAGE = re.compile(
    r"(?:[A-Za-z]{2,3}(?:-[A-Za-z]{3}){0,3}|[A-Za-z]{4,8})(?:-[A-Za-z]{4})?(?:-(?:[A-Za-z]{2}|[0-9]{3}))?"
    r"(?:-(?:[A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3})){0,8}(?:-[A-WY-Za-wy-z0-9](?:-[A-Za-z0-9]{2,8}){1,8}){0,4}"
    r"(?:-x(?:-[A-Za-z0-9]{1,8}){1,8})?|x(?:-[A-Za-z0-9]{1,8}){1,8}"
)


def _formed(pattern: re.Pattern[str]) -> Callable[[str], Concept | None]:
    return lambda code: Concept(code) if pattern.fullmatch(code) else None


@dataclass(frozen=True, slots=True)
class GrammarSystem:
    """A code system with a grammar. `read`: the concept of a code, None where it is not well-formed."""

    info: SystemInfo
    read: Callable[[str], Concept | None]

    def get(self, code: str) -> Concept | None:
        """The concept, None where the code is not well-formed."""
        return self.read(code)

    async def find(self, codes: Iterable[str]) -> Mapping[str, Concept]:
        """The concepts of the well-formed `codes`."""
        return {code: concept for code in codes if (concept := self.read(code)) is not None}

    async def select(self, selection: Selection, offset: int, limit: int) -> Found:
        """The selected concepts, where the selection names them. Raises TooCostly where it does not."""
        listed = selection.within
        if listed is None:
            parts = [branch.codes for branch in selection.branches]
            if any(codes is None for codes in parts):
                raise TooCostly(
                    "The codes of this system follow a grammar and cannot be listed; validate codes one by one.",
                    code="expansion-not-possible",
                )
            listed = frozenset(code for codes in parts for code in codes or ())
        found = await self.find(sorted(listed))
        chosen = [c for c in found.values() if chooses(selection, c, {})]
        return Found(chosen[offset : offset + limit], len(chosen))


def _system(url: str, name: str, title: str, read: Callable[[str], Concept | None]) -> GrammarSystem:
    return GrammarSystem(SystemInfo(url, None, name, title), read)


GRAMMARS: Mapping[str, GrammarSystem] = MappingProxyType(
    {
        system.info.url: system
        for system in (
            _system(ucum.URL, "UCUM", "Unified Code for Units of Measure", ucum.unit),
            _system("urn:ietf:bcp:13", "MimeTypes", "Media types (BCP 13)", _formed(_MEDIA_TYPE)),
            _system("urn:ietf:bcp:47", "Languages", "Language tags (BCP 47)", _formed(_LANGUAGE)),
        )
    }
)
