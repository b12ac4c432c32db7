"""The server with an audit station that does nothing: what the audit is measured against, and only here.

There is no setting that turns auditing off.
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from typing import Any

from fhirserver import app
from fhirserver.audit.worker import AuditWorker
from fhirserver.cli import main, serve
from fhirserver.context import Exchange, Result, Trace

_COUNTER = itertools.count()


class Silent:
    """Stands in for the Auditor: gives the audit context that the store asks for, and records nothing."""

    searchable: frozenset[str] = frozenset()

    def traced(self, exchange: Exchange) -> Exchange:
        """The Exchange with an empty audit context."""
        trace = Trace({}, lambda: str(next(_COUNTER)))
        return replace(exchange, interactions=tuple(replace(i, trace=trace) for i in exchange.interactions))

    async def finish(self, exchange: Exchange, results: tuple[Result, ...]) -> tuple[Result, ...]:
        """The results as they are."""
        return results

    async def refuse(self, request: Any, agent: Any, interaction: Any, error: Any) -> Any:
        """The error as it is."""
        return error


def create() -> Any:
    """The application of a worker process."""
    AuditWorker.auditor = lambda self, store, withheld: Silent()  # type: ignore[assignment, method-assign, misc]
    return app.create()


if __name__ == "__main__":
    serve.APPLICATION = "tests.benchmarks.unaudited:create"
    sys.exit(main(sys.argv[1:]))
