"""What happens to the driver's connections and to its primary, told to whoever counts it."""

from __future__ import annotations

from collections.abc import Callable

from pymongo import monitoring


class PoolEvents(monitoring.ConnectionPoolListener):
    """Calls `on_event` with opened, closed, taken, returned or refused. Must not raise or wait."""

    def __init__(self, on_event: Callable[[str], None]) -> None:
        self._on_event = on_event

    def connection_created(self, event: monitoring.ConnectionCreatedEvent) -> None:
        """A connection was opened."""
        self._on_event("opened")

    def connection_closed(self, event: monitoring.ConnectionClosedEvent) -> None:
        """A connection was closed."""
        self._on_event("closed")

    def connection_checked_out(self, event: monitoring.ConnectionCheckedOutEvent) -> None:
        """A connection was taken for a call."""
        self._on_event("taken")

    def connection_checked_in(self, event: monitoring.ConnectionCheckedInEvent) -> None:
        """A connection was given back."""
        self._on_event("returned")

    def connection_check_out_failed(self, event: monitoring.ConnectionCheckOutFailedEvent) -> None:
        """No connection could be had."""
        self._on_event("refused")

    def connection_check_out_started(self, event: monitoring.ConnectionCheckOutStartedEvent) -> None:
        """Not counted."""

    def connection_ready(self, event: monitoring.ConnectionReadyEvent) -> None:
        """Not counted."""

    def pool_created(self, event: monitoring.PoolCreatedEvent) -> None:
        """Not counted."""

    def pool_ready(self, event: monitoring.PoolReadyEvent) -> None:
        """Not counted."""

    def pool_cleared(self, event: monitoring.PoolClearedEvent) -> None:
        """Not counted."""

    def pool_closed(self, event: monitoring.PoolClosedEvent) -> None:
        """Not counted."""


class PrimaryEvents(monitoring.TopologyListener):
    """Calls `on_state` with starting, then up or down as a primary is there or not. Must not raise or wait."""

    def __init__(self, on_state: Callable[[str], None]) -> None:
        self._on_state = on_state

    def opened(self, event: monitoring.TopologyOpenedEvent) -> None:
        """The driver begins to look for a primary."""
        self._on_state("starting")

    def description_changed(self, event: monitoring.TopologyDescriptionChangedEvent) -> None:
        """The driver knows more of the servers than before."""
        if event.new_description.has_writable_server():
            self._on_state("up")
        elif event.previous_description.has_writable_server():
            self._on_state("down")

    def closed(self, event: monitoring.TopologyClosedEvent) -> None:
        """The driver was told to stop: nothing is known any more."""
