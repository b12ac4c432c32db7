"""A concept of a code system, and what is known of the system itself. Source: hl7.org/fhir/R4/codesystem.html."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

_NOT_ACTIVE = ("retired", "inactive")
_NOT_SELECTABLE = ("notSelectable", "abstract")


@dataclass(frozen=True, slots=True)
class Designation:
    """Another text for a concept. `use`: a Coding as JSON."""

    value: str
    language: str | None = None
    use: Json | None = None

    @classmethod
    def of(cls, json: Json) -> Designation:
        """The designation in CodeSystem.concept.designation or ValueSet.compose.include.concept.designation."""
        return cls(str(json.get("value", "")), json.get("language"), json.get("use"))


@dataclass(frozen=True, slots=True)
class Property:
    """A property of a concept. `kind`: name of its JSON element, such as "valueCode"."""

    code: str
    kind: str
    value: Any

    @property
    def text(self) -> str:
        """The value as a filter compares it."""
        if isinstance(self.value, bool):
            return "true" if self.value else "false"
        return str(self.value.get("code", "")) if isinstance(self.value, dict) else str(self.value)


@dataclass(frozen=True, slots=True)
class Concept:
    """One concept. `parents`: codes right above it; `ancestors`: all codes above it, at any distance."""

    code: str
    display: str | None = None
    definition: str | None = None
    designations: tuple[Designation, ...] = ()
    properties: tuple[Property, ...] = ()
    parents: tuple[str, ...] = ()
    ancestors: frozenset[str] = frozenset()

    @property
    def inactive(self) -> bool:
        """True where the code system says that the concept is not to be used any more."""
        return any(
            (p.code == "inactive" and p.value is True) or (p.code == "status" and p.value in _NOT_ACTIVE)
            for p in self.properties
        )

    @property
    def abstract(self) -> bool:
        """True where the concept only groups others and is not to be chosen itself."""
        return any(p.code in _NOT_SELECTABLE and p.value is True for p in self.properties)

    def texts(self) -> tuple[str, ...]:
        """The display and all designations."""
        first = (self.display,) if self.display is not None else ()
        return (*first, *(each.value for each in self.designations))

    def display_in(self, language: str | None) -> str | None:
        """The text for `language` (a BCP 47 tag; "pt" also finds "pt-BR"), the plain display where there is none."""
        if language:
            for exact in (True, False):
                for each in self.designations:
                    if each.language and _speaks(each.language, language, exact):
                        return each.value
        return self.display


@dataclass(frozen=True, slots=True)
class SystemInfo:
    """What is known of a code system as a whole.

    `content`: not-present, example, fragment, complete or supplement. `count`: number of concepts, None where they
    cannot be listed. `properties`: codes of the properties and filters that it defines. `value_set`: canonical of
    the value set of all its codes. `origin`: "shipped", "stored" (a resource, `stored_id`), "imported" or "request".
    """

    url: str
    version: str | None = None
    name: str = ""
    title: str | None = None
    status: str = "active"
    content: str = "complete"
    case_sensitive: bool = True
    hierarchical: bool = False
    count: int | None = None
    language: str | None = None
    properties: frozenset[str] = frozenset()
    value_set: str | None = None
    origin: str = "shipped"
    date: str = ""
    stored_id: str | None = None

    @property
    def canonical(self) -> str:
        """`url|version`, or the url alone."""
        return f"{self.url}|{self.version}" if self.version else self.url


def _speaks(language: str, wanted: str, exact: bool) -> bool:
    language, wanted = language.lower(), wanted.lower()
    return language == wanted if exact else language.partition("-")[0] == wanted.partition("-")[0]


_WORD = re.compile(r"\w+")


def folded(text: str) -> str:
    """The text without case and accents, blanks collapsed: how displays are compared."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(c for c in plain if not unicodedata.combining(c)).split())


def words_of(text: str) -> list[str]:
    """The distinct folded words of a text, in order."""
    return list(dict.fromkeys(_WORD.findall(folded(text))))
