"""The clock and the ids of the running server."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable


def now() -> int:
    """Microseconds since 1970 UTC, cut to whole milliseconds."""
    return time.time_ns() // 1_000_000 * 1000


def build_new_id() -> Callable[[], str]:
    """A source of logical ids: UUID version 7, rising within the process. Source: RFC 9562 section 5.7."""
    lock = threading.Lock()
    last = [0]

    def new_id() -> str:
        with lock:
            last[0] = stamp = max(
                time.time_ns() // 1_000_000 << 12 | int.from_bytes(os.urandom(1)), last[0] + 1
            )
        tail = int.from_bytes(os.urandom(8)) >> 2
        value = (stamp >> 12) << 80 | 7 << 76 | (stamp & 0xFFF) << 64 | 2 << 62 | tail
        text = f"{value:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    return new_id
