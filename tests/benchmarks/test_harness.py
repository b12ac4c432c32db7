"""The benchmark measures what it says: figures, client, data, comparison. No server is started here."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import orjson
import pytest

from tests.benchmarks.client import Call, load, request, unchunked
from tests.benchmarks.clinic import PATIENTS, World
from tests.benchmarks.figures import latency, percentile
from tests.benchmarks.report import compare, targets
from tests.benchmarks.scenarios import growth
from tests.benchmarks.shapes import SHAPES

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


@contextmanager
def answering(answer: Callable[[bytes], list[bytes]]) -> Iterator[int]:
    """A server on loopback: it answers with the pieces that `answer` gives, closes where there are none."""
    loop = asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                pieces = answer(head)
                if not pieces:
                    break
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def close(server: asyncio.Server) -> None:
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.run_until_complete(close(server))
        loop.close()


def test_percentiles_are_values_that_occurred() -> None:
    assert percentile([1, 2, 3, 4], 0.5) == 2
    assert percentile([1, 2, 3, 4], 0.99) == 4
    assert percentile([], 0.5) == 0
    assert latency([0.002, 0.001])["p50"] == 1.0


def test_the_client_counts_answers_and_stops_at_the_limit() -> None:
    with answering(lambda _head: [OK]) as port:
        call = Call("read", request("GET", "/x"))
        measured = load(port, lambda: call, clients=4, limit=50)
    assert measured.good == len(measured.latencies["read"]) == 50
    assert not measured.errors


def test_another_status_is_an_error_and_no_latency() -> None:
    refused = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone"
    with answering(lambda head: [refused if b"/bad" in head else OK]) as port:
        calls = [Call("read", request("GET", "/bad")), Call("read", request("GET", "/good"))]
        measured = load(port, lambda: calls.pop() if calls else None)
    assert measured.errors == Counter({"read 404": 1})
    assert measured.samples == ["read 404: gone"]
    assert measured.good == 1


@pytest.mark.parametrize(
    ("pieces", "body"),
    [
        ([b"HTTP/1.1 200 OK\r\nContent-Len", b"gth: 5\r\n\r\nab", b"cde"], b"abcde"),
        (
            [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n"],
            b"abcde",
        ),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"], b""),
    ],
)
def test_answers_in_pieces_are_put_together(pieces: list[bytes], body: bytes) -> None:
    bodies: list[bytes] = []
    with answering(lambda _head: pieces) as port:
        call = Call("read", request("GET", "/"), (200,), lambda _status, _head, got: bodies.append(got))
        assert load(port, lambda: call, limit=2).good == 2
    assert bodies == [body, body]


def test_a_lost_connection_is_an_error_and_is_made_anew() -> None:
    seen = Counter[str]()

    def answer(_head: bytes) -> list[bytes]:
        seen["requests"] += 1
        return [] if seen["requests"] == 1 else [OK]

    with answering(answer) as port:
        call = Call("read", request("GET", "/"))
        measured = load(port, lambda: call, limit=3)
    assert measured.errors == Counter({"read connection lost": 1})
    assert measured.good == 2


def test_chunks_with_extensions_are_joined() -> None:
    assert unchunked(b"1;x=y\r\na\r\n2\r\nbc\r\n0\r\n\r\n") == b"abc"


def test_a_world_is_the_same_each_time_and_grows_by_whole_blocks() -> None:
    small, large = World.of(7, PATIENTS), World.of(7, 2 * PATIENTS + 1)
    assert large.patients == 3 * PATIENTS
    first = [orjson.dumps(batch) for batch in small.batches()]
    again = [orjson.dumps(batch) for batch, _ in zip(large.batches(), first, strict=False)]
    assert first == again
    ids = [f"{r['resourceType']}/{r['id']}" for batch in large.batches() for r in batch]
    assert len(ids) == len(set(ids))
    assert World.of(8, PATIENTS).block(0).record_of(0) != small.block(0).record_of(0)


def test_every_reference_of_a_world_leads_somewhere() -> None:
    resources = [r for batch in World.of(7, PATIENTS).batches() for r in batch]
    ids = {f"{r['resourceType']}/{r['id']}" for r in resources}
    text = orjson.dumps(resources).decode()
    references = {part.split('"', 1)[0] for part in text.split('"reference":"')[1:]}
    assert references <= ids


def test_there_are_thirty_shapes_at_least_and_each_draws_different_searches() -> None:
    assert len(SHAPES) >= 30
    assert len({shape.name for shape in SHAPES}) == len(SHAPES)
    world = World.of(7, 1000)
    for shape in SHAPES:
        rng = Random(1)
        drawn = {shape.draw(world, rng) for _ in range(20)}
        assert all(target.isascii() and " " not in target for target in drawn)
        assert len(drawn) > 1 or shape.matches in ("page", "all")


def report(rate: float, p50: float) -> dict[str, object]:
    rows = [
        {"scenario": "create", "size": 1000, "kind": "all", "rate": rate, "p50": p50, "errors": 0},
        {"scenario": "idle", "size": 1000, "kind": "memory", "worker_mb": 300},
    ]
    return {"rows": rows, "growth": [{"shape": "token", "matches": "fixed", "ratio": 1.2}]}


def test_runs_are_compared_as_ratios() -> None:
    ratios = compare(report(2000, 1.0), report(1000, 4.0))[0]["ratios"]
    assert ratios == {"rate": 2.0, "p50": 0.25}


def test_targets_are_met_or_missed_by_the_worst_figure() -> None:
    found = {line["target"].split(" ")[0]: line["met"] for line in targets(report(1400, 1.0))}
    assert found == {"create": False, "idle": False, "search": True, "errors": True}


def test_growth_is_the_largest_size_over_the_smallest() -> None:
    head = {"shape": "token", "clients": 1, "matches": "fixed", "entries": 1}
    rows = [{**head, "size": size, "p50": p50} for size, p50 in ((1000, 2.0), (4000, 9.0), (16000, 3.0))]
    (line,) = growth(rows)
    assert line["ratio"] == 1.5
    assert growth(rows[:1]) == []
