"""From a resource to what search sees of it: the fields `ix`, `x`, `cx` and `geo` of its stored document.

The layout of each field is described where its parameter type lives (search/types). Beside the parameters:
sort keys `<code>~s` (smallest value) and `<code>~d` (largest, only where the parameter repeats), compartments
`~Patient` and the like, and the distinct words of the narrative and of all strings (`_text`, `_content`, in
`x`). Source: hl7.org/fhir/R4/search.html, hl7.org/fhir/R4/compartmentdefinition.html
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from fhirserver.r4.definitions import Definitions
from fhirserver.search.fold import LONGEST_WORD, plain_text, words
from fhirserver.search.index_tree import Found, TreeNode, build
from fhirserver.search.types import date, number, string
from fhirserver.search.types.reference import Site

Json: TypeAlias = dict[str, Any]
# Kept by the store itself (_id, ts); the words are collected apart.
_ELSEWHERE = frozenset(("_id", "_lastUpdated", "_text", "_content"))
_LONGEST_TEXT = 100_000  # a single string beyond this is data


@dataclass(frozen=True, slots=True)
class Indexed:
    """What a document holds for search.

    `ix` is indexed, `x` is not; `cx`: one {type, id, ix} per contained resource.
    """

    ix: Json
    x: Json
    cx: list[Json] = field(default_factory=list)
    geo: Json | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """What indexing does for one type.

    The tree, sorted parameters by kind, compartments, and codes whose entries are objects.
    """

    tree: TreeNode
    sorts: tuple[tuple[str, Callable[[list[Any]], tuple[str, str]], bool], ...]
    compartments: tuple[tuple[str, str, tuple[str, ...], bool], ...]
    structured: frozenset[str]


class Indexer:
    """Indexes resources of one tenant.

    `base_url`: FHIR base without a trailing slash, to know own absolute references.
    """

    def __init__(self, definitions: Definitions, tenant: str, base_url: str) -> None:
        self._definitions = definitions
        self._site = Site(tenant, base_url.rstrip("/"), frozenset(definitions.resource_types))
        self._plans: dict[str, _Plan] = {}

    def index(self, type: str, resource: Json) -> Indexed:
        """The fields of a resource, which must carry its id.

        Total: whatever a valid resource holds can be indexed.
        """
        plan = self._plan(type)
        found = self._walk(plan, resource)
        ix: Json = found.ix
        self._compartments(plan, ix, resource)
        _sort_keys(plan, ix, str(resource.get("id", "")))
        x: Json = found.x
        narrative, content = _words(resource)
        if narrative:
            x["_text"] = narrative
        if content:
            x["_content"] = content
        contained = resource.get("contained")
        cx = self._contained(contained) if isinstance(contained, list) else []
        return Indexed(ix, x, cx, found.geo)

    def _plan(self, type: str) -> _Plan:
        plan = self._plans.get(type)
        if plan is None:
            plan = self._plans[type] = self._make_plan(type)
        return plan

    def _make_plan(self, type: str) -> _Plan:
        known = self._definitions.search_parameters(type)
        parameters = [p for code, p in known.items() if code not in _ELSEWHERE]
        compartments = []
        for name in self._definitions.compartments:
            codes = self._definitions.compartment(name).get(type, ())
            own = type == name
            if codes or own:
                members = tuple(code for code in codes if code in known)
                compartments.append((f"~{name}", self._site.key(name, ""), members, own))
        return _Plan(
            build(parameters, self._site),
            tuple((p.code, _SORTS[p.type], p.repeats) for p in parameters if p.type in _SORTS),
            tuple(compartments),
            frozenset(p.code for p in parameters if p.type in ("date", "number", "quantity", "composite")),
        )

    def _walk(self, plan: _Plan, resource: Json) -> Found:
        found = Found(resource)
        plan.tree.walk(resource, found)
        for code in found.several - plan.structured:
            found.ix[code] = list(dict.fromkeys(found.ix[code]))
            if code in found.x:
                found.x[code] = list(dict.fromkeys(found.x[code]))
        return found

    def _compartments(self, plan: _Plan, ix: Json, resource: Json) -> None:
        for name, prefix, codes, own in plan.compartments:
            members = [prefix + str(resource.get("id", ""))] if own else []
            for code in codes:
                for entry in ix.get(code, ()):
                    if entry.startswith(prefix) and entry not in members:
                        members.append(entry)
            if members:
                ix[name] = members

    def _contained(self, contained: list[Any]) -> list[Json]:
        found = []
        for resource in contained:
            name = resource.get("resourceType") if isinstance(resource, dict) else None
            if isinstance(name, str) and name in self._site.types:
                ix = self._walk(self._plan(name), resource).ix
                found.append({"type": name, "id": resource.get("id", ""), "ix": ix})
        return found


def _string_keys(entries: list[str]) -> tuple[str, str]:
    return string.sort_key(min(entries)), string.sort_key(max(entries))


def _date_keys(entries: list[Json]) -> tuple[str, str]:
    values = [
        date.sort_value(e["lo"], e["hi"]) if "lo" in e else date.sort_value(e["wl"], e["wh"]) for e in entries
    ]
    return date.sort_key(min(values)), date.sort_key(max(values))


def _number_keys(entries: list[Json]) -> tuple[str, str]:
    values = [number.sort_value(e["lo"], e["hi"]) for e in entries]
    return number.sort_key(min(values)), number.sort_key(max(values))


_SORTS: dict[str, Callable[[list[Any]], tuple[str, str]]] = {
    "string": _string_keys,
    "date": _date_keys,
    "number": _number_keys,
    "quantity": _number_keys,
}


def _sort_keys(plan: _Plan, ix: Json, id: str) -> None:
    for code, keys, repeats in plan.sorts:
        entries = ix.get(code)
        if entries:
            smallest, largest = keys(entries)
            ix[f"{code}~s"] = f"{smallest}\x00{id}"
            if repeats:
                ix[f"{code}~d"] = f"{largest}\x00{id}"


def _words(resource: Json) -> tuple[list[str], list[str]]:
    """The distinct words of the narrative, and of all strings including it."""
    text = resource.get("text")
    narrative = text.get("div") if type(text) is dict else None
    own = words(plain_text(narrative)) if type(narrative) is str else []
    strings: list[str] = []
    _strings(resource if text is None else {k: v for k, v in resource.items() if k != "text"}, strings)
    content = words(" ".join(strings))
    return own, list(dict.fromkeys(content + own)) if own else content


def _strings(container: Any, found: list[str]) -> None:
    """Collect the strings of an object or array, at any depth."""
    for value in container.values() if type(container) is dict else container:
        kind = type(value)
        if kind is str:
            if len(value) <= LONGEST_WORD or (" " in value and len(value) <= _LONGEST_TEXT):
                found.append(value)
        elif kind is dict or kind is list:
            _strings(value, found)
