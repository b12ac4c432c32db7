"""Fills a new server with the demo clinic, through its own FHIR door."""

from __future__ import annotations

import datetime as dt
import json
import time
from pathlib import Path

from fhirserver.cli.client import FhirClient, Unreachable
from fhirserver.cli.demo import SEED, build
from fhirserver.cli.demo.record import TZ, Json
from fhirserver.cli.plan import Label, Request
from fhirserver.cli.send import Sent, send_all
from fhirserver.cli.terminal import CommandFailed, complain, say

PARALLEL = 2


def fill(client: FhirClient, data_dir: Path) -> bool:
    """Loads the demo clinic where the server holds no Patient and no Organization. False: nothing to do.

    An interrupted load is finished at the next start, with the same date: a file in `data_dir` remembers it.
    """
    pending = data_dir / "demo.json"
    today = _interrupted(pending)
    if today is None:
        if not _is_empty(client):
            return False
        today = dt.datetime.now(TZ).date()
        data_dir.mkdir(parents=True, exist_ok=True)
        pending.write_text(json.dumps({"date": today.isoformat()}))
    started = time.monotonic()
    bundles = build(SEED, today)
    failed: list[str] = []
    again: list[Request] = []
    stored = 0

    def done(request: Request, sent: Sent) -> None:
        nonlocal stored
        stored += sent.stored
        if sent.failures:
            failed.append(sent.failures[0].text)
            again.append(request)

    requests = [_request(bundle) for bundle in bundles]
    try:
        send_all(
            client, iter(requests[:1]), parallel=1, done=done
        )  # the clinic itself, then what refers to it
        send_all(client, iter(requests[1:]), parallel=PARALLEL, done=done)
        repeated, again, failed = again, [], []  # what lost to others on a busy machine, one by one
        send_all(client, iter(repeated), parallel=1, done=done)
    except Unreachable:
        return False
    if failed:
        complain(f"the demo clinic could not be loaded: {failed[0][:500]}")
        raise CommandFailed(failed[0])
    pending.unlink()
    say(f"  demo    {stored:,} resources of a synthetic clinic loaded in {time.monotonic() - started:.1f} s")
    return True


def _interrupted(pending: Path) -> dt.date | None:
    try:
        return dt.date.fromisoformat(json.loads(pending.read_text())["date"])
    except (OSError, ValueError, KeyError):
        return None


def _is_empty(client: FhirClient) -> bool:
    for type in ("Patient", "Organization"):
        reply = client.get(f"{type}?_summary=count")
        if reply.status != 200 or reply.json().get("total") != 0:
            return False
    return True


def _request(bundle: Json) -> Request:
    labels = tuple(
        Label("demo clinic", entry=n, reference=e["request"]["url"]) for n, e in enumerate(bundle["entry"])
    )
    return Request(True, json.dumps(bundle, ensure_ascii=False).encode(), labels, ("",), 0)
