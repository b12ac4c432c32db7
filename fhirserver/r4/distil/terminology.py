"""Distils R4's code systems, value sets and concept maps (those of v2 and v3 included) into three files.

`codesystems.jsonl.gz`, `valuesetcomposes.jsonl.gz`, `conceptmaps.jsonl.gz`: a resource a line, in the order of
their urls, without what terminology does not work with (narrative, contacts, extensions, comments).
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

Json = dict[str, Any]

_COMMON = ("resourceType", "url", "version", "name", "title", "status", "date", "language")
KEPT = {
    "CodeSystem": (
        *_COMMON, "caseSensitive", "valueSet", "hierarchyMeaning", "compositional", "versionNeeded", "content",
        "supplements", "count", "filter", "property", "concept",
    ),
    "ValueSet": (*_COMMON, "immutable", "compose"),
    "ConceptMap": (*_COMMON, "sourceUri", "sourceCanonical", "targetUri", "targetCanonical", "group"),
}  # fmt: skip
FILES = {
    "CodeSystem": "codesystems.jsonl.gz",
    "ValueSet": "valuesetcomposes.jsonl.gz",
    "ConceptMap": "conceptmaps.jsonl.gz",
}
_DROPPED = ("extension", "id", "text", "contained")


def distil(package: Path, tables: Path) -> None:
    """Write the three files into `tables` from the unpacked definitions in `package`."""
    for type, name in FILES.items():
        lines = [orjson.dumps(resource) for resource in sorted(_resources(package, type), key=_url)]
        data = b"\n".join(lines) + b"\n"
        (tables / name).write_bytes(gzip.compress(data, compresslevel=9, mtime=0))


def _resources(package: Path, type: str) -> Iterator[Json]:
    for file in package.glob(f"{type}-*.json"):
        resource: Json = orjson.loads(file.read_bytes())
        if "url" in resource:
            yield {name: _bare(resource[name]) for name in KEPT[type] if name in resource}


def _url(resource: Json) -> str:
    return f"{resource['url']}|{resource.get('version', '')}"


def _bare(value: Any) -> Any:
    """The value without extensions and ids, at any depth; also without the `_name` of primitives."""
    if isinstance(value, list):
        return [_bare(item) for item in value]
    if isinstance(value, dict):
        return {
            name: _bare(part)
            for name, part in value.items()
            if name not in _DROPPED and not name.startswith("_")
        }
    return value
