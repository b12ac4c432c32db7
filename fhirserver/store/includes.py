"""What `_include` and `_revinclude` add to a page: fetched by type, each resource once, within the limits.

Every resource is found under the caller's own restriction of its type. What a limit leaves out is said in an
issue. Source: hl7.org/fhir/R4/search.html#include
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fhirserver.outcome import Issue, IssueCode
from fhirserver.search.expression import And
from fhirserver.search.guard import ByType, shows
from fhirserver.search.include import Include, Path
from fhirserver.settings import Limits
from fhirserver.store.client import Document
from fhirserver.store.compile import Filter, Place, compile_filter, conjunction, disjunction
from fhirserver.store.documents import VERSION_FIELDS
from fhirserver.store.resolve import Resolver

Match = tuple[str, Document]
_URL = "url"


def fields_of(includes: Iterable[Include], type: str) -> set[str]:
    """The fields of the index that includes read from a document of `type`."""
    fields = set()
    for include in includes:
        for path in include.paths:
            if include.reverse and path.canonical:
                fields.add(_URL)
            elif not include.reverse and path.type == type:
                fields.add(path.field)
    return fields


@dataclass(slots=True)
class Includer:
    """The includes of one page. `existing`: types that have a collection, None when not known."""

    resolver: Resolver
    includes: Sequence[Include]
    limits: Limits
    existing: frozenset[str] | None
    found: list[Match] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)
    _seen: set[str] = field(default_factory=set)

    async def run(self, matches: Sequence[Match]) -> None:
        """Follow the includes from `matches`; fills `found` and `issues`."""
        self._seen.update(document["_id"] for _, document in matches)
        front: Sequence[Match] = matches
        includes = self.includes
        for _ in range(self.limits.include_rounds):
            fresh: list[Match] = []
            for type, filter in self._wanted(front, includes):
                if not await self._fetch(type, filter, fresh):
                    return
            front, includes = fresh, [include for include in self.includes if include.iterate]
            if not front or not includes:
                return
        if self._wanted(front, includes):
            self._say(
                "include-rounds",
                f"{self.limits.include_rounds} rounds of :iterate were followed; there may be more.",
            )

    def _wanted(self, front: Sequence[Match], includes: Iterable[Include]) -> list[tuple[str, Filter]]:
        """The queries of one round: (type, filter), keys already seen left out."""
        keys: dict[str, dict[str, None]] = {}
        other: dict[str, list[Filter]] = {}
        for include in includes:
            for path in include.paths:
                if include.reverse:
                    self._backward(path, front, other)
                else:
                    self._forward(path, front, keys, other)
        queries: list[tuple[str, Filter]] = [
            (type, {"_id": {"$in": list(ids)}}) for type, ids in keys.items()
        ]
        queries += [(type, disjunction(filters)) for type, filters in other.items()]
        return [query for query in queries if self.existing is None or query[0] in self.existing]

    def _forward(
        self,
        path: Path,
        front: Sequence[Match],
        keys: dict[str, dict[str, None]],
        other: dict[str, list[Filter]],
    ) -> None:
        prefix = f"{self.resolver.tenant}/"
        urls: dict[str, None] = {}
        for type, document in front:
            if type != path.type or self._is_hidden(path, document):
                continue
            for value in document.get("ix", {}).get(path.field, ()):
                if value.startswith(prefix):
                    target = value.split("/", 2)[1]
                    if (not path.targets or target in path.targets) and value not in self._seen:
                        keys.setdefault(target, {})[value] = None
                elif path.canonical:
                    urls[value.partition("|")[0]] = None
        if urls:
            for target in path.targets or path.ends:
                other.setdefault(target, []).append({"ix.url": {"$in": list(urls)}})

    def _backward(self, path: Path, front: Sequence[Match], other: dict[str, list[Filter]]) -> None:
        values: list[str] = []
        for type, document in front:
            if (path.ends and type not in path.ends) or (path.targets and type not in path.targets):
                continue
            values += document.get("ix", {}).get(_URL, ()) if path.canonical else [document["_id"]]
        if values:
            found: Filter = {f"ix.{path.field}": {"$in": values}}
            if not shows(self._masks, path.type, path.field):
                place = Place(key=f"{self.resolver.tenant}/{path.type}/")
                found = conjunction([found, compile_filter(self._masks[path.type].rows, place)])
            other.setdefault(path.type, []).append(found)

    @property
    def _masks(self) -> ByType:
        masks = self.resolver.permission.masks
        return masks.of if masks is not None else {}

    def _is_hidden(self, path: Path, document: Document) -> bool:
        """True where the reference to follow is hidden from the caller."""
        if shows(self._masks, path.type, path.field):
            return False
        id = document["_id"].rpartition("/")[2]
        return not self._masks[path.type].is_whole(path.type, id, document.get("pa"))

    async def _fetch(self, type: str, filter: Filter, fresh: list[Match]) -> bool:
        """Add what `filter` finds; False when the page's limit is reached."""
        room = self.limits.included - len(self.found)
        plan = await self.resolver.plan(type, And(), filter)
        iterating = [include for include in self.includes if include.iterate]
        fields: dict[str, int] = VERSION_FIELDS | {f"ix.{name}": 1 for name in fields_of(iterating, type)}
        known = sum(1 for key in self._seen if f"/{type}/" in key)
        for document in await self.resolver.run(type, plan, fields, room + known + 1):
            if document["_id"] in self._seen:
                continue
            if len(self.found) >= self.limits.included:
                self._say(
                    "include-limit",
                    f"More than {self.limits.included} resources would be included; the rest is left out. "
                    "Ask for smaller pages (_count) or follow the references in searches of their own.",
                )
                return False
            self._seen.add(document["_id"])
            self.found.append((type, document))
            fresh.append((type, document))
        return True

    def _say(self, code: str, text: str) -> None:
        self.issues.append(Issue(IssueCode.INCOMPLETE, code, text, severity="warning"))
