"""What ships with the server: R4's definitions (with v2 and v3) and the folders of terminology/.

Read when first asked for, parsed one by one as they are used.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import orjson

from fhirserver.data import data_root
from fhirserver.r4.paths_types import TABLES
from fhirserver.terminology.canonical import EMPTY, SHIPPED, Candidate
from fhirserver.terminology.conceptmaps import ConceptMap, parse_concept_map
from fhirserver.terminology.concepts import Json
from fhirserver.terminology.systems import MemorySystem
from fhirserver.terminology.valuesets import ValueSet, parse_value_set

FILES = {
    "CodeSystem": "codesystems.jsonl.gz",
    "ValueSet": "valuesetcomposes.jsonl.gz",
    "ConceptMap": "conceptmaps.jsonl.gz",
}
T = TypeVar("T")


class Shipped:
    """The resources by url. `tables`: folder of the distilled files. `folders`: of the code systems beside them."""

    def __init__(self, tables: Path = TABLES, folders: Path | None = None) -> None:
        self._tables = tables
        self._folders = folders if folders is not None else data_root("terminology")
        self._built: dict[bytes, Any] = {}

    def code_systems(self, url: str) -> list[Candidate[MemorySystem]]:
        """The code systems with that url."""
        return [
            Candidate(
                head.get("version"),
                "active",
                head.get("date", ""),
                SHIPPED if head["content"] in ("complete", "fragment", "example") else EMPTY,
                lambda line=line: self._once(line, MemorySystem),  # type: ignore[misc]
            )
            for head, line in self._systems.get(url, ())
            if head["content"] != "supplement"
        ]

    def value_sets(self, url: str) -> list[Candidate[ValueSet]]:
        """The value sets with that url."""
        return [
            Candidate(
                head.get("version"),
                "active",
                head.get("date", ""),
                SHIPPED,
                lambda line=line: self._once(line, parse_value_set),  # type: ignore[misc]
            )
            for head, line in self._value_sets.get(url, ())
        ]

    def concept_maps(self, url: str | None = None) -> list[Candidate[ConceptMap]]:
        """The concept maps with that url, or all."""
        found = (
            self._maps.get(url, ()) if url is not None else [m for each in self._maps.values() for m in each]
        )
        return [
            Candidate(
                head.get("version"),
                "active",
                head.get("date", ""),
                SHIPPED,
                lambda line=line: self._once(line, parse_concept_map),  # type: ignore[misc]
            )
            for head, line in found
        ]

    def system_heads(self) -> Iterator[Json]:
        """url, version and content of every code system."""
        for found in self._systems.values():
            for head, _ in found:
                yield head

    def value_set_urls(self) -> list[str]:
        """The urls of all value sets, those of whole code systems included."""
        return [*self._value_sets, *(url for url in self.whole if url not in self._value_sets)]

    @cached_property
    def whole(self) -> dict[str, str]:
        """Canonical of the value set of all its codes -> url of the code system."""
        return {head["valueSet"]: head["url"] for head in self.system_heads() if "valueSet" in head}

    @cached_property
    def _systems(self) -> dict[str, list[tuple[Json, bytes]]]:
        return self._index("CodeSystem")

    @cached_property
    def _value_sets(self) -> dict[str, list[tuple[Json, bytes]]]:
        return self._index("ValueSet")

    @cached_property
    def _maps(self) -> dict[str, list[tuple[Json, bytes]]]:
        return self._index("ConceptMap")

    def _index(self, type: str) -> dict[str, list[tuple[Json, bytes]]]:
        found: dict[str, list[tuple[Json, bytes]]] = {}
        for line in self._lines(type):
            resource = orjson.loads(line)
            head = {name: resource[name] for name in _HEAD if name in resource}
            found.setdefault(resource["url"], []).append((head, line))
        return found

    def _lines(self, type: str) -> Iterator[bytes]:
        yield from gzip.decompress((self._tables / FILES[type]).read_bytes()).splitlines()
        for file in sorted(self._folders.glob(f"*/{type}-*.json")):
            yield file.read_bytes()

    def _once(self, line: bytes, build: Any) -> Any:
        found = self._built.get(line)
        if found is None:
            found = self._built[line] = build(orjson.loads(line))
        return found


_HEAD = ("url", "version", "content", "date", "valueSet", "name")
