"""Sends planned requests to a server, several at a time, and sorts out what the answers say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from fhirserver.cli.client import FhirClient, Reply, Unreachable, outcome_text
from fhirserver.cli.plan import Failure, Label, Request


@dataclass(slots=True)
class Sent:
    """What became of a request: how many resources were stored, what failed, which digests are done."""

    stored: int = 0
    failures: list[Failure] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)


def send_all(
    client: FhirClient,
    requests: Iterator[Request],
    *,
    parallel: int,
    done: Callable[[Request, Sent], None],
) -> None:
    """Sends `requests` as they come, at most `parallel` at a time; `done` is called in this thread.

    Raises Unreachable as soon as the server does not answer any more.
    """
    with ThreadPoolExecutor(parallel, thread_name_prefix="load") as pool:
        running: dict[Future[Sent], Request] = {}
        for request in requests:
            running[pool.submit(send, client, request)] = request
            while len(running) >= 2 * parallel:
                _collect(running, done)
        while running:
            _collect(running, done)


def _collect(running: dict[Future[Sent], Request], done: Callable[[Request, Sent], None]) -> None:
    try:
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            done(running.pop(future), future.result())
    except BaseException:
        for future in running:
            future.cancel()
        raise


def send(client: FhirClient, request: Request) -> Sent:
    """Sends one request."""
    try:
        reply = client.post(request.body)
    except Unreachable as problem:
        if client.is_there():  # the connection broke: what became of the request is not known
            return Sent(failures=_all(request, 0, f"no answer, so it may or may not be stored: {problem}"))
        raise
    if reply.status >= 300:
        return Sent(failures=_all(request, reply.status, _refusal(reply)))
    if request.atomic:
        return Sent(len(request.labels), digests=list(request.digests))
    return _entries(request, reply)


def _entries(request: Request, reply: Reply) -> Sent:
    sent, answers = Sent(), reply.json().get("entry", [])
    if len(answers) != len(request.labels):
        return Sent(
            failures=_all(request, reply.status, f"{len(answers)} answers to {len(request.labels)} entries")
        )
    for label, digest, answer in zip(request.labels, request.digests, answers, strict=True):
        response = answer.get("response", {})
        status = int(str(response.get("status", "0"))[:3])
        if 200 <= status < 300:
            sent.stored += 1
            sent.digests.append(digest)
        else:
            text = outcome_text(response.get("outcome") or answer.get("resource") or {})
            sent.failures.append(Failure(label, status, text or "refused without a reason"))
    return sent


def _refusal(reply: Reply) -> str:
    return outcome_text(reply.json()) or f"HTTP {reply.status} without an OperationOutcome"


def _all(request: Request, status: int, text: str) -> list[Failure]:
    """A failure of the whole request: one line for a transaction, one for each entry of a batch."""
    if not request.atomic:
        return [Failure(label, status, text) for label in request.labels]
    first = request.labels[0]
    return [Failure(Label(first.source, first.line), status, text, len(request.labels))]
