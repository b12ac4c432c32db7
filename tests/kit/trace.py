"""Permissions for tests that call the store itself: with the audit context that it asks for."""

from __future__ import annotations

import itertools
from typing import Any

from fhirserver.context import Agent, Permission, Trace

_NUMBERS = itertools.count()


def a_trace(**record: Any) -> Trace:
    """An audit context with ids of its own."""
    return Trace({"k": "read", **record}, lambda: f"event-{next(_NUMBERS)}")


def permitted(name: str = "test", **rest: Any) -> Permission:
    """What `name` may do: everything, as far as `restrictions` and `denied` in `rest` do not say otherwise."""
    return Permission(Agent(name), "test", **{"trace": a_trace(), **rest})
