"""So many calls a minute from one address, for what anybody may call."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_ADDRESSES = 20_000


class Busy(Exception):
    """Too many calls from one address; `seconds` until the next."""

    def __init__(self, seconds: int) -> None:
        super().__init__()
        self.seconds = seconds


class Buckets:
    """So many calls a minute for each address, in bursts of as many; counted in this worker."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = float(per_minute)
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str, cost: float = 1.0) -> None:
        """One call that costs so much. Raises Busy."""
        now = self._clock()
        left, since = self._left.pop(address, (self._most, now))
        left = min(self._most, left + (now - since) * self._most / 60)
        if left < cost:
            self._left[address] = (left, now)
            raise Busy(max(1, round((cost - left) * 60 / self._most)))
        self._left[address] = (left - cost, now)
        if len(self._left) > _MOST_ADDRESSES:
            self._left.popitem(last=False)
