"""A real ATNA repository for tests, as far as a feed sees one: it takes AuditEvents over HTTP or TLS and keeps them."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

from tests.kit.rsyslog import Certificates
from tests.kit.server import free_port


class Repository:
    """Listens on one port of loopback between `start` and `stop`. `taken`: the bodies; `status`: what it answers.

    `certificates`: it speaks TLS and wants a certificate of the same authority. `refuse_after`: so many are taken before
    it answers 503.
    """

    def __init__(self, certificates: Certificates | None = None) -> None:
        self.port = free_port()
        self.taken: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, str]] = []
        self.connections: list[socket.socket] = []
        self.status = 201
        self.refuse_after: int | None = None
        self._certificates = certificates
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self._certificates else 'http'}://127.0.0.1:{self.port}/fhir"

    def start(self) -> None:
        repository = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                repository.connections.append(self.connection)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if len(body) < int(self.headers["content-length"]):
                    return  # stopped in the middle of a request
                status = repository.take(
                    self.path, body, self.headers["content-type"], self.headers.get("authorization", "")
                )
                self.send_response(status)
                self.send_header("content-length", "0")
                self.send_header("location", "https://elsewhere.example/fhir/AuditEvent/1")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        if (made := self._certificates) is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(made.cert("server"), made.key("server"))
            context.load_verify_locations(made.ca)
            context.verify_mode = ssl.CERT_REQUIRED
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def take(self, path: str, body: bytes, type: str, authorization: str) -> int:
        """What comes of a request: the status of its answer."""
        self.requests.append((path, type, authorization))
        if self.refuse_after is not None and len(self.taken) >= self.refuse_after:
            return 503
        if self.status == 201:
            self.taken.append(orjson.loads(body))
        return self.status

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            while self.connections:
                with suppress(OSError):
                    self.connections.pop().shutdown(socket.SHUT_RDWR)
            self._server = None
