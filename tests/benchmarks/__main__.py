"""The command of the benchmark: `python -m tests.benchmarks --help`."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from tests.benchmarks import audit, audit_search, scenarios
from tests.benchmarks.client import HOST, Call, load, request
from tests.benchmarks.clinic import World
from tests.benchmarks.processes import machine
from tests.benchmarks.report import compare, show, show_comparison, targets
from tests.benchmarks.scenarios import Bench, NotLoaded
from tests.benchmarks.server import ROOT, NotStarted, Program, bare, server

Json = dict[str, Any]
SYNTHEA = ROOT.parent / "shared" / "data" / "synthea"
STEPS = ("start", "read", "audit", "search", "crud", "create", "synthea")
MORE_STEPS = ("audit-search",)  # only when asked for: it fills a log of a million events first
CLIENT_FLOOR = 8000  # bare answers per second; with fewer, the client would measure itself


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The parsed command line."""
    parser = argparse.ArgumentParser(
        "python -m tests.benchmarks", description="Measure the server. Loopback only."
    )
    parser.add_argument(
        "--patients", default=os.environ.get("BENCH_PATIENTS"), help="sizes (1000,4000,16000)"
    )
    parser.add_argument(
        "--steps",
        default=",".join(STEPS),
        help=f"which of {','.join((*STEPS, *MORE_STEPS))}; loading always runs",
    )
    parser.add_argument("--events", type=int, default=1_000_000, help="events of the step audit-search")
    parser.add_argument("--only", type=re.compile, help="search shapes whose name matches this expression")
    parser.add_argument("--out", type=Path, help="where the JSON goes (bench-results/<time>.json)")
    parser.add_argument("--compare", type=Path, metavar="BASE", help="an earlier JSON to show ratios against")
    parser.add_argument("--show", type=Path, metavar="RUN", help="measure nothing, print an earlier JSON")
    parser.add_argument(
        "--quick", action="store_true", help="two small sizes and short runs: a check, no figures"
    )
    parser.add_argument("--seconds", type=float, help="length of a timed run (10; quick: 2)")
    parser.add_argument("--seed", type=int, default=20260101)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--clients", type=int, default=64, help="connections of reads, creates and the mix")
    parser.add_argument(
        "--synthea",
        type=Path,
        default=Path(os.environ.get("BENCH_SYNTHEA", SYNTHEA)),
        help="folder of bundles",
    )
    parser.add_argument(
        "--server", metavar="URL", help="a server that runs already, empty, on loopback; first size"
    )
    options = parser.parse_args(argv)
    sizes = options.patients or ("250,1000" if options.quick else "1000,4000,16000")
    options.sizes = [int(size) for size in sizes.split(",")]
    options.seconds = options.seconds or (2.0 if options.quick else 10.0)
    options.steps = options.steps.split(",")
    unknown = set(options.steps) - {*STEPS, *MORE_STEPS}
    if unknown:
        parser.error(
            f"unknown step {', '.join(sorted(unknown))}; there are {', '.join((*STEPS, *MORE_STEPS))}"
        )
    return options


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


def revision() -> str:
    """The commit that is measured, with "+changes" where the checkout differs from it."""
    try:
        name = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True
        )
        changed = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return "unknown"
    return (name.stdout.strip() or "unknown") + ("+changes" if changed.stdout.strip() else "")


@contextlib.contextmanager
def target(options: argparse.Namespace) -> Iterator[tuple[int, str, Program | None]]:
    """Port, base path and, where it was started here, the program."""
    if options.server:
        parts = urlsplit(options.server)
        if parts.hostname not in (HOST, "localhost") or parts.scheme != "http":
            raise SystemExit("--server: only http on loopback is measured")
        yield parts.port or 80, parts.path.rstrip("/") or "/fhir", None
    else:
        with server(options.workers, options.out.with_suffix(".log")) as program:
            yield program.port, "/fhir", program


def client_capacity(port: int, options: argparse.Namespace) -> Json:
    """How fast this client is against the bare app; a warning where that is too little to measure with."""
    call = Call("bare", request("GET", "/fhir/Patient/x"))
    load(port, lambda: call, clients=options.clients, seconds=1)
    measured = load(port, lambda: call, clients=options.clients, seconds=2)
    cost = measured.client_cpu / max(1, measured.good) * 1e6
    say(f"client: {measured.rate:.0f} bare answers/s, {cost:.0f} µs of its own CPU each")
    if measured.rate < CLIENT_FLOOR:
        say(f"  BELOW {CLIENT_FLOOR}: the machine is busy or slow, so rates near this one are the client's")
    return {"rate": round(measured.rate), "cpu_us": round(cost, 1), "clients": options.clients}


def one_size(size: int, bare_port: int, options: argparse.Namespace) -> list[Json]:
    """Everything at one size, on a server of its own."""
    world = World.of(options.seed, size)
    say(f"\n{world.patients} patients")
    with target(options) as (port, base, program):
        bench = Bench(
            port,
            base,
            world,
            options.seconds,
            program.family if program else None,
            options.clients,
            options.only,
            say=say,
        )
        if program and "start" in options.steps:
            started(bench, program, "start, empty")
        scenarios.load_world(bench)
        if program and "start" in options.steps:
            program.stop()
            program.start()
            started(bench, program, "start")
            idle(bench)
        if "read" in options.steps:
            scenarios.reads_against_bare(bench, bare_port)
        if program and "audit" in options.steps:
            against_unaudited(bench, options)
        if program and "audit-search" in options.steps:
            audit_search.searches(bench, program.data_dir / "data", options.events)
        if "search" in options.steps:
            scenarios.searches(bench)
        if "crud" in options.steps:
            scenarios.crud_mix(bench)
        if "create" in options.steps:
            scenarios.creates(bench)
        if "synthea" in options.steps and options.synthea.is_dir():
            scenarios.import_synthea(bench, options.synthea)
        elif "synthea" in options.steps:
            say("  no Synthea bundles: give their folder by --synthea")
        if program:
            bench.rows.append({"scenario": "memory at the end", "size": world.patients, "kind": "memory"})
            bench.rows[-1]["memory_mb"] = program.family.memory()
            stopped = program.stop()
            bench.rows.append(
                {"scenario": "stop", "size": world.patients, "kind": "stop", "seconds": stopped}
            )
    return bench.rows


def against_unaudited(bench: Bench, options: argparse.Namespace) -> None:
    """The audit's cost, against the same server without one."""
    log = options.out.with_suffix(".unaudited.log")
    with server(options.workers, log, "tests.benchmarks.unaudited") as program:
        other = Bench(program.port, bench.base, bench.world, bench.seconds, say=lambda text: None)
        scenarios.load_world(other)
        audit.reads_against_unaudited(bench, other)


def started(bench: Bench, program: Program, scenario: str) -> None:
    """Keep how long the start took."""
    row = {
        "scenario": scenario,
        "size": bench.world.patients,
        "kind": "start",
        "ready_seconds": round(program.ready, 2),
    }
    bench.rows.append(row)
    bench.family = program.family
    say(f"  {scenario}: ready after {program.ready:.2f} s")


def idle(bench: Bench) -> None:
    """Keep the memory of a server that has just started and does nothing."""
    time.sleep(3)
    found = bench.family.memory() if bench.family else {}
    worker = max((process.get("rss", 0) for process in found.get("worker", ())), default=0)
    row = {"scenario": "idle", "size": bench.world.patients, "kind": "memory", "worker_mb": worker}
    bench.rows.append(row | {"memory_mb": found})
    say(f"  idle: {worker:.0f} MB per worker")


def run(options: argparse.Namespace) -> Json:
    """The whole benchmark; the report as it is written to JSON."""
    clock = time.perf_counter()
    report: Json = {
        "format": 1,
        "started": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "revision": revision(),
        "machine": machine(),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "seed": options.seed,
        "workers": options.workers,
        "quick": options.quick,
        "timed_seconds": options.seconds,
        "rows": [],
        "growth": [],
    }
    with bare(options.workers) as yardstick:
        report["client"] = client_capacity(yardstick.port, options)
        for size in options.sizes[:1] if options.server else options.sizes:
            report["rows"] += one_size(size, yardstick.port, options)
            report["growth"] = scenarios.growth(report["rows"])
            report["seconds"] = round(time.perf_counter() - clock, 1)
            write(report, options.out)
    report["targets"] = targets(report)
    write(report, options.out)
    return report


def write(report: Json, out: Path) -> None:
    """Write the JSON; done after each size, so that an interrupted run leaves what it had."""
    out.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))


def main() -> int:
    """Exit code 0: measured, whatever the figures; 1: there were errors or the server did not start."""
    options = arguments()
    if options.show:
        report = orjson.loads(options.show.read_bytes())
    else:
        name = dt.datetime.now(dt.UTC).strftime("%Y%m%d-%H%M%S.json")
        options.out = options.out or ROOT / "bench-results" / name
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.with_suffix(".log").unlink(missing_ok=True)
        try:
            report = run(options)
        except (NotStarted, NotLoaded) as error:
            say(f"cannot measure: {error}")
            return 1
    show(report, say)
    if options.compare:
        old = orjson.loads(options.compare.read_bytes())
        show_comparison(compare(report, old), old, say)
    if not options.show:
        say(f"\nwritten to {options.out}")
    return 1 if any(row.get("errors") for row in report["rows"]) else 0


if __name__ == "__main__":
    sys.exit(main())
