"""Identifiers tried one by one: who searches for many that nobody has is not served for a while.

What counts is who asks for patients by identifier, in whatever form: directly, through chains, _has and _filter, in criteria
of changes and of references; and only callers with a token: a person, or an app without one. What is counted are different
identifiers without a match, shared between all workers; a worker refuses from the moment on at which it has seen the
limit passed. Source: docs/how-to/audit-alerts.md.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from fhirserver.context import Agent, Interaction, Kind, Result
from fhirserver.outcome import Throttled
from fhirserver.r4.definitions import Definitions
from fhirserver.r4.jsontext import parse_json
from fhirserver.store.misses import Misses

WINDOW = timedelta(minutes=5)
_SEARCHES = (Kind.SEARCH_TYPE, Kind.SEARCH_COMPARTMENT, Kind.SEARCH_SYSTEM)
_CONDITIONAL = (Kind.UPDATE, Kind.PATCH, Kind.DELETE)
_PEOPLE = frozenset(("Patient", "RelatedPerson", "Person"))
_COMMA = re.compile(r"(?<!\\),")
_FILTERS = re.compile(r'(?<![\w.:\]-])([\w.:\]-]+)\s+[a-z]{2}\s+("(?:[^"\\]|\\.)*"|[^\s()\[\]]+)')
_MOST = 10_000
_LONGEST_NAME = 1000
_WORDS = ("_content", "_text")  # find identifiers, too
_FEWEST_DIGITS = 5  # of words that are taken for one
_ELEMENT = ".identifier"  # of an expression


@dataclass(frozen=True, slots=True)
class Asked:
    """The identifiers of patients that an interaction asks for: what is compared of each, by its digest.

    `direct`: the matches are the patients themselves. `vague`: something may match without having one of them.
    """

    texts: Mapping[str, str]
    direct: bool = True
    vague: bool = False

    def in_vain(self, matches: Sequence[bytes]) -> list[str]:
        """The digests of those that nobody has, as far as what was found can tell."""
        marks = list(self.texts)
        if not matches:
            return marks
        if len(marks) == 1 and not self.vague:
            return []
        if not self.direct:
            return marks if self.vague else marks[1:]  # which one it was by cannot be seen
        had = {text for raw in matches for text in _identifiers_of(raw)}
        return [mark for mark, text in self.texts.items() if text and text not in had]


@dataclass(slots=True)
class Guesses:
    """Counts and refuses. `limit`: of identifiers in vain, for an agent. `clock`: seconds since 1970."""

    misses: Misses
    limit: Callable[[Agent], int]
    clock: Callable[[], float] = time.time
    _refused: dict[str, float] = field(default_factory=dict)

    def admit(self, agent: Agent, interaction: Interaction, definitions: Definitions) -> None:
        """Raises Throttled for a search by identifier of somebody who has tried too many."""
        until = self._refused.get(_caller(agent), 0.0) if self._refused else 0.0
        if until and agent.scopes is not None and identifiers(interaction, definitions).texts:
            left = until - self.clock()
            if left > 0:
                raise _refusal(left)
            del self._refused[_caller(agent)]

    async def answered(
        self, agent: Agent, interaction: Interaction, result: Result, definitions: Definitions
    ) -> None:
        """Take note of what a search found. Raises Throttled instead of an answer beyond the limit, Unavailable."""
        if interaction.kind in _SEARCHES and result.page is not None and agent.scopes is not None:
            entries = [each for each in result.page.entries if each.mode == "match"]
            raws = [each.version.raw or b"" for each in entries if each.version is not None]
            await self.sought(agent, interaction, definitions, raws)

    async def sought(
        self, agent: Agent, interaction: Interaction, definitions: Definitions, matches: Sequence[bytes] = ()
    ) -> None:
        """Take note of what an interaction, or criteria that are written as a search, found. Raises as `answered` does."""
        asked = identifiers(interaction, definitions)
        marks = asked.in_vain(matches) if asked.texts and agent.scopes is not None else ()
        if not marks:
            return
        caller, now = _caller(agent), self.clock()
        moment = datetime.fromtimestamp(now, UTC)
        count = await self.misses.add(caller, marks, moment, WINDOW)
        limit = self.limit(agent)
        if count < limit:
            return
        if len(self._refused) >= _MOST:
            self._refused.clear()
        self._refused[caller] = now + WINDOW.total_seconds()
        if count > limit:
            raise _refusal(WINDOW.total_seconds())


def _identifiers_of(raw: bytes) -> Iterator[str]:
    for each in parse_json(raw).get("identifier") or ():
        yield _compared(str(each.get("value", "")))


def _compared(value: str) -> str:
    return "".join(filter(str.isalnum, value)).lower()


def identifiers(interaction: Interaction, definitions: Definitions) -> Asked:
    """Which identifiers of patients an interaction asks for: a search, or a change or reference under criteria."""
    if interaction.kind not in _SEARCHES and (
        interaction.kind not in _CONDITIONAL or interaction.id is not None
    ):
        return Asked({})
    start = frozenset((interaction.type,) if interaction.type else definitions.resource_types)
    texts: dict[str, str] = {}
    direct, vague = start <= _PEOPLE, False
    for name, value in interaction.query:
        if name == "_filter":
            values = [
                each[2] for each in _FILTERS.finditer(value) if _in_filter(start, each[1], value, definitions)
            ]
            vague |= bool(values)
        elif _is_identifier(start, name, definitions):
            values = _COMMA.split(value)
            direct &= not name.startswith("_has:") and "." not in name and ":identifier" not in name
            vague |= name.endswith(":not")
        else:
            continue
        is_words = name.endswith(_WORDS)
        for one in values:
            if is_words and sum(map(str.isdigit, one)) < _FEWEST_DIGITS:
                continue
            text = _compared(one.rpartition("|")[2])
            texts[hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]] = text
    return Asked(texts, direct, vague)


def _in_filter(start: frozenset[str], path: str, whole: str, definitions: Definitions) -> bool:
    """The same of a path in _filter. Behind a bracket it is about another type, which is taken for a patient."""
    return _is_identifier(start, path.lstrip(".]"), definitions) or (
        "[" in whole and path.endswith("identifier")
    )


def _is_identifier(types: frozenset[str], name: str, definitions: Definitions) -> bool:
    """True for a parameter of `types` that finds patients, or what is about them, by an identifier."""
    if not types or len(name) > _LONGEST_NAME:  # of so many hops that the search is refused
        return False
    if name.startswith("_has:"):
        _, other, _, rest = (*name.split(":", 3), "", "", "")[:4]
        return _is_identifier(frozenset((other,)), rest, definitions)
    if name in _WORDS:
        return not types.isdisjoint(_PEOPLE)
    way, dot, rest = name.partition(".")
    code, _, modifier = way.partition(":")
    found = [(type, known) for type in types if (known := definitions.search_parameters(type).get(code))]
    if dot:
        targets = {each for _, known in found for each in known.targets}
        return _is_identifier(frozenset((modifier,)) if modifier else frozenset(targets), rest, definitions)
    if modifier == "identifier":
        return any(_PEOPLE.intersection(known.targets) for _, known in found)
    return modifier in ("", "of-type", "not") and any(
        type in _PEOPLE and known.type == "token" and _ELEMENT in known.expression for type, known in found
    )


def _caller(agent: Agent) -> str:
    return agent.user or agent.client or agent.address or agent.name


def _refusal(seconds: float) -> Throttled:
    return Throttled(
        "Too many identifiers were searched for that no patient has; such searches are refused for a few minutes.",
        code="identifier-enumeration",
        retry_after=max(1, round(seconds)),
    )
