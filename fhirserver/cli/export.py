"""`fhirserver export`: every resource of a server, one NDJSON file per type.

What is exported is disclosed: the server is told to whom it goes before anything is read, and the files get their names
when the log says of each patient that their data went there.
"""

from __future__ import annotations

import argparse
import getpass
import gzip
import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import quote

from fhirserver.access.scopes import NAMED_ONLY
from fhirserver.cli.client import FhirClient, Reply, Unreachable, outcome_text
from fhirserver.cli.config import UsageError
from fhirserver.cli.local import server
from fhirserver.cli.terminal import CommandFailed, Progress, duration, say
from fhirserver.r4.jsontext import dump_json, parse_json

PAGE = 1000


@dataclass(frozen=True, slots=True)
class Written:
    """A complete file that is not under its name yet. `part`: where it stands. `count`: resources in it."""

    type: str
    part: Path
    target: Path
    count: int

    def parameter(self) -> dict[str, Any]:
        """The file as the server is told of it."""
        with self.part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        parts = [
            {"name": "name", "valueString": self.target.name},
            {"name": "type", "valueCode": self.type},
            {"name": "count", "valueInteger": self.count},
            {"name": "sha256", "valueString": digest},
        ]
        return {"name": "file", "part": parts}


def run(options: argparse.Namespace) -> int:
    """Writes <Type>.ndjson for every type that has resources; the files appear together, when all are complete."""
    with server(options) as (client, _):
        try:
            return _export(client, options)
        except Unreachable as problem:
            raise CommandFailed(f"{problem}. Nothing was exported.") from None
        finally:
            client.close()


def _export(client: FhirClient, options: argparse.Namespace) -> int:
    offered = _types(client)
    if unknown := sorted(set(options.type or ()) - set(offered)):
        raise UsageError(f"the server has no type {', '.join(unknown)}")
    options.output.mkdir(parents=True, exist_ok=True)
    disclosure = _begin(client, options)
    client.under(disclosure)
    progress = Progress("resources", None)
    files: list[Written] = []
    try:
        for type in dict.fromkeys(options.type or [type for type in offered if type not in NAMED_ONLY]):
            file = _part(type, options)
            files.append(file)
            files[-1] = _write(client, file, options.gzip, progress)
        full = [file for file in files if file.count]
        patients = _tell(client, disclosure, full)
        for file in full:
            file.part.replace(file.target)
    finally:
        for file in files:
            file.part.unlink(missing_ok=True)
    elapsed = progress.close()
    say(f"{progress.count:,} resources in {len(full)} files under {options.output} in {duration(elapsed)}")
    say(f"{patients:,} patients: disclosed to {_recipient(options)} in the audit log as {disclosure}")
    return 0


def _begin(client: FhirClient, options: argparse.Namespace) -> str:
    """The id under which the server notes the disclosure."""
    address = f"file://{socket.gethostname()}{quote(str(options.output.resolve()))}"
    parameters = [
        {"name": "recipient", "valueString": _recipient(options)},
        {"name": "address", "valueUri": address},
        {"name": "purpose", "valueCode": options.purpose},
    ]
    return str(_disclose(client, parameters)["disclosure"])


def _tell(client: FhirClient, disclosure: str, files: list[Written]) -> int:
    """Tell the server that these files are handed over; the number of patients in them."""
    parameters = [
        {"name": "disclosure", "valueString": disclosure},
        *(file.parameter() for file in files),
    ]
    return int(_disclose(client, parameters)["patients"])


def _disclose(client: FhirClient, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    body = dump_json({"resourceType": "Parameters", "parameter": parameters})
    answer = _answer(client.post(body, "/AuditEvent/$disclose"), "the export cannot be audited")
    return {
        parameter["name"]: next((value for key, value in parameter.items() if key.startswith("value")), None)
        for parameter in answer["parameter"]
    }


def _recipient(options: argparse.Namespace) -> str:
    if options.recipient:
        return str(options.recipient)
    user = str(os.getuid())
    with suppress(KeyError, OSError):
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}"


def _types(client: FhirClient) -> list[str]:
    answer = _answer(client.get("metadata"))
    return [resource["type"] for resource in answer["rest"][0]["resource"]]


def _part(type: str, options: argparse.Namespace) -> Written:
    target = options.output / (f"{type}.ndjson" + (".gz" if options.gzip else ""))
    return Written(type, target.with_name(f".{target.name}.part"), target, 0)


def _write(client: FhirClient, to: Written, compressed: bool, progress: Progress) -> Written:
    """Writes the resources of a type to where its file is made."""
    count = 0
    with cast("BinaryIO", gzip.open(to.part, "wb", 6) if compressed else to.part.open("wb")) as file:
        for resource in _resources(client, to.type):
            file.write(dump_json(resource) + b"\n")
            count += 1
            progress.advance(1)
    return Written(to.type, to.part, to.target, count)


def _resources(client: FhirClient, type: str) -> Iterator[Any]:
    url = f"{type}?_count={PAGE}"
    while url:
        page = _answer(client.get(url))
        for entry in page.get("entry", []):
            if entry.get("search", {}).get("mode", "match") == "match":
                yield entry["resource"]
        url = next((link["url"] for link in page.get("link", []) if link["relation"] == "next"), "")


def _answer(reply: Reply, failure: str = "") -> dict[str, Any]:
    if reply.status != 200:
        said = f"the server answered {reply.status}: {outcome_text(reply.json())}"
        raise CommandFailed(f"{failure}: {said}" if failure else said)
    found: dict[str, Any] = parse_json(reply.body)
    return found
