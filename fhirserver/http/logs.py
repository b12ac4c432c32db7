r"""Logs that an operator can search and a patient need not fear: one JSON object a line, from a list of keys.

What is written: time, level, logger, message, request id, and the keys of KEYS. Everything else that a
caller or a library puts on a record is left out. Messages of other people's libraries, and texts of
exceptions, may quote what they stumbled over (a document, a query), so neither is written: a foreign
message is replaced by the place it came from, an exception by its type and the places of its traceback.
Every line is ASCII; control characters, line and paragraph separators and whatever else is not printable
arrive as \u escapes, so no value can begin a line of its own or paint a terminal.

Source: cheatsheetseries.owasp.org/cheatsheets/Logging_Cheat_Sheet.html
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import PurePath
from types import TracebackType
from typing import Any, TextIO

ACCESS = "fhirserver.access"
KEYS = (  # what a record may carry, in the order in which it is written
    "request_id",
    "method",
    "route",
    "interaction",
    "type",
    "status",
    "duration_ms",
    "error",
    "code",
    "attempt",
    "count",
    "seconds",
    "port",
    "pid",
    "state",
    "worker",
    "version",
    "collection",
    "index",
    "signal",
)
LONGEST = 500
FRAMES = 12
FLUSH_AFTER = 0.05
MOST_WAITING = 200
MOST_HEADS = 2000
_TRUSTED = ("fhirserver", "_granian", "granian")  # whose messages are written as they are
_HARMLESS = re.compile(r"[A-Za-z0-9._:-]{0,200}").fullmatch
_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), default=lambda _: None).encode

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that is being answered; set by http, written on every line of that context."""


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name[:LONGEST],
            "message": _message(record),
        }
        if current := request_id.get():
            line["request_id"] = current[:LONGEST]
        extra = record.__dict__
        for key in KEYS:
            if key in extra:
                line[key] = _scalar(extra[key])
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__qualname__
            line["where"] = _places(record.exc_info[2])
        return _encode(line).replace("\x7f", "\\u007f")


def _message(record: logging.LogRecord) -> str:
    if record.name.split(".", 1)[0] not in _TRUSTED:
        place = f"{PurePath(record.pathname).name}:{record.lineno} {record.funcName}"
        return f"(message withheld) {place}"[:LONGEST]
    try:
        return record.getMessage()[:LONGEST]
    except (TypeError, ValueError, KeyError):  # arguments that do not fit: the template alone still helps
        return str(record.msg)[:LONGEST]


def _scalar(value: object) -> str | int | float | bool | None:
    """The value where it is a plain one; of anything else only its type, as nobody checked what it holds."""
    if isinstance(value, str):
        return str(value)[:LONGEST]
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)  # neither infinity nor NaN is JSON
    return f"({type(value).__name__})"


def _places(trace: TracebackType | None) -> list[str]:
    """The innermost places of a traceback, without source lines and values."""
    frames = list(traceback.walk_tb(trace))[-FRAMES:]
    return [
        f"{PurePath(frame.f_code.co_filename).name}:{number} {frame.f_code.co_name}"
        for frame, number in frames
    ]


def configure(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send all logging of this process to `stream` (stderr) as JSON lines. `level`: as in Settings.log_level.

    Replaces what was configured before; the libraries' own levels stay at WARNING or above.
    """
    logging.raiseExceptions = False  # a broken record must not print itself, values and all, to stderr
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for name in _TRUSTED:
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.propagate = True
        for old in list(logger.handlers):
            logger.removeHandler(old)


class AccessLog:
    """One line for each request, in the form of all others, at a tenth of the cost of a log record.

    Lines wait up to FLUSH_AFTER seconds for company, so that a busy server writes a few large blocks; `flush`
    at the end of the process writes the rest. Bound to one event loop.
    """

    def __init__(self, stream: TextIO | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._lines: list[str] = []
        self._heads: dict[tuple[str, str, str, str, int], str] = {}
        self._second = -1
        self._time = ""
        self._timer: asyncio.TimerHandle | None = None

    def write(
        self,
        method: str,
        route: str,
        interaction: str,
        type: str,
        status: int,
        seconds: float,
        request_id: str,
    ) -> None:
        """Note one answered request.

        `route`: the path's template, such as "/{type}/{id}", never the path: ids and searches stay out.
        """
        key = (method, route, interaction, type, status)
        head = self._heads.get(key)
        if head is None:
            head = self._head(key)
        now = self._clock()
        second = int(now)
        if second != self._second:
            self._second = second
            self._time = datetime.fromtimestamp(second, UTC).isoformat()[:19]
        if not _HARMLESS(request_id):
            request_id = _encode(request_id[:LONGEST])[1:-1]
        self._lines.append(
            f'{{"time":"{self._time}.{int((now - second) * 1000):03d}+00:00"{head}'
            f'"duration_ms":{seconds * 1000:.2f},"request_id":"{request_id}"}}\n'
        )
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_AFTER, self.flush)
        elif len(self._lines) >= MOST_WAITING:
            self.flush()

    def _head(self, key: tuple[str, str, str, str, int]) -> str:
        """What lines of one kind share, encoded once; bounded, should the kinds ever come from the wire."""
        method, route, interaction, resource, status = key
        line = {"level": "INFO", "logger": ACCESS, "message": "request", "method": method[:LONGEST]}
        line |= {"route": route[:LONGEST], "interaction": interaction[:LONGEST], "type": resource[:LONGEST]}
        head = "," + _encode(line)[1:-1].replace("\x7f", "\\u007f") + f',"status":{int(status)},'
        if len(self._heads) < MOST_HEADS:
            self._heads[key] = head
        return head

    def flush(self) -> None:
        """Write what waits. A stream that is gone costs the lines, not the server."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        if lines:
            with contextlib.suppress(OSError, ValueError):
                self._stream.write("".join(lines))
                self._stream.flush()
