"""Floods of refused requests: after the first ones of a minute the rest of an address becomes one summary event.

Otherwise anyone could fill the log, and the disk, without credentials. Source: docs/explanation/audit.md
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MOST_A_MINUTE = 20
_MOST_ADDRESSES = 10_000
_MINUTE = 60_000_000  # microseconds
_OTHERS = "others"  # stands for the addresses beyond _MOST_ADDRESSES of one minute


@dataclass(frozen=True, slots=True)
class Summary:
    """`count` further refusals of `address` in the minute that began at `start` (microseconds since 1970)."""

    address: str
    count: int
    start: int


class Floods:
    """Counts refusals by address and minute, for one worker."""

    def __init__(self) -> None:
        self._minute = 0
        self._counts: dict[str, int] = {}
        self._done: list[Summary] = []

    def admit(self, address: str | None, now: int) -> bool:
        """True where a refusal of `address` gets an event of its own; else it is counted for the summary."""
        self._turn(now)
        address = address or _OTHERS
        if address not in self._counts and len(self._counts) >= _MOST_ADDRESSES:
            address = _OTHERS
        self._counts[address] = count = self._counts.get(address, 0) + 1
        return count <= MOST_A_MINUTE

    def due(self, now: int) -> Iterator[Summary]:
        """The summaries of minutes that are over; each is given once."""
        self._turn(now)
        while self._done:
            yield self._done.pop()

    def rest(self) -> Iterator[Summary]:
        """All summaries, for the end of the process."""
        return self.due(self._minute + _MINUTE)

    def _turn(self, now: int) -> None:
        if now < self._minute + _MINUTE:
            return
        self._done += [
            Summary(address, count - MOST_A_MINUTE, self._minute)
            for address, count in self._counts.items()
            if count > MOST_A_MINUTE
        ]
        self._counts = {}
        self._minute = now - now % _MINUTE
