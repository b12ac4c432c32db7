"""Logs hold one JSON object a line, from a list of keys, and nothing that a patient would mind.

The attacks: values that begin a line of their own, that paint a terminal, that are format strings; libraries
and exceptions that quote what they stumbled over.

Source: cheatsheetseries.owasp.org/cheatsheets/Logging_Cheat_Sheet.html
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from fhirserver.http import logs
from fhirserver.http.logs import AccessLog, JsonFormatter, configure

HOSTILE = (
    'x\n{"level":"INFO","message":"forged"}',
    "x\r\nforged",
    "\x1b[2J\x1b]0;owned\x07",
    "%s %d %(password)s {0}",
    '","level":"CRITICAL","x":"',
    "line\u2028separator\u0085next\x7f",
    "\ud800 lone surrogate",
    "a" * 100_000,
    "\x00",
)
SECRET = "Maria das Dores"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the configured logs go; what was configured before comes back afterwards."""
    root = logging.getLogger()
    handlers, level, raising = list(root.handlers), root.level, logging.raiseExceptions
    out = io.StringIO()
    configure("INFO", out)
    yield out
    root.handlers[:], logging.raiseExceptions = handlers, raising
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """The lines as objects; fails where a line is not one."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def assert_one_harmless_line(text: str) -> dict[str, Any]:
    assert text.isascii()
    assert all(" " <= character <= "~" for character in text)
    assert len(text) < 10_000
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_record_is_one_json_line_with_the_request_id(stream: io.StringIO) -> None:
    token = logs.request_id.set("abc-1")
    logging.getLogger("fhirserver.http").warning("slow answer", extra={"duration_ms": 12.5, "status": 200})
    logs.request_id.reset(token)
    (line,) = lines(stream)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "WARNING",
        "logger": "fhirserver.http",
        "message": "slow answer",
        "request_id": "abc-1",
        "status": 200,
        "duration_ms": 12.5,
    }


def test_keys_outside_the_list_are_left_out(stream: io.StringIO) -> None:
    logging.getLogger("fhirserver").info(
        "stored", extra={"patient": SECRET, "url": "/Patient?name=x", "count": 2}
    )
    (line,) = lines(stream)
    assert line["count"] == 2
    assert set(line) == {"time", "level", "logger", "message", "count"}


def test_of_values_that_are_no_scalars_only_the_type_is_written(stream: io.StringIO) -> None:
    logging.getLogger("fhirserver").info("stored", extra={"code": {"name": SECRET}, "count": float("nan")})
    (line,) = lines(stream)
    assert line["code"] == "(dict)"
    assert line["count"] == "nan"
    assert SECRET not in stream.getvalue()


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_value_stays_inside_its_line(value: str) -> None:
    record = logging.makeLogRecord({"name": "fhirserver.x", "msg": value, "type": value, "error": value})
    line = assert_one_harmless_line(JsonFormatter().format(record))
    assert line["message"] == value[: logs.LONGEST]
    assert line["type"] == value[: logs.LONGEST]
    assert line["level"] != "CRITICAL"


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_argument_stays_inside_its_line(value: str) -> None:
    record = logging.makeLogRecord({"name": "fhirserver.x", "msg": "got %s", "args": (value,)})
    assert assert_one_harmless_line(JsonFormatter().format(record))["message"].startswith("got ")


def test_arguments_that_do_not_fit_leave_the_template(stream: io.StringIO) -> None:
    logging.getLogger("fhirserver").info("%d of %d", "x")
    assert lines(stream)[0]["message"] == "%d of %d"


def test_of_an_exception_only_type_and_places_are_written(stream: io.StringIO) -> None:
    try:
        raise ValueError(f"cannot parse {SECRET}")
    except ValueError:
        logging.getLogger("fhirserver").exception("request failed", stack_info=True)
    (line,) = lines(stream)
    assert line["error"] == "ValueError"
    assert line["where"] == [line["where"][0]]
    assert "test_logs.py" in line["where"][0]
    assert SECRET not in stream.getvalue()


def test_messages_of_libraries_are_withheld_but_ours_are_not(stream: io.StringIO) -> None:
    logging.getLogger("pymongo.command").warning("Command failed: {name: %r}", SECRET)
    logging.getLogger("asyncio").error("Task exception was never retrieved %s", SECRET)
    logging.getLogger("fhirservers").error("%s", SECRET)
    logging.getLogger("fhirserver.store").error("database error")
    found = lines(stream)
    assert [line["message"].split(")")[0] for line in found[:3]] == ["(message withheld"] * 3
    assert "test_logs.py" in found[0]["message"]
    assert found[3]["message"] == "database error"
    assert SECRET not in stream.getvalue()


def test_libraries_below_warning_and_ours_below_the_level_are_silent(stream: io.StringIO) -> None:
    logging.getLogger("pymongo").info("noise")
    logging.getLogger("fhirserver").debug("noise")
    assert stream.getvalue() == ""


def written(*requests: tuple[str, str, str, str, int, float, str]) -> str:
    """What the access log writes for some requests."""
    out = io.StringIO()

    async def work() -> None:
        log = AccessLog(out, clock=lambda: 1_767_225_600.25)
        for request in requests:
            log.write(*request)
        log.flush()

    asyncio.run(work())
    return out.getvalue()


def test_the_access_line_names_the_request_without_its_ids() -> None:
    line = json.loads(written(("GET", "/{type}/{id}", "read", "Patient", 200, 0.00321, "abc")))
    assert line == {
        "time": "2026-01-01T00:00:00.250+00:00",
        "level": "INFO",
        "logger": "fhirserver.access",
        "message": "request",
        "method": "GET",
        "route": "/{type}/{id}",
        "interaction": "read",
        "type": "Patient",
        "status": 200,
        "duration_ms": 3.21,
        "request_id": "abc",
    }


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_values_stay_inside_their_access_line(value: str) -> None:
    text = written((value, value, value, value, 400, 0.1, value), ("GET", "/", "x", "", 200, 0.1, "second"))
    first, second, rest = text.split("\n")
    line = assert_one_harmless_line(first)
    assert line["request_id"] == line["method"] == value[: logs.LONGEST]
    assert line["level"] == "INFO"
    assert json.loads(second)["request_id"] == "second"
    assert rest == ""


class Noted(io.StringIO):
    """Says when its second block has arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = 0
        self.later = asyncio.Event()

    def flush(self) -> None:
        self.blocks += 1
        if self.blocks == 2:
            self.later.set()


def test_access_lines_are_written_without_a_flush_and_in_order() -> None:
    out = Noted()

    async def work() -> None:
        log = AccessLog(out)
        for number in range(logs.MOST_WAITING):
            log.write("GET", "/", "read", "Patient", 200, 0.1, str(number))
        assert len(out.getvalue().splitlines()) == logs.MOST_WAITING
        log.write("GET", "/", "read", "Patient", 200, 0.1, "last")
        await asyncio.wait_for(out.later.wait(), 5)

    asyncio.run(work())
    ids = [json.loads(line)["request_id"] for line in out.getvalue().splitlines()]
    assert ids == [*map(str, range(logs.MOST_WAITING)), "last"]


def test_a_closed_stream_costs_only_the_lines() -> None:
    out = io.StringIO()
    out.close()

    async def work() -> None:
        log = AccessLog(out)
        log.write("GET", "/", "read", "Patient", 200, 0.1, "x")
        log.flush()

    asyncio.run(work())
