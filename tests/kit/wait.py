"""Waiting for what a server does in its own time."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(holds: Callable[[], bool], *, seconds: float = 30) -> bool:
    """Whether `holds` becomes true; asked again every tenth of a second, for `seconds` at most."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
