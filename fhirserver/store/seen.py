"""The audit context of a call: without one the store does nothing, and what it gives out is noted in it."""

from __future__ import annotations

from fhirserver.context import Permission, Trace


def trace_of(permission: Permission) -> Trace:
    """The audit context of `permission`. Raises RuntimeError: a caller has forgotten it, no request can."""
    if permission.trace is None:
        raise RuntimeError("the store was called without an audit context (Permission.trace)")
    return permission.trace
