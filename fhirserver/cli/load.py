"""`fhirserver load`: files into a server, with progress and a list of what failed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import ExitStack

from fhirserver.cli import sources
from fhirserver.cli.client import FhirClient, Unreachable
from fhirserver.cli.config import UsageError
from fhirserver.cli.ledger import Ledger
from fhirserver.cli.local import server
from fhirserver.cli.plan import Failure, Label, Planner, Request
from fhirserver.cli.send import Sent, send_all
from fhirserver.cli.terminal import CommandFailed, Progress, duration, note, say

SHOWN = 50
DONE, FAILED, PARTLY = 0, 1, 3


def run(options: argparse.Namespace) -> int:
    """Exit code 0: all stored; 3: some failed; 1: nothing could be stored."""
    try:
        files = sources.find(options.paths)
    except FileNotFoundError as missing:
        raise UsageError(f"there is no file or folder {missing}") from None
    with server(options) as (client, settings):
        ledger = Ledger(settings.data_dir, f"{client.base} {client.instance()}")
        done = frozenset[str]() if options.again else ledger.read()
        planner = Planner(done, settings.limits.bundle_entries)
        return Loading(client, planner, ledger, files).run(options)


class Loading:
    """One run: its counts and its failures."""

    def __init__(
        self, client: FhirClient, planner: Planner, ledger: Ledger, files: list[tuple[str, bool]]
    ) -> None:
        self.client, self.planner, self.ledger, self.files = client, planner, ledger, files
        self.progress = Progress("resources", sources.size(files))
        self.stored = 0
        self.failures: list[Failure] = []

    def run(self, options: argparse.Namespace) -> int:
        """Loads everything and reports."""
        with ExitStack() as stack:
            lost = None
            try:
                stack.callback(self.progress.close)
                send_all(self.client, self._requests(), parallel=options.parallel, done=self._done)
            except Unreachable as problem:
                lost = problem
        elapsed = self.progress.close()
        self._report(elapsed)
        if options.failures:
            with options.failures.open("w") as file:
                file.writelines(json.dumps(_as_json(failure)) + "\n" for failure in self.failures)
        if lost is not None:
            raise CommandFailed(f"{lost}. Run the same command again to go on.")
        if not self.failures:
            return DONE
        return PARTLY if self.stored or self.planner.known else FAILED

    def _requests(self) -> Iterator[Request]:
        for name, named in self.files:
            try:
                for document in sources.read(name, named=named):
                    yield from self._sendable(self.planner.add(document))
            except sources.Unreadable as problem:
                self._fail([Failure(Label(problem.source), 0, str(problem))])
        yield from self.planner.flush()

    def _sendable(self, planned: Iterator[Request | Failure]) -> Iterator[Request]:
        for item in planned:
            if isinstance(item, Failure):
                self._fail([item])
            else:
                yield item

    def _done(self, request: Request, sent: Sent) -> None:
        self.ledger.add(sent.digests)
        self.stored += sent.stored
        self._fail(sent.failures)
        self.progress.advance(sent.stored, work=request.read)

    def _fail(self, failures: list[Failure]) -> None:
        self.failures += failures
        self.progress.advance(failed=sum(failure.count for failure in failures))

    def _report(self, elapsed: float) -> None:
        for failure in self.failures[:SHOWN]:
            note(f"FAILED {failure.label}: {f'{failure.status} ' if failure.status else ''}{failure.text}")
        if len(self.failures) > SHOWN:
            note(f"... and {len(self.failures) - SHOWN:,} more (--failures FILE writes them all)")
        rate = self.stored / elapsed if elapsed else 0.0
        took = f"{duration(elapsed)} ({rate:,.0f}/s)"
        say(f"{self.stored:,} resources stored in {took} from {len(self.files):,} files")
        if self.planner.known:
            say(f"{self.planner.known:,} created by an earlier run and not sent again (--again sends them)")
        if self.planner.skipped:
            say(f"{self.planner.skipped:,} files of the folders hold no FHIR resource and were skipped")
        if self.failures:
            say(f"{sum(failure.count for failure in self.failures):,} failed")


def _as_json(failure: Failure) -> dict[str, object]:
    label = failure.label
    return {
        "file": label.source, "line": label.line, "entry": label.entry, "resource": label.reference or None,
        "status": failure.status or None, "text": failure.text, "resources": failure.count,
    }  # fmt: skip
