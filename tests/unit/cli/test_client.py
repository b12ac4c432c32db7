"""The client of the commands against a server made of plain sockets: what connections may do to it."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fhirserver.cli.client import FhirClient, Unreachable

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
REFUSAL = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"


@contextmanager
def serving(*turns: Callable[[socket.socket], None]) -> Iterator[tuple[FhirClient, threading.Semaphore]]:
    """A client of a server that gives each connection to the next of `turns`, then closes it and says so."""
    closed = threading.Semaphore(0)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run() -> None:
            for turn in turns:
                connection, _ = listening.accept()
                with connection:
                    turn(connection)
                closed.release()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        client = FhirClient(f"http://127.0.0.1:{listening.getsockname()[1]}/fhir")
        yield client, closed
        client.close()
        thread.join(10)


def request_of(connection: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)


def answer_once(connection: socket.socket) -> None:
    request_of(connection)
    connection.sendall(ANSWER)


def refuse_unread(connection: socket.socket) -> None:
    request_of(connection)
    connection.sendall(REFUSAL)
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(0.2)  # take a little of the body, as a server does before it gives up
    connection.recv(1024)


def hang_up(connection: socket.socket) -> None:
    request_of(connection)


def test_a_connection_that_the_server_closed_meanwhile_is_opened_anew() -> None:
    with serving(answer_once, answer_once) as (client, closed):
        assert client.post(b"{}").status == 200
        assert closed.acquire(timeout=10)
        assert client.post(b"{}").status == 200


def test_a_refusal_sent_before_the_body_was_read_is_told() -> None:
    with serving(refuse_unread) as (client, _):
        assert client.post(b"x" * (8 * 2**20)).status == 413


def test_a_write_that_met_no_answer_is_not_repeated() -> None:
    with serving(hang_up) as (client, _), pytest.raises(Unreachable):
        client.post(b"{}")
