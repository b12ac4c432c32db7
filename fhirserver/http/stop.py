"""An orderly stop that ends: requests in flight are finished, but not waited for without end.

granian's own stop waits for every connection with a request or an answer that is not complete, so that one client that
sends half a body, or does not read its answer, could hold the server up until its supervisor kills it, with the
last audit record unwritten.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable

_LOG = logging.getLogger("fhirserver.stop")
CLOSE_SECONDS = 10.0


def bound_stop(seconds: float, close: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """From now on SIGTERM begins an orderly stop of this process that takes at most `seconds` and a closing.

    `close`: what the end of the ASGI lifespan would do; given CLOSE_SECONDS where the lifespan is not ended in time.
    To be called in the event loop, once the server has set its own handlers: they get SIGINT, which means the same
    to them. Returns what to call where the lifespan was ended in time.
    """
    loop = asyncio.get_running_loop()
    begun: list[asyncio.TimerHandle] = []
    ends: list[asyncio.Future[None]] = []

    async def cut() -> None:
        _LOG.warning("requests are cut off: they were not complete %g seconds after the stop began", seconds)
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await close()
        except Exception:  # noqa: BLE001 the process ends, whatever it was
            _LOG.exception("the parts could not be closed")
        finally:
            os._exit(0)

    def begin() -> None:
        if not begun:
            begun.append(loop.call_later(seconds, lambda: ends.append(asyncio.ensure_future(cut()))))
        os.kill(os.getpid(), signal.SIGINT)

    def in_time() -> None:
        for timer in begun:
            timer.cancel()

    loop.add_signal_handler(signal.SIGTERM, begin)
    return in_time
