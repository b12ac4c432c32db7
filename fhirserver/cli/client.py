"""A small FHIR client for the commands: blocking, one kept connection per thread, on the standard library."""

from __future__ import annotations

import http.client
import json
import select
import ssl
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fhirserver.cli.config import UsageError

_ATTEMPTS = 6
_TRY_LATER = {429, 503}
_LONGEST_WAIT = 10.0


class Unreachable(Exception):
    """The server does not answer."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer."""

    status: int
    body: bytes
    retry_after: float

    def json(self) -> Any:
        """The body as JSON; an empty object where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return {}


class FhirClient:
    """Talks to the FHIR base URL `base`, such as http://127.0.0.1:8000/fhir. Threads may share it."""

    def __init__(self, base: str, *, token: str | None = None, timeout: float = 300) -> None:
        url = urlsplit(base.rstrip("/"))
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise UsageError(f"{base!r} is not the URL of a server; it looks like http://127.0.0.1:8000/fhir")
        self.base = base.rstrip("/")
        self.root = f"{url.scheme}://{url.netloc}"
        self._url, self._timeout = url, timeout
        self._headers = {"Accept": "application/fhir+json"} | (
            {"Authorization": f"Bearer {token}"} if token else {}
        )
        self._own = threading.local()

    def under(self, request: str) -> None:
        """Send all further requests under the X-Request-Id `request`, by which the audit log finds them together."""
        self._headers = self._headers | {"X-Request-Id": request}

    def get(self, url: str) -> Reply:
        """GETs `url`: absolute on this server, or below the base."""
        parts = urlsplit(url)
        path = url if not parts.netloc else parts.path + (f"?{parts.query}" if parts.query else "")
        return self._request(
            "GET", path if parts.netloc or url.startswith("/") else f"{self._url.path}/{url}", None
        )

    def post(self, body: bytes, path: str = "") -> Reply:
        """POSTs FHIR JSON to the base, or to `path` below it."""
        return self._request("POST", f"{self._url.path}{path}" or "/", body)

    def instance(self) -> str:
        """What tells the server's database from every other: the id of its CapabilityStatement."""
        return str(self.get("metadata").json().get("id", ""))

    def is_there(self) -> bool:
        """Whether anything listens at the server's address."""
        connection = self._connection(timeout=2.0)
        try:
            connection.connect()
        except OSError:
            return False
        connection.close()
        return True

    def is_ready(self) -> bool:
        """Whether /readyz says so."""
        connection = self._connection(timeout=5.0)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "https":
            return http.client.HTTPSConnection(
                host, port, timeout=timeout, context=ssl.create_default_context()
            )
        return http.client.HTTPConnection(host, port, timeout=timeout)

    def _request(self, method: str, path: str, body: bytes | None) -> Reply:
        """Repeats what the server asked to repeat, and GETs that met a closed connection; nothing else."""
        for attempt in range(_ATTEMPTS):
            last = attempt == _ATTEMPTS - 1
            try:
                reply = self._once(method, path, body)
            except (OSError, http.client.HTTPException) as problem:
                self.close()
                refused = isinstance(problem, ConnectionRefusedError)
                if last or not (refused or method == "GET"):
                    raise Unreachable(
                        f"{self.root} does not answer ({str(problem) or type(problem).__name__})"
                    ) from None
                time.sleep(0.2 * (attempt + 1))
                continue
            if reply.status not in _TRY_LATER or last:
                return reply
            time.sleep(reply.retry_after)
        raise AssertionError

    def _once(self, method: str, path: str, body: bytes | None) -> Reply:
        connection = getattr(self._own, "connection", None)
        if connection is None or _has_news(connection):
            self.close()
            connection = self._own.connection = self._connection(self._timeout)
        headers = (
            self._headers if body is None else {**self._headers, "Content-Type": "application/fhir+json"}
        )
        try:
            connection.request(method, path, body, headers)
        except (BrokenPipeError, ConnectionResetError):
            if not _has_news(connection):
                raise
            # refused before the body was read, as one over a limit is: the answer is waiting
        answer = connection.getresponse()
        content = answer.read()
        after = answer.getheader("Retry-After") or ""
        return Reply(answer.status, content, min(float(after), _LONGEST_WAIT) if after.isdigit() else 1.0)

    def close(self) -> None:
        """Ends this thread's connection; the next request opens another."""
        connection = getattr(self._own, "connection", None)
        if connection is not None:
            connection.close()
            self._own.connection = None


def _has_news(connection: http.client.HTTPConnection) -> bool:
    """Whether the server has ended a connection or said the last word on it: unasked, it says nothing else."""
    return connection.sock is not None and bool(select.select([connection.sock], [], [], 0)[0])


def read_token(option: str | None) -> str | None:
    """The token of --token: itself, or the content of the file after @."""
    if option is None or not option.startswith("@"):
        return option
    try:
        return Path(option[1:]).read_text().strip()
    except OSError as problem:
        raise UsageError(f"the token cannot be read from {option[1:]}: {problem.strerror}") from None


def outcome_text(outcome: Any) -> str:
    """The errors of an OperationOutcome (JSON) in one line; empty where it holds none."""
    issues = outcome.get("issue", []) if isinstance(outcome, dict) else []
    lines = []
    for issue in issues:
        if issue.get("severity") in {"error", "fatal"}:
            where = ", ".join(issue.get("expression", []))
            text = issue.get("details", {}).get("text") or issue.get("diagnostics") or issue.get("code", "")
            lines.append(f"{where}: {text}" if where else text)
    return "; ".join(lines)
