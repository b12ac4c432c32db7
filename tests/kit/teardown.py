"""Ends of fixtures that cannot wait for ever: what hangs fails, and says where."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

_SECONDS = 60  # longer than any close that goes well, on a machine whose disk is busy


async def ended(closing: Awaitable[None]) -> None:
    """Waits for the close of something; raises TimeoutError where it does not come."""
    async with asyncio.timeout(_SECONDS):
        await closing
