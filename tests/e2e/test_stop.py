"""Slow clients can neither hold a connection for ever nor hold up a stop (security.md D10)."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.kit.server import Server

_POST = b"POST /fhir/Patient HTTP/1.1\r\nHost: x\r\nContent-Type: application/fhir+json\r\n"
_STUCK = {
    "half a header": b"GET /fhir/Patient HTTP/1.1\r\nHost: x\r\n",
    "half a body": _POST + b"Content-Length: 1000\r\n\r\n{",
    "half a chunk": _POST + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n',
    "answers nobody reads": b"GET /fhir/metadata HTTP/1.1\r\nHost: x\r\n\r\n" * 50,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    limits = {"limits__body_seconds": "3", "stop_seconds": "1"}
    with Server(tmp_path_factory.mktemp("stop") / "data", **limits) as running:
        yield running


def sent(server: Server, data: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    connection.sendall(data)
    return connection


def test_a_body_that_does_not_arrive_is_refused(server: Server) -> None:
    with sent(server, _STUCK["half a body"]) as connection:
        answer = b""
        while b"}]}" not in answer:
            part = connection.recv(65536)
            assert part
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert json.loads(body)["issue"][0]["details"]["coding"][0]["code"] == "body-too-slow"
    assert httpx.post(f"{server.fhir}/Patient", json={"resourceType": "Patient"}).status_code == 201


def test_clients_that_are_stuck_do_not_hold_up_a_stop(server: Server) -> None:
    def stops() -> int:
        found = httpx.get(f"{server.fhir}/AuditEvent?subtype=110121&_summary=count")
        total: int = found.json()["total"]
        return total

    before = stops()
    stuck = [sent(server, data) for data in _STUCK.values() for _ in range(2)]
    httpx.get(f"{server.root}/healthz")
    assert server.stop() == 0
    for connection in stuck:
        connection.close()
    server.start()
    assert stops() > before  # the stop closed the audit log, it was not a kill
