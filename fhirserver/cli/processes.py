"""Processes that must not outlive the one that started them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int | None = None, *, by: signal.Signals = signal.SIGTERM) -> None:
    """Asks the kernel (Linux) to send this process the signal `by` when the thread that started it ends.

    `parent`: the parent's process id; where that is the parent no longer, this process ends at once.
    Elsewhere than on Linux nothing is asked.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, by)
    if parent is not None and os.getppid() != parent:
        os._exit(1)
