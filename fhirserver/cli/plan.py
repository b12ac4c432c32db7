"""From documents to requests: what is sent how, and in which portions. Pure: nothing is sent here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fhirserver.cli.sources import Document
from fhirserver.outcome import OutcomeError
from fhirserver.r4.jsontext import dump_json, parse_json

UNPACKED = frozenset({"collection", "searchset"})
BATCH_ENTRIES = 100
BATCH_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Label:
    """Where a resource came from. `entry`: its place in the Bundle, from 0. `line`: in NDJSON, from 1."""

    source: str
    line: int | None = None
    entry: int | None = None
    reference: str = ""

    def __str__(self) -> str:
        place = f" line {self.line}" if self.line is not None else ""
        place += f" entry {self.entry}" if self.entry is not None else ""
        return f"{self.source}{place}{f' ({self.reference})' if self.reference else ''}"


@dataclass(frozen=True, slots=True)
class Failure:
    """What could not be loaded. `status`: of HTTP, 0 where nothing was sent."""

    label: Label
    status: int
    text: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Request:
    """A Bundle to POST.

    `digests`: for each label of a batch what identifies it where sending it again would double it, else
    empty; for a transaction one, for all of it. `read`: bytes of the files read for it.
    """

    atomic: bool
    body: bytes
    labels: tuple[Label, ...]
    digests: tuple[str, ...]
    read: int


@dataclass(slots=True)
class _Entry:
    label: Label
    text: bytes
    digest: str


@dataclass(slots=True)
class Planner:
    """Turns documents into requests.

    `done`: digests of earlier runs. `limit`: entries that the server takes at once. `skipped`: files without
    FHIR in them. `known`: resources that an earlier run has created.
    """

    done: frozenset[str] = frozenset()
    limit: int = 1000
    skipped: int = 0
    known: int = 0
    _waiting: list[_Entry] = field(default_factory=list)
    _bytes: int = 0
    _read: int = 0

    def add(self, document: Document) -> Iterator[Request | Failure]:
        """What `document` makes due."""
        self._read += document.read
        label = Label(document.source, document.line)
        try:
            content = parse_json(document.text)
        except OutcomeError as problem:
            yield Failure(label, 0, str(problem))
            return
        type = content.get("resourceType") if isinstance(content, dict) else None
        if not isinstance(type, str):
            if document.named or document.line is not None:
                yield Failure(label, 0, "is no FHIR resource: it has no resourceType")
            else:
                self.skipped += 1
        elif type == "Bundle":
            yield from self._bundle(label, content, document.text)
        else:
            yield from self._queue([_put(label, content, document.text)])

    def flush(self) -> Iterator[Request]:
        """The last request: what is still waiting."""
        if self._waiting:
            waiting, self._waiting, self._bytes = self._waiting, [], 0
            body = (
                b'{"resourceType":"Bundle","type":"batch","entry":['
                + b",".join(e.text for e in waiting)
                + b"]}"
            )
            labels, digests = tuple(e.label for e in waiting), tuple(e.digest for e in waiting)
            yield Request(False, body, labels, digests, self._taken())

    def _bundle(self, label: Label, bundle: dict[str, Any], text: bytes) -> Iterator[Request | Failure]:
        entries = bundle.get("entry", [])
        kind = bundle.get("type")
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            yield Failure(label, 0, "Bundle.entry is no list of objects")
        elif kind == "transaction":
            yield from self._transaction(label, entries, text)
        elif kind == "batch":
            yield from self._queue(_entry(_inside(label, n, entry), entry) for n, entry in enumerate(entries))
        elif kind in UNPACKED:
            yield from self._unpacked(label, entries)
        else:  # document, message, history, responses: each is what it is only as a whole
            yield from self._queue([_put(label, bundle, text)])

    def _unpacked(self, label: Label, entries: list[dict[str, Any]]) -> Iterator[Request | Failure]:
        kept = [
            (_inside(label, n, entry), entry)
            for n, entry in enumerate(entries)
            if isinstance(entry.get("resource"), dict) and entry.get("search", {}).get("mode") != "outcome"
        ]
        if not any(str(entry.get("fullUrl", "")).startswith("urn:") for _, entry in kept):
            yield from self._queue(
                _put(inside, entry["resource"], dump_json(entry["resource"])) for inside, entry in kept
            )
            return
        # entries refer to each other by addresses that only a transaction resolves
        sent = [
            {**_only(entry, "fullUrl", "resource"), "request": _request(entry["resource"])}
            for _, entry in kept
        ]
        text = dump_json({"resourceType": "Bundle", "type": "transaction", "entry": sent})
        yield from self._transaction(label, sent, text)

    def _transaction(
        self, label: Label, entries: list[dict[str, Any]], body: bytes
    ) -> Iterator[Request | Failure]:
        labels = tuple(_inside(label, n, entry) for n, entry in enumerate(entries))
        digest = _digest(body) if any(_doubles(entry.get("request")) for entry in entries) else ""
        if len(entries) > self.limit:
            text = (
                f"a transaction of {len(entries)} entries is over the server's limit of {self.limit}; "
                "it is not split, because it is all or nothing. Raise FHIRSERVER_LIMITS__BUNDLE_ENTRIES."
            )
            yield Failure(label, 0, text, len(entries))
        elif digest in self.done:
            self.known += len(entries)
        elif entries:
            yield Request(True, body, labels, (digest,), self._taken())

    def _queue(self, entries: Iterable[_Entry]) -> Iterator[Request]:
        for entry in entries:
            if entry.digest in self.done:
                self.known += 1
                continue
            if self._bytes + len(entry.text) > BATCH_BYTES or len(self._waiting) >= min(
                BATCH_ENTRIES, self.limit
            ):
                yield from self.flush()
            self._waiting.append(entry)
            self._bytes += len(entry.text)

    def _taken(self) -> int:
        read, self._read = self._read, 0
        return read


def _put(label: Label, resource: dict[str, Any], text: bytes) -> _Entry:
    """The entry that stores `resource`, whose JSON is `text`: as it came, byte for byte."""
    request = _request(resource)
    whole = b'{"resource":' + text.strip() + b',"request":' + dump_json(request) + b"}"
    named = Label(label.source, label.line, label.entry, _name(resource))
    return _Entry(named, whole, "" if request["method"] == "PUT" else _digest(whole))


def _entry(label: Label, entry: dict[str, Any]) -> _Entry:
    text = dump_json(entry)
    return _Entry(label, text, _digest(text) if _doubles(entry.get("request")) else "")


def _request(resource: dict[str, Any]) -> dict[str, str]:
    name = _name(resource)
    return {"method": "PUT" if "/" in name else "POST", "url": name}


def _name(resource: Any) -> str:
    """Type/id, or the type alone where there is no id."""
    type, id = str(resource.get("resourceType", "")), resource.get("id")
    return f"{type}/{id}" if isinstance(id, str) and id else type


def _inside(label: Label, place: int, entry: dict[str, Any]) -> Label:
    resource = entry.get("resource")
    return Label(label.source, label.line, place, _name(resource) if isinstance(resource, dict) else "")


def _only(entry: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: entry[name] for name in names if name in entry}


def _doubles(request: Any) -> bool:
    """Whether sending the entry twice makes two resources."""
    return isinstance(request, dict) and request.get("method") == "POST" and "ifNoneExist" not in request


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
