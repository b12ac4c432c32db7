"""The report of a benchmark: tables for people, and one run against another as ratios."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

Json = dict[str, Any]
Say = Callable[[str], None]

TARGETS = (  # scenario, field, how it compares, target
    ("read/bare", "ratio", ">=", 0.45),
    ("audited/unaudited c32", "ratio", ">=", 0.7),
    ("audited/unaudited c1", "added_p50", "<", 5),
    ("create", "rate", ">=", 1500),
    ("synthea import", "resources_per_second", ">=", 2000),
    ("start", "ready_seconds", "<", 3),
    ("idle", "worker_mb", "<", 250),
)
GROWTH_TARGET = 1.3


def targets(report: Json) -> list[Json]:
    """Each target of issue 2 with the worst figure over the sizes, and whether it is met."""
    found = []
    for scenario, field, sign, target in TARGETS:
        values = [r[field] for r in report["rows"] if r["scenario"] == scenario and field in r]
        if values:
            worst = min(values) if sign == ">=" else max(values)
            met = worst >= target if sign == ">=" else worst < target
            found.append({"target": f"{scenario} {field} {sign} {target}", "measured": worst, "met": met})
    counted = [g for g in report["growth"] if g["matches"] != "all"]
    if counted:
        worst = max(counted, key=lambda g: g["ratio"])
        name = f"search p50 growth <= {GROWTH_TARGET} (worst: {worst['shape']})"
        found.append({"target": name, "measured": worst["ratio"], "met": worst["ratio"] <= GROWTH_TARGET})
    errors = sum(row.get("errors", 0) for row in report["rows"] if row["kind"] == "all")
    return [*found, {"target": "errors = 0", "measured": errors, "met": errors == 0}]


def show(report: Json, say: Say) -> None:
    """Print what a run measured."""
    machine = report["machine"]
    say(f"\n{machine['cpu']}, {machine['cores']} cores, {machine['memory_mb']} MB; {report['revision']}")
    say(f"seed {report['seed']}, {report['workers']} worker(s), {report['seconds']:.0f} s in all\n")
    head = (
        "patients",
        "scenario",
        "kind",
        "count",
        "rate/s",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "errors",
        "µs CPU",
    )
    table((head, *(_line(row) for row in report["rows"] if "p50" in row)), say)
    if report["growth"]:
        say("\nGrowth of p50 from the smallest to the largest size, one client:\n")
        lines = [
            (g["shape"], g["matches"], g["from"], g["to"], f"{g['ratio']:.2f}x") for g in report["growth"]
        ]
        table((("shape", "matches", "from ms", "to ms", "growth"), *lines), say)
    say("\nTargets:\n")
    met = [(t["target"], t["measured"], "met" if t["met"] else "MISSED") for t in targets(report)]
    table((("target", "worst measured", ""), *met), say)


def _line(row: Json) -> tuple[object, ...]:
    cpu = sum(row.get("cpu_seconds", {}).values())
    cost = f"{cpu / row['count'] * 1e6:.0f}" if cpu and row["count"] else ""
    head = (
        row["size"],
        row["scenario"],
        "" if row["kind"] == "all" else row["kind"],
        row["count"],
        row["rate"],
    )
    return (*head, row["p50"], row["p95"], row["p99"], row["errors"] or "", cost)


def table(lines: Iterable[tuple[object, ...]], say: Say) -> None:
    """Print lines as columns; the first column of text stays left, figures go right."""
    rows = [[str(cell) for cell in line] for line in lines]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [c.rjust(w) if _figure(c) else c.ljust(w) for c, w in zip(row, widths, strict=True)]
        say("  ".join(cells).rstrip())


def _figure(cell: str) -> bool:
    return cell[:1].isdigit()


def compare(new: Json, old: Json) -> list[Json]:
    """Rows of both runs side by side as ratios new/old; `rate` above 1 and `p50` below 1 are better."""
    before = {(r["scenario"], r["size"], r["kind"]): r for r in old["rows"]}
    found = []
    for row in new["rows"]:
        base = before.get((row["scenario"], row["size"], row["kind"]))
        if base is None:
            continue
        ratios = {
            field: round(row[field] / base[field], 2)
            for field in ("rate", "p50", "p99", "ratio", "ready_seconds", "worker_mb", "resources_per_second")
            if row.get(field) and base.get(field)
        }
        if ratios:
            head = {"scenario": row["scenario"], "size": row["size"], "kind": row["kind"]}
            found.append({**head, "ratios": ratios, "errors": [base.get("errors", 0), row.get("errors", 0)]})
    return found


def show_comparison(rows: list[Json], old: Json, say: Say) -> None:
    """Print the ratios, the changed ones (by more than a tenth) marked."""
    say(f"\nAgainst revision {old['revision']} ({old['started']}), new/old:\n")
    lines: list[tuple[object, ...]] = [("patients", "scenario", "kind", "rate", "p50", "p99", "other", "")]
    for row in rows:
        ratios = dict(row["ratios"])
        shown = [ratios.pop(field, "") for field in ("rate", "p50", "p99")]
        other = ", ".join(f"{field} {ratio}" for field, ratio in ratios.items())
        main = row["ratios"].get("rate", 1)
        mark = "better" if main > 1.1 else "WORSE" if main < 0.9 else ""
        lines.append((row["size"], row["scenario"], row["kind"], *shown, other, mark))
    table(lines, say)
