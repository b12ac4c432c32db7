"""What the commands write: results to stdout, all else to stderr, a progress bar on a terminal only."""

from __future__ import annotations

import sys
import threading
import time
from typing import TextIO


class CommandFailed(Exception):
    """A command cannot do its work; the text says why and what to do about it."""


def say(text: str = "") -> None:
    """A line of result, to stdout."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """A line beside the result, to stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def complain(text: str) -> None:
    """Why the command failed, to stderr."""
    note(f"fhirserver: {text}")


def duration(seconds: float) -> str:
    """`seconds` as 8 s, 2:05 or 1:02:03."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


class Progress:
    """How far a long command is. `total`: in the unit of `advance(work=...)`; None: unknown.

    On a terminal one line that is drawn again, elsewhere a plain line every ten seconds. Threads may call it.
    """

    def __init__(self, what: str, total: int | None, stream: TextIO | None = None) -> None:
        self.what, self.total = what, total
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.count = self.failed = self.work = 0
        self.started = self._drawn = time.monotonic()
        self._lock = threading.Lock()

    def advance(self, count: int = 0, *, work: int = 0, failed: int = 0) -> None:
        """Counts `count` done, `failed` of them not well, and `work` of the total."""
        with self._lock:
            self.count += count
            self.failed += failed
            self.work += work
            now = time.monotonic()
            if now - self._drawn >= (0.1 if self.live else 10):
                self._drawn = now
                self._write(
                    self.line(now - self.started), "\r" if self.live else "", "" if self.live else "\n"
                )

    def line(self, elapsed: float) -> str:
        """The line for `elapsed` seconds."""
        rate = self.count / elapsed if elapsed > 0 else 0.0
        parts = [f"{self.count:,} {self.what}", f"{rate:,.0f}/s"]
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        share = min(1.0, self.work / self.total) if self.total else 0.0
        if share:
            parts.append(f"{duration(elapsed * (1 - share) / share)} left")
        if self.total and self.live:
            done = round(24 * share)
            parts.insert(0, f"[{'=' * done}{' ' * (24 - done)}] {share:4.0%}")
        return "  ".join(parts)

    def close(self) -> float:
        """Clears the drawn line; returns the elapsed seconds."""
        if self.live:
            self._write("", "\r", "\r")
        return time.monotonic() - self.started

    def _write(self, text: str, before: str, after: str) -> None:
        self.stream.write(f"{before}{text.ljust(79) if self.live else text}{after}")
        self.stream.flush()
