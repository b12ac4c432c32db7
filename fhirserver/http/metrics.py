"""What the server counts, in the text format of Prometheus.

The hot path adds to plain numbers; `prometheus_client` is asked only when somebody scrapes, through a
collector that turns the numbers into metric families. (Its own counters lock and look labels up on every
call, and its multi-process mode writes to mapped files: several times the cost, and chosen by a variable at
import.)

Several worker processes: each writes a snapshot of its numbers into a common folder every second, and the
worker that is scraped adds up the snapshots of the others and its own numbers as they are now. The last
snapshot of a worker that is gone still counts, so totals never fall; gauges come from living workers only.
The parent process empties the folder before it starts the workers (`forget`).

Sources: prometheus.io/docs/instrumenting/exposition_formats, prometheus.io/docs/practices/naming
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ITEMS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
MOST_SERIES = 3000  # label values come from tables; should that fail once, memory stays bounded
STALE = 10.0  # seconds after which a silent worker's gauges count no longer
SNAPSHOT_EVERY = 1.0
MONGOD_STATES = ("up", "down", "starting")
_OTHER = "other"
_POOL_EVENTS = ("opened", "closed", "taken", "returned", "refused")


class Histogram:
    """Counts by bucket of one series, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


@dataclass
class _Numbers:
    """The numbers of one worker, or of several added up. Keys are label values joined by a space."""

    requests: dict[str, list[Any]] = field(default_factory=dict)  # [counts by bucket, sum of seconds]
    batches: dict[str, list[Any]] = field(default_factory=dict)
    batch_seconds: dict[str, float] = field(default_factory=dict)
    pool: dict[str, int] = field(default_factory=dict)
    gauges: dict[str, float] = field(default_factory=dict)

    def add(self, other: dict[str, Any], *, alive: bool) -> None:
        """Add a snapshot to these."""
        for mine, theirs in ((self.requests, other["requests"]), (self.batches, other["batches"])):
            for key, (counts, total) in theirs.items():
                held = mine.setdefault(key, [[0] * len(counts), 0.0])
                held[0] = [a + b for a, b in zip(held[0], counts, strict=True)]
                held[1] += total
        for key, seconds in other["batch_seconds"].items():
            self.batch_seconds[key] = self.batch_seconds.get(key, 0.0) + seconds
        for key, count in other["pool"].items():
            self.pool[key] = self.pool.get(key, 0) + count
        if alive:
            for key, value in other["gauges"].items():
                self.gauges[key] = self.gauges.get(key, 0) + value


class Metrics:
    """The numbers of this worker. Its recording methods never block, raise or wait.

    `folder`: where the workers of one server leave their snapshots; None for a single worker.
    """

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(
        self, folder: Path | None = None, *, name: str = "", clock: Callable[[], float] = time.time
    ) -> None:
        self._requests: dict[tuple[str, str, int], Histogram] = {}
        self._batches: dict[str, Histogram] = {}
        self._batch_seconds: dict[str, float] = {}
        self._pool = dict.fromkeys(_POOL_EVENTS, 0)
        self._mongod = ""
        self._folder = folder
        self._clock = clock
        self._name = name or f"{os.getpid()}-{time.time_ns()}"
        self.in_flight = 0
        self._registry = CollectorRegistry()
        self._registry.register(_Families(self))

    # recording

    def started(self) -> None:
        """A request has begun; `ended` must follow, whatever happens."""
        self.in_flight += 1

    def ended(self) -> None:
        """A request that had begun is over."""
        self.in_flight -= 1

    def observe(self, interaction: str, type: str, status: int, seconds: float) -> None:
        """Count an answered request.

        `interaction` and `type` come from the server's tables, never from the wire: each pair is a series.
        """
        key = (interaction, type, status // 100)
        series = self._requests.get(key)
        if series is None:
            series = self._new_series(key)
        series.counts[bisect_left(SECONDS, seconds)] += 1
        series.sum += seconds

    def _new_series(self, key: tuple[str, str, int]) -> Histogram:
        if len(self._requests) >= MOST_SERIES:
            key = (_OTHER, _OTHER, key[2])
        return self._requests.setdefault(key, Histogram(SECONDS))

    def on_batch(self, name: str, items: int, seconds: float) -> None:
        """Count a group commit; the hook of store.batcher. `seconds`: the time of its database call."""
        series = self._batches.get(name)
        if series is None:
            series = self._batches[name] = Histogram(ITEMS)
        series.add(items)
        self._batch_seconds[name] = self._batch_seconds.get(name, 0.0) + seconds

    def on_pool(self, event: str) -> None:
        """Count what happened to a database connection: opened, closed, taken, returned, refused.

        The store's ConnectionPoolListener calls it. Raises KeyError for another word.
        """
        self._pool[event] += 1

    def on_mongod(self, state: str) -> None:
        """Note how the database does: up, down or starting. Raises ValueError for another word."""
        if state not in MONGOD_STATES:
            raise ValueError(state)
        self._mongod = state

    # showing

    def exposition(self) -> bytes:
        """The metrics of all workers in the text format."""
        return generate_latest(self._registry)

    def numbers(self) -> dict[str, Any]:
        """This worker's numbers as JSON: the content of its snapshot."""
        return {
            "time": self._clock(),
            "requests": {f"{i} {t} {s}": [h.counts, h.sum] for (i, t, s), h in self._requests.items()},
            "batches": {name: [h.counts, h.sum] for name, h in self._batches.items()},
            "batch_seconds": self._batch_seconds,
            "pool": self._pool,
            "gauges": {
                "workers": 1,
                "in_flight": self.in_flight,
                "pool_open": self._pool["opened"] - self._pool["closed"],
                "pool_taken": self._pool["taken"] - self._pool["returned"],
                **({f"mongod {self._mongod}": 1} if self._mongod else {}),
            },
        }

    def snapshot(self) -> None:
        """Leave this worker's numbers for the others; due every SNAPSHOT_EVERY seconds and at the end.

        Takes well under a millisecond. Without a folder it does nothing.
        """
        if self._folder is None:
            return
        target = self._folder / f"{self._name}.json"
        draft = target.with_suffix(".tmp")
        draft.write_bytes(orjson.dumps(self.numbers()))
        draft.replace(target)

    def total(self) -> _Numbers:
        """The numbers of all workers, added up."""
        total = _Numbers()
        total.add(self.numbers(), alive=True)
        for path in self._folder.glob("*.json") if self._folder is not None else ():
            if path.stem == self._name:
                continue
            try:
                other = orjson.loads(path.read_bytes())
            except (OSError, orjson.JSONDecodeError):
                continue
            total.add(other, alive=self._clock() - other["time"] < STALE)
        return total


class _Families(Collector):
    """Turns the numbers into the families that prometheus_client writes out."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> Iterator[Metric]:
        """Nothing: the registry need not look for names that occur twice."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """All families."""
        numbers = self._metrics.total()
        yield from _request_families(numbers)
        yield from _batch_families(numbers)
        yield from _database_families(numbers)


def _request_families(numbers: _Numbers) -> Iterator[Metric]:
    labels = ("interaction", "type", "status")
    count = CounterMetricFamily("fhirserver_requests", "Answered requests.", labels=labels)
    latency = HistogramMetricFamily(
        "fhirserver_request_duration_seconds", "From the request's head to its answer.", labels=labels
    )
    for key, (counts, total) in sorted(numbers.requests.items()):
        interaction, kind, status = key.split(" ")
        values = (interaction, kind, f"{status}xx")
        count.add_metric(values, sum(counts))
        latency.add_metric(values, _buckets(SECONDS, counts), total)
    yield count
    yield latency
    gauges = numbers.gauges
    yield GaugeMetricFamily(
        "fhirserver_requests_in_flight", "Being answered now.", gauges.get("in_flight", 0)
    )
    yield GaugeMetricFamily("fhirserver_workers", "Worker processes that report.", gauges.get("workers", 0))


def _batch_families(numbers: _Numbers) -> Iterator[Metric]:
    sizes = HistogramMetricFamily(
        "fhirserver_batch_items", "Operations that one group commit carried.", labels=("batcher",)
    )
    seconds = CounterMetricFamily(
        "fhirserver_batch_call_seconds", "Time in the database calls of group commits.", labels=("batcher",)
    )
    for name, (counts, total) in sorted(numbers.batches.items()):
        sizes.add_metric((name,), _buckets(ITEMS, counts), total)
        seconds.add_metric((name,), numbers.batch_seconds.get(name, 0.0))
    yield sizes
    yield seconds


def _database_families(numbers: _Numbers) -> Iterator[Metric]:
    events = CounterMetricFamily(
        "fhirserver_mongo_pool_events", "What happened to database connections.", labels=("event",)
    )
    for event in _POOL_EVENTS:
        events.add_metric((event,), numbers.pool.get(event, 0))
    yield events
    connections = GaugeMetricFamily(
        "fhirserver_mongo_connections",
        "Database connections that are open, and taken of them.",
        labels=("state",),
    )
    connections.add_metric(("open",), numbers.gauges.get("pool_open", 0))
    connections.add_metric(("taken",), numbers.gauges.get("pool_taken", 0))
    yield connections
    states = GaugeMetricFamily(
        "fhirserver_mongod_state", "Workers that see the database in this state.", labels=("state",)
    )
    for state in MONGOD_STATES:
        states.add_metric((state,), numbers.gauges.get(f"mongod {state}", 0))
    yield states


def _buckets(bounds: tuple[float, ...], counts: list[int]) -> list[tuple[str, float]]:
    """Cumulative buckets as prometheus_client wants them."""
    reached, buckets = 0, []
    for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=True):
        reached += count
        buckets.append((bound, float(reached)))
    return buckets
