"""`fhirserver export`: every resource of a server, one NDJSON file per type."""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from fhirserver.cli.client import FhirClient, Unreachable, outcome_text
from fhirserver.cli.config import UsageError
from fhirserver.cli.local import server
from fhirserver.cli.terminal import CommandFailed, Progress, duration, say
from fhirserver.r4.jsontext import dump_json, parse_json

PAGE = 1000


def run(options: argparse.Namespace) -> int:
    """Writes <Type>.ndjson for every type that has resources; a file appears when it is complete."""
    with server(options) as (client, _):
        try:
            return _export(client, options)
        except Unreachable as problem:
            raise CommandFailed(f"{problem}. Files that were complete stand in {options.output}.") from None


def _export(client: FhirClient, options: argparse.Namespace) -> int:
    offered = _types(client)
    if unknown := sorted(set(options.type or ()) - set(offered)):
        raise UsageError(f"the server has no type {', '.join(unknown)}")
    options.output.mkdir(parents=True, exist_ok=True)
    progress, files = Progress("resources", None), 0
    for type in options.type or offered:
        files += _write(client, type, options.output, options.gzip, progress)
    elapsed = progress.close()
    say(f"{progress.count:,} resources in {files} files under {options.output} in {duration(elapsed)}")
    return 0


def _types(client: FhirClient) -> list[str]:
    return [resource["type"] for resource in _get(client, "metadata")["rest"][0]["resource"]]


def _write(client: FhirClient, type: str, folder: Path, compressed: bool, progress: Progress) -> int:
    """Writes the file of `type`; returns how many files that made (none where there are no resources)."""
    target = folder / (f"{type}.ndjson" + (".gz" if compressed else ""))
    part = target.with_name(f".{target.name}.part")
    count = 0
    try:
        with cast("BinaryIO", gzip.open(part, "wb", 6) if compressed else part.open("wb")) as file:
            for resource in _resources(client, type):
                file.write(dump_json(resource) + b"\n")
                count += 1
                progress.advance(1)
        if count:
            part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return 1 if count else 0


def _resources(client: FhirClient, type: str) -> Iterator[Any]:
    url = f"{type}?_count={PAGE}"
    while url:
        page = _get(client, url)
        for entry in page.get("entry", []):
            if entry.get("search", {}).get("mode", "match") == "match":
                yield entry["resource"]
        url = next((link["url"] for link in page.get("link", []) if link["relation"] == "next"), "")


def _get(client: FhirClient, url: str) -> dict[str, Any]:
    reply = client.get(url)
    if reply.status != 200:
        raise CommandFailed(f"the server answered {reply.status}: {outcome_text(reply.json())}")
    found: dict[str, Any] = parse_json(reply.body)
    return found
