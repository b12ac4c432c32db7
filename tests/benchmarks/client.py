"""A load client that costs little: HTTP/1.1 keep-alive over asyncio protocols, no task or future per request.

Each connection sends a request, waits for the whole answer, and asks its source for the next (closed loop).
It speaks to loopback only, and every run is bounded in requests and in time.
"""

from __future__ import annotations

import asyncio
import gc
import time
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

HOST = "127.0.0.1"
LONGEST_RUN = 900.0
GRACE = 30.0
GIVE_UP = 200  # failed or lost connections, after which a run ends early
SAMPLES = 3


class Call(NamedTuple):
    """One request. `kind`: label of its figures. `data`: what to send. `good`: statuses that are no error.

    `then`: gets (status, head, body) of the answer, outside the measured time.
    """

    kind: str
    data: bytes
    good: tuple[int, ...] = (200,)
    then: Callable[[int, bytes, bytes], None] | None = None


Source = Callable[[], Call | None]


def request(method: str, path: str, body: bytes | None = None, *headers: str) -> bytes:
    """The bytes of a request. `path`: target with the leading slash. `body`: FHIR JSON."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {HOST}", "accept: application/fhir+json", *headers]
    if body is not None:
        lines += ["content-type: application/fhir+json", f"content-length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


@dataclass
class Measured:
    """What a run saw. `latencies`: seconds by kind, answered requests with a good status only.

    `errors`: how many of what; `samples`: the first such answers. `elapsed`: seconds of wall clock.
    `client_cpu`: seconds of CPU that the client itself took. `received`: bytes of bodies.
    """

    latencies: dict[str, array[float]] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    samples: list[str] = field(default_factory=list)
    elapsed: float = 0.0
    client_cpu: float = 0.0
    received: int = 0

    @property
    def good(self) -> int:
        """Requests that were answered as they should be."""
        return sum(len(values) for values in self.latencies.values())

    @property
    def rate(self) -> float:
        """Good answers per second."""
        return self.good / self.elapsed if self.elapsed else 0.0

    def fail(self, what: str, sample: bytes = b"") -> None:
        """Count an error; the first ones are kept."""
        self.errors[what] += 1
        if sample and len(self.samples) < SAMPLES:
            self.samples.append(f"{what}: {sample[:300].decode(errors='replace')}")


class _Run:
    """One run: its connections share the source, the bounds and the figures."""

    def __init__(self, port: int, source: Source, limit: int) -> None:
        self.port, self.source, self.left = port, source, limit
        self.measured = Measured()
        self.over = False
        self.open: set[_Connection] = set()
        self.done = asyncio.get_running_loop().create_future()
        self.tasks: set[asyncio.Task[None]] = set()

    def next(self) -> Call | None:
        if self.over or self.left <= 0:
            return None
        call = self.source()
        if call is not None:
            self.left -= 1
        return call

    def closed(self, connection: _Connection) -> None:
        self.open.discard(connection)
        if not self.open and not self.tasks and not self.done.done():
            self.done.set_result(None)

    def dial(self) -> None:
        task = asyncio.ensure_future(self._dial())
        self.tasks.add(task)

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(lambda: _Connection(self), HOST, self.port)
            if connection.transport is not None and not connection.transport.is_closing():
                self.open.add(connection)  # else there was nothing to send, and it is closed already
        except OSError as error:
            self.measured.fail(f"connect {type(error).__name__}")
        finally:
            task = asyncio.current_task()
            if task is not None:
                self.tasks.discard(task)
        if not self.open and not self.tasks and not self.done.done():
            self.done.set_result(None)


class _Connection(asyncio.Protocol):
    """One client: sends, reads one whole answer, sends again."""

    __slots__ = ("body_at", "buffer", "call", "end", "run", "started", "transport")

    def __init__(self, run: _Run) -> None:
        self.run = run
        self.transport: asyncio.Transport | None = None
        self.call: Call | None = None
        self.buffer = b""
        self.started = 0.0
        self.body_at = self.end = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.send()

    def send(self) -> None:
        call = self.call = self.run.next()
        assert self.transport is not None
        if call is None:
            self.transport.close()
            return
        self.buffer = b""
        self.end = -1
        self.started = time.perf_counter()
        self.transport.write(call.data)

    def data_received(self, data: bytes) -> None:
        if self.buffer:
            data = self.buffer + data
        if self.end < 0 and not self._head(data):
            self.buffer = data
            return
        if self.end == 0:  # chunked
            if not data.endswith(b"0\r\n\r\n"):
                self.buffer = data
                return
        elif len(data) < self.end:
            self.buffer = data
            return
        self._answered(data)

    def _head(self, data: bytes) -> bool:
        """Find where the body begins and ends; False: the head is not complete."""
        split = data.find(b"\r\n\r\n")
        if split < 0:
            return False
        self.body_at = split + 4
        at = data.find(b"content-length: ", 0, split)
        head = data
        if at < 0:
            head = data[:split].lower()
            at = head.find(b"content-length:")
        if at >= 0:
            stop = head.find(b"\r\n", at)
            self.end = self.body_at + int(head[at + 15 : stop if stop > 0 else split])
        else:
            self.end = 0 if b"transfer-encoding:" in head else self.body_at
        return True

    def _answered(self, data: bytes) -> None:
        now = time.perf_counter()
        run, call = self.run, self.call
        measured = run.measured
        assert call is not None
        self.call = None
        self.buffer = b""
        status = int(data[9:12])
        measured.received += len(data) - self.body_at
        if status in call.good:
            values = measured.latencies.get(call.kind)
            if values is None:
                values = measured.latencies[call.kind] = array("d")
            values.append(now - self.started)
        else:
            measured.fail(f"{call.kind} {status}", data[self.body_at :])
        if call.then is not None:
            body = data[self.body_at :] if self.end else unchunked(data[self.body_at :])
            call.then(status, data[: self.body_at], body)
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        run = self.run
        if self.call is not None:
            run.measured.fail(f"{self.call.kind} connection lost")
            if not run.over and sum(run.measured.errors.values()) < GIVE_UP:
                run.dial()
        run.closed(self)


def unchunked(data: bytes) -> bytes:
    """The body that a chunked transfer carries."""
    parts: list[bytes] = []
    at = 0
    while True:
        stop = data.index(b"\r\n", at)
        size = int(data[at:stop].split(b";")[0], 16)
        if size == 0:
            return b"".join(parts)
        parts.append(data[stop + 2 : stop + 2 + size])
        at = stop + 4 + size


async def _load(port: int, source: Source, clients: int, seconds: float, limit: int) -> Measured:
    run = _Run(port, source, limit)
    started, cpu = time.perf_counter(), time.process_time()
    for _ in range(clients):
        run.dial()
    await asyncio.wait([run.done], timeout=seconds)
    run.over = True
    if not run.done.done():
        await asyncio.wait([run.done], timeout=GRACE)
    run.measured.elapsed = time.perf_counter() - started
    run.measured.client_cpu = time.process_time() - cpu
    for connection in list(run.open):
        if connection.transport is not None:
            connection.transport.abort()
    await asyncio.sleep(0)
    return run.measured


def load(
    port: int, source: Source, *, clients: int = 1, seconds: float = LONGEST_RUN, limit: int = 10_000_000
) -> Measured:
    """Run `clients` connections against 127.0.0.1:`port` until source, `limit` or `seconds` end.

    An answer that is outstanding at the end is waited for (30 s at most) and counted.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        return asyncio.run(_load(port, source, clients, min(seconds, LONGEST_RUN), limit))
    finally:
        gc.enable()
        gc.unfreeze()


def fetch(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes, bytes]:
    """One request: (status, head, body); status 0 where there was no answer."""
    answers: list[tuple[int, bytes, bytes]] = []
    calls = [Call("fetch", request(method, path, body), (200,), lambda *answer: answers.append(answer))]
    load(port, lambda: calls.pop() if calls else None, seconds=60)
    return answers[0] if answers else (0, b"", b"")
