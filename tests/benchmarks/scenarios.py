"""What is run against a server that is up: loading, reads, searches, CRUD mix, creates, Synthea bundles."""

from __future__ import annotations

import gzip
import itertools
import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import orjson

from tests.benchmarks.client import Call, Measured, Source, fetch, load, request
from tests.benchmarks.clinic import MARK, World
from tests.benchmarks.figures import figures
from tests.benchmarks.processes import Family
from tests.benchmarks.shapes import PAGE, SHAPES, Shape

Json = dict[str, Any]
TYPES = ("Patient", "Encounter", "Observation", "Condition", "Appointment")
MIX = (("create", 10), ("read", 60), ("update", 25), ("delete", 5))
LOCATION = re.compile(rb"\r\nlocation: *([^\r]+)", re.IGNORECASE)
RESOURCE_URL = re.compile(r"/([A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64})(?:/_history/[^/]+)?$")


@dataclass
class Bench:
    """One server under measurement. `base`: path of the FHIR base. `seconds`: length of a timed run."""

    port: int
    base: str
    world: World
    seconds: float
    family: Family | None = None
    clients: int = 64
    only: re.Pattern[str] | None = None
    rows: list[Json] = field(default_factory=list)
    say: Callable[[str], None] = print

    def cpu(self) -> dict[str, float]:
        """CPU seconds of the server so far, by role."""
        return self.family.cpu() if self.family else {}

    def measure(
        self,
        scenario: str,
        source: Source,
        *,
        clients: int,
        seconds: float,
        limit: int = 10_000_000,
        **more: Any,
    ) -> Measured:
        """Run `source` and keep its figures under `scenario`."""
        before = self.cpu()
        measured = load(self.port, source, clients=clients, seconds=seconds, limit=limit)
        cpu = {role: seconds - before.get(role, 0) for role, seconds in self.cpu().items()}
        rows = figures(scenario, self.world.patients, clients, measured, cpu, **more)
        self.rows += rows
        self.tell(scenario, rows[-1])
        return measured

    def tell(self, scenario: str, row: Json) -> None:
        """Print one line about a row."""
        wrong = f"  ERRORS {row['error_kinds']}" if row["errors"] else ""
        self.say(
            f"  {scenario:<40} {row['rate']:>9.1f}/s p50 {row['p50']:>8.2f} p99 {row['p99']:>8.2f} ms{wrong}"
        )


def cycle(calls: list[Call]) -> Source:
    """A source that gives the calls round and round."""
    return itertools.cycle(calls).__next__


# loading


def transaction(resources: list[Json], base: str) -> bytes:
    """A transaction Bundle that puts each resource under its own id, as a request."""
    entries = [
        {
            "resource": resource,
            "request": {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"},
        }
        for resource in resources
    ]
    return request(
        "POST", base, orjson.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries})
    )


class NotLoaded(RuntimeError):
    """The data is not there, so whatever was measured on it would mean nothing."""


def load_world(bench: Bench) -> None:
    """Load the whole world by transactions; the row's `resources_per_second` is the rate of import.

    A transaction that fails is an error of the run; so that the rest means something it is sent again, alone.
    Raises NotLoaded where that fails as well or the time (15 minutes) was up.
    """
    sent = 0
    failed: list[bytes] = []

    def calls() -> Iterator[Call]:
        nonlocal sent
        for serial, resources in enumerate(bench.world.batches()):
            sent += len(resources)
            data = transaction(resources, bench.base).replace(MARK.encode(), b"%08d" % serial)
            yield Call("transaction", data, (200,), partial(note, data))

    def note(data: bytes, status: int, _head: bytes, _body: bytes) -> None:
        if status != 200:
            failed.append(data)

    stream = calls()
    measured = bench.measure("load", lambda: next(stream, None), clients=8, seconds=900)
    rate = round(sent * measured.good / (measured.good + len(failed) or 1) / measured.elapsed, 1)
    bench.rows[-1] |= {"resources_per_second": rate, "resources": sent}
    bench.say(f"  {sent} resources, {rate:.0f} resources/s")
    again = load(bench.port, iter_source([Call("transaction", data) for data in failed]), seconds=300)
    if again.errors or "transaction connection lost" in measured.errors or next(stream, None) is not None:
        what = dict(again.errors or measured.errors) or "the time was up"
        raise NotLoaded(f"loading failed: {what}; {(again.samples or measured.samples)[:1]}")


def import_synthea(bench: Bench, folder: Path) -> None:
    """Import the Synthea transaction bundles, four at a time."""
    bodies = []
    for path in sorted(folder.glob("*.json*")):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        bodies.append((len(orjson.loads(data)["entry"]), data))
    calls = [Call("transaction", request("POST", bench.base, data)) for _, data in bodies]
    resources = sum(count for count, _ in bodies)
    measured = bench.measure("synthea import", iter_source(calls), clients=4, seconds=300)
    # one bundle is never counted in part: a failed one counts nothing
    rate = resources * (measured.good / max(1, len(calls))) / measured.elapsed
    bench.rows[-1] |= {"resources": resources, "resources_per_second": round(rate, 1)}
    bench.say(f"  {len(calls)} bundles, {resources} resources, {rate:.0f} resources/s")


def iter_source(calls: list[Call]) -> Source:
    """A source that gives each call once."""
    stream = iter(calls)
    return lambda: next(stream, None)


# reads


def read_calls(bench: Bench, count: int = 5000) -> list[Call]:
    """Reads of patients by lot."""
    rng = Random(f"{bench.world.seed}/reads")
    paths = [f"{bench.base}/Patient/{bench.world.any_patient(rng)}" for _ in range(count)]
    return [Call("read", request("GET", path)) for path in paths]


def reads_against_bare(bench: Bench, bare_port: int | None, rounds: int = 3) -> None:
    """Pure reads and bare answers in turns, so that noise meets both; the median ratio is kept."""
    reads = read_calls(bench)
    load(bench.port, cycle(reads), clients=bench.clients, seconds=1)
    ratios: list[float] = []
    for i in range(rounds):
        if bare_port is not None:
            answer = load(bare_port, cycle(reads), clients=bench.clients, seconds=bench.seconds / 2)
            bench.rows += figures(f"bare {i + 1}", bench.world.patients, bench.clients, answer, {})
            bench.tell(f"bare {i + 1}", bench.rows[-1])
        measured = bench.measure(
            f"read {i + 1}", cycle(reads), clients=bench.clients, seconds=bench.seconds / 2
        )
        if bare_port is not None:
            ratios.append(measured.rate / max(1.0, bench.rows[-2]["rate"]))
    if ratios:
        ratio = round(statistics.median(ratios), 3)
        bench.rows.append(
            {"scenario": "read/bare", "size": bench.world.patients, "kind": "ratio", "ratio": ratio}
        )
        bench.say(f"  reads at {ratio:.0%} of the rate of a bare response")


# searches


def searches(bench: Bench) -> None:
    """Each shape: one client for latency, then sixteen for rate."""
    for shape in SHAPES:
        if bench.only is None or bench.only.search(shape.name):
            _search(bench, shape)


def _search(bench: Bench, shape: Shape) -> None:
    rng = Random(f"{bench.world.seed}/{shape.name}")
    targets = [f"{bench.base}/{shape.draw(bench.world, rng)}" for _ in range(200)]
    if shape.deep:
        deep = _walk(bench, targets[0], int(bench.world.patients * shape.deep / PAGE))
        if deep is None:
            return
        targets = [deep]
    counts: list[int] = []
    calls = [Call("search", _as_request(target, post=shape.post)) for target in targets]
    load(bench.port, cycle(calls), clients=1, seconds=min(1.0, bench.seconds / 4), limit=20)
    looked = [call._replace(then=lambda _s, _h, body: counts.append(_entries(body))) for call in calls[:20]]
    load(bench.port, iter_source(looked), clients=1, seconds=20)
    found = {
        "shape": shape.name,
        "matches": shape.matches,
        "entries": round(statistics.mean(counts or [0]), 1),
    }
    name = f"search: {shape.name}"
    bench.measure(name, cycle(calls), clients=1, seconds=bench.seconds / 4, limit=300, **found)
    if not any(counts):
        bench.rows[-1]["errors"] += 1
        bench.rows[-1]["error_kinds"]["nothing found"] = 1
        bench.say(f"  {name}: NOTHING FOUND, so this measures little")
    if bench.rows[-1]["count"]:
        bench.measure(
            f"{name} x16", cycle(calls), clients=16, seconds=bench.seconds / 4, limit=2000, shape=shape.name
        )


def _as_request(target: str, *, post: bool) -> bytes:
    if not post:
        return request("GET", target)
    path, _, query = target.partition("?")
    head = request("POST", f"{path}/_search", None, "content-type: application/x-www-form-urlencoded")
    return head[:-2] + f"content-length: {len(query)}\r\n\r\n{query}".encode()


def _entries(body: bytes) -> int:
    """How much a searchset holds: its entries, or its total where only that was asked."""
    try:
        bundle = orjson.loads(body)
    except orjson.JSONDecodeError:
        return 0
    return len(bundle.get("entry", ())) or int(bundle.get("total") or 0)


def _walk(bench: Bench, target: str, pages: int) -> str | None:
    """Follow `next` for `pages` pages; the target of the page that is reached."""
    for page in range(pages):
        status, _, body = fetch(bench.port, "GET", target)
        links = orjson.loads(body).get("link", ()) if status == 200 else ()
        following = [link["url"] for link in links if link["relation"] == "next"]
        if not following:
            bench.say(f"  deep page: no further page after {page + 1} of {pages} (status {status})")
            row = {"scenario": "search: deep page", "size": bench.world.patients, "kind": "all", "errors": 1}
            bench.rows.append(row | {"error_kinds": {f"walk ended at {page + 1}": 1}})
            return None
        parts = urlsplit(following[0])
        target = parts.path + ("?" + parts.query if parts.query else "")
    return target


# writes


class Bodies:
    """Resources of the world to write again: each as bytes with a marker that makes every write a change."""

    def __init__(self, world: World, count: int) -> None:
        self.rng = Random(f"{world.seed}/bodies")
        self.by_type: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
        self.serial = 0
        while len(self.by_type["Patient"]) < count:
            for resource in world.any_block(self.rng).record_of(self.rng.randrange(250)):
                if resource["resourceType"] in TYPES:
                    body = orjson.dumps(resource)
                    self.by_type[resource["resourceType"]].append((resource["id"], body))

    def draw(self) -> tuple[str, str, bytes]:
        """Type, id and a body that was never written before."""
        chosen = self.rng.choice(TYPES)
        name, body = self.rng.choice(self.by_type[chosen])
        self.serial += 1
        return chosen, name, body.replace(MARK.encode(), b"%08d" % self.serial)


def crud_mix(bench: Bench) -> None:
    """Create 10, read 60, update 25, delete 5 in a hundred; five types; deletes take what the mix created."""
    bodies = Bodies(bench.world, 400)
    rng = Random(f"{bench.world.seed}/mix")
    kinds = [kind for kind, weight in MIX for _ in range(weight)]
    made: list[str] = []

    def note(status: int, head: bytes, _body: bytes) -> None:
        found = LOCATION.search(head)
        match = RESOURCE_URL.search(found[1].decode()) if status == 201 and found else None
        if match:
            made.append(match[1])

    def source() -> Call:
        kind = rng.choice(kinds)
        chosen, name, body = bodies.draw()
        if kind == "create" or (kind == "delete" and not made):
            return Call("create", request("POST", f"{bench.base}/{chosen}", body), (201,), note)
        if kind == "read":
            return Call("read", request("GET", f"{bench.base}/{chosen}/{name}"))
        if kind == "update":
            return Call("update", request("PUT", f"{bench.base}/{chosen}/{name}", body))
        at = rng.randrange(len(made))
        made[at], made[-1] = made[-1], made[at]
        return Call("delete", request("DELETE", f"{bench.base}/{made.pop()}"), (200, 204))

    bench.measure("crud mix", source, clients=bench.clients, seconds=bench.seconds * 2)


def creates(bench: Bench) -> None:
    """Nothing but creates, five types."""
    bodies = Bodies(bench.world, 400)

    def source() -> Call:
        chosen, _, body = bodies.draw()
        return Call("create", request("POST", f"{bench.base}/{chosen}", body), (201,))

    bench.measure("create", source, clients=bench.clients, seconds=bench.seconds)


def growth(rows: list[Json]) -> list[Json]:
    """For each shape the p50 at the largest size over that at the smallest, from the runs with one client."""
    sizes = sorted({row["size"] for row in rows})
    if len(sizes) < 2:
        return []
    at = {(row["shape"], row["size"]): row for row in rows if row.get("shape") and row["clients"] == 1}
    found = []
    for shape in SHAPES:
        low, high = at.get((shape.name, sizes[0])), at.get((shape.name, sizes[-1]))
        if low and high and low["p50"] and high["p50"]:
            ratio = round(high["p50"] / low["p50"], 2)
            found.append(
                {"shape": shape.name, "matches": shape.matches, "from": low["p50"], "to": high["p50"]}
            )
            found[-1] |= {"ratio": ratio, "entries": [low["entries"], high["entries"]]}
    return found
