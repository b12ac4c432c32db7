"""What the audit costs a read."""

from __future__ import annotations

import statistics

from tests.benchmarks.client import load
from tests.benchmarks.figures import figures
from tests.benchmarks.scenarios import Bench, cycle, read_calls

ROUNDS = 5


def reads_against_unaudited(bench: Bench, other: Bench) -> None:
    """The same reads with the audit and without, in turns, so that noise meets both; medians are kept."""
    for clients in (32, 1):
        ratios: list[float] = []
        added: list[float] = []
        for turn in range(ROUNDS):
            rows = []
            for name, each in (("audited", bench), ("unaudited", other)):
                calls = cycle(read_calls(each))
                load(each.port, calls, clients=clients, seconds=0.3)
                measured = load(each.port, calls, clients=clients, seconds=bench.seconds / 2)
                row = figures(
                    f"read {name} c{clients} {turn + 1}", bench.world.patients, clients, measured, {}
                )[-1]
                rows.append(row)
                bench.rows.append(row)
                bench.tell(row["scenario"], row)
            ratios.append(rows[0]["rate"] / max(1.0, rows[1]["rate"]))
            added.append(rows[0]["p50"] - rows[1]["p50"])
        ratio, more = round(statistics.median(ratios), 3), round(statistics.median(added), 3)
        name = f"audited/unaudited c{clients}"
        bench.rows.append(
            {
                "scenario": name,
                "size": bench.world.patients,
                "kind": "ratio",
                "ratio": ratio,
                "added_p50": more,
            }
        )
        bench.say(
            f"  {clients} clients: audited reads at {ratio:.0%} of the rate without, p50 +{more:.2f} ms"
        )
