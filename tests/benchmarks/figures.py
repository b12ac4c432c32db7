"""From what a run measured to figures: percentiles, rates, cost; one JSON object for each kind of request."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tests.benchmarks.client import Measured

Json = dict[str, Any]


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the sorted values do not exceed."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def latency(values: Sequence[float]) -> Json:
    """Count and percentiles; latencies in milliseconds."""
    ordered = sorted(values)
    return {
        "count": len(ordered),
        **{f"p{share}": round(percentile(ordered, share / 100) * 1000, 3) for share in (50, 95, 99)},
        "max": round(ordered[-1] * 1000, 3) if ordered else 0.0,
    }


def figures(scenario: str, size: int, clients: int, measured: Measured, cpu: Json, **more: Any) -> list[Json]:
    """One row for each kind of request, then one for all of them together under kind "all".

    `cpu`: seconds by role of process while it ran. `size`: patients.
    """
    head = {"scenario": scenario, "size": size, "clients": clients}
    every = [value for values in measured.latencies.values() for value in values]
    rows = []
    if len(measured.latencies) > 1:
        for kind, values in measured.latencies.items():
            rate = round(len(values) / measured.elapsed, 1)
            failed = sum(n for what, n in measured.errors.items() if what.startswith(f"{kind} "))
            rows.append({**head, "kind": kind, **latency(values), "rate": rate, "errors": failed})
    total = {
        **head,
        "kind": "all",
        **latency(every),
        "rate": round(measured.rate, 1),
        "errors": sum(measured.errors.values()),
        "error_kinds": dict(measured.errors),
        "error_samples": measured.samples,
        "seconds": round(measured.elapsed, 3),
        "mb_received": round(measured.received / 1e6, 2),
        "cpu_seconds": {role: round(seconds, 2) for role, seconds in cpu.items() if seconds >= 0.005},
        "client_cpu_seconds": round(measured.client_cpu, 2),
        **more,
    }
    return [*rows, total]
